"""Pushed policies: from the broker's bytes to the store, each step durable."""
