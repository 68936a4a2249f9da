"""The Modbus firewall of a policy: from what people write to what a judge reads."""
