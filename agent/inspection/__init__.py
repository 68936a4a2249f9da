"""Stage: what looks wrong on the bus becomes findings and events."""
