"""`GET /api/openapi.json`: what this node answers over HTTP, for programs that read such descriptions."""

import msgspec

from littoral.node.openapi.document import document
from littoral.web import Answer, Protocol, Request, Route

__all__ = ["openapi_protocol"]


def openapi_protocol() -> Protocol:
    """The same for every node of a version, so nobody needs a token for it."""

    async def told(_: Request) -> Answer:
        return Answer(msgspec.json.encode(document()))

    return Protocol((), [Route("GET", "/api/openapi.json", told)])
