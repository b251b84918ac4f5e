"""What a node answers over HTTP, described as OpenAPI 3.1: made of the table of roles and the types of bodies."""

from littoral.node.openapi.document import document

__all__ = ["document"]
