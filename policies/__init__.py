"""The policy language, catalogues and bindings; compiled to tables."""
