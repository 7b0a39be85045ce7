"""The HTTP half, one file a resource."""
