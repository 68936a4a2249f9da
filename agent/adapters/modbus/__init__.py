"""Modbus and the world: polling, watching, standing between."""
