"""What an orchestrator answers over HTTP, described as OpenAPI 3.1: made of the table of roles and types of bodies."""

from littoral.orchestrator.openapi.document import document

__all__ = ["document"]
