"""An HTTP API described as OpenAPI 3.1: made of its table of roles and the types of its bodies."""

from littoral.web.openapi.document import Api, document_of
from littoral.web.openapi.operations import Operation, Params, operation, streamed
from littoral.web.openapi.served import openapi_protocol
from littoral.web.openapi.shapes import Either, Map, Schemas, Shape, Words

__all__ = [
    "Api",
    "Either",
    "Map",
    "Operation",
    "Params",
    "Schemas",
    "Shape",
    "Words",
    "document_of",
    "openapi_protocol",
    "operation",
    "streamed",
]
