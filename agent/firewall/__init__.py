"""Stage: what a master may ask of a device, by the signed policy."""
