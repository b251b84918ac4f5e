"""A collection that is spread over nodes is embedded anew by another model."""
