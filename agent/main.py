"""`sluicegate`: the gateway command."""
