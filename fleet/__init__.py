"""The operator's side. Never on a gateway."""
