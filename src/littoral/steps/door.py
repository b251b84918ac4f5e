"""Steps asked for over HTTP: of the orchestrator by a node, and of a node by the orchestrator, in the same words.

`GET` of the door's address answers with the loads, `POST` does a step. Both sides are bounded; nothing is kept.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from littoral.errors import (
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    PeerError,
    RequestError,
    SandboxError,
    TooLargeError,
    TooOftenError,
    UnauthorizedError,
    UnavailableError,
)
from littoral.steps.messages import LOADS_BYTES_MAX

if TYPE_CHECKING:
    from littoral.web.outgoing import Replied

__all__ = ["FRAME", "FRAME_BYTES_MAX", "LOADS_TYPE", "Door"]

FRAME = "application/x-safetensors"
LOADS_TYPE = "application/msgpack"
FRAME_BYTES_MAX = 64 << 20
WORDS_MAX = 300
RETRY_S_MAX = 60.0
FAILED = (422, 500, 501, 504)

_REFUSALS: dict[int, type[RequestError]] = {
    400: InputError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    413: TooLargeError,
}


class Door:
    """Of one server, for one event loop. token: shown with each request, read when it is asked. what: in messages."""

    def __init__(self, url: str, what: str, token: Callable[[], str], *, ca: str | None = None) -> None:
        from littoral.web.outgoing import Outgoing  # its library is there where a fleet is

        self._server = Outgoing(url, ca=ca)
        self._what = what
        self._token = token

    async def loads(self, deadline_s: float) -> bytes:
        """Raises as `step`."""
        return await self._ask("GET", b"", {}, deadline_s, LOADS_BYTES_MAX)

    async def step(self, body: bytes, deadline_s: float) -> bytes:
        """Raises RequestError and UnavailableError for what is refused, SandboxError where the step failed there, and
        PeerError for everything else: nobody answered, or not as such a door does.
        """
        headers = {"content-type": FRAME}
        return await self._ask("POST", body, headers, deadline_s, FRAME_BYTES_MAX)

    async def close(self) -> None:
        await self._server.close()

    async def _ask(self, method: str, body: bytes, more: dict[str, str], deadline_s: float, bytes_max: int) -> bytes:
        headers = {"authorization": f"Bearer {self._token()}"} | more
        replied = await self._server.ask(method, "", body, headers, deadline_s=deadline_s, bytes_max=bytes_max)
        if replied.status == 200:
            return replied.body
        raise _refusal(self._what, replied)


def _refusal(what: str, replied: "Replied") -> LittoralError:
    told = f"{what}: {replied.status} {_told(replied.body)}".rstrip()
    if (kind := _REFUSALS.get(replied.status)) is not None:
        return kind(told)
    if replied.status in FAILED:
        return SandboxError(told)
    if replied.status == 429:
        return TooOftenError(told, retry_after_s=_retry_s(replied))
    if replied.status == 503:
        return UnavailableError(told, retry_after_s=_retry_s(replied))
    return PeerError(told)


def _retry_s(replied: "Replied") -> float:
    try:
        found = float(replied.headers.get("retry-after", "1"))
    except ValueError:
        found = 1.0
    return min(RETRY_S_MAX, max(0.0, found)) if math.isfinite(found) else RETRY_S_MAX


def _told(body: bytes) -> str:
    """The text of an error in the shape of `plain_error`."""
    try:
        found = msgspec.json.decode(body, type=dict[str, str]).get("error", "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = body[:WORDS_MAX].decode(errors="replace")
    return found[:WORDS_MAX].strip()
