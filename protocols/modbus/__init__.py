"""Modbus: register values and read plans."""
