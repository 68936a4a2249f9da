"""The daemon on the gateway."""
