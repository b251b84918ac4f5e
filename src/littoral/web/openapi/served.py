"""`GET /api/openapi.json`: what is answered over HTTP, for programs that read such descriptions."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from littoral.web.messages import Answer, Request
from littoral.web.router import Protocol, Route

__all__ = ["openapi_protocol"]


def openapi_protocol(document: Callable[[], Mapping[str, Any]]) -> Protocol:
    """The same wherever this version runs, so nobody needs a token for it."""

    async def told(_: Request) -> Answer:
        return Answer(msgspec.json.encode(document()))

    return Protocol((), [Route("GET", "/api/openapi.json", told)])
