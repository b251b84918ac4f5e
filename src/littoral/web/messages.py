"""What comes in and goes out over HTTP, without a word of the server that carries it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec

from littoral.errors import InputError, NotOfferedError, SlowRequestError, TooLargeError
from littoral.tables.problems import unknown_hint

__all__ = [
    "Answer",
    "Body",
    "Handler",
    "Headers",
    "Leave",
    "Request",
    "Socket",
    "Stream",
    "Upgrade",
    "decode_json",
    "json_answer",
]

JSON = "application/json"
QUERY_FIELDS_MAX = 64

_T = TypeVar("_T")


class Headers(Protocol):
    """Names in lower case."""

    def get(self, key: str, default: Any = None, /) -> Any: ...


class Body(Protocol):
    """The bytes that follow the headers."""

    async def read(self) -> bytes:
        """All of them; a second call gives them again. Raises TooLargeError, SlowRequestError, InputError (cut off)."""
        ...

    def chunks(self, pause_s: float) -> AsyncIterator[bytes]:
        """As they come, however many; instead of `read`. Raises SlowRequestError after a longer pause."""
        ...

    @property
    def bytes_max(self) -> int:
        """Of a whole body that `read` gives; of one part of it for who reads `chunks`."""
        ...


class Socket(Protocol):
    """A WebSocket that is open. Closing it is ours when the function that was given it returns."""

    async def receive(self) -> bytes | str | None:
        """The next message; None when the other side has closed."""
        ...

    async def send(self, text: str) -> None:
        """Raises PeerError when the other side is gone."""
        ...


class Request(msgspec.Struct, frozen=True):
    """path: decoded, begins with `/`. names: what stood in the named places of the route's pattern.

    is_upgrade: it asks for a WebSocket, which a route gives by answering `Upgrade`. peer: the address it came from.
    """

    method: str
    path: str
    query_text: str
    headers: Headers
    body: Body
    names: Mapping[str, str] = {}
    is_upgrade: bool = False
    peer: str = ""

    def named(self, names: Mapping[str, str]) -> "Request":
        """The same with names."""
        return Request(
            self.method, self.path, self.query_text, self.headers, self.body, names, self.is_upgrade, self.peer
        )

    @property
    def query(self) -> dict[str, str]:
        """Fields of the query string, the last of a name. Raises InputError."""
        if not self.query_text:
            return {}
        try:
            return dict(parse_qsl(self.query_text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
        except ValueError as error:
            raise InputError(f"query: {error}") from error

    @property
    def media_type(self) -> str:
        """Of the body, in lower case and without parameters; '' if it is not said."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def accepts(self, media_type: str) -> bool:
        """Whether the caller names this media type among those it wants."""
        wanted = str(self.headers.get("accept", "")).split(",")
        return any(part.partition(";")[0].strip().lower() == media_type for part in wanted)

    async def json(self, kind: type[_T]) -> _T:
        """The body as JSON of this shape. Raises InputError naming the place, and what `body.read` raises."""
        return decode_json(await self.body.read(), kind)


def decode_json(data: bytes, kind: type[_T]) -> _T:
    """Raises InputError for what is no JSON, has another shape, or is nested too deep."""
    if not data:
        raise InputError("body is empty, expected JSON")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise InputError("body: JSON is nested too deep") from error
    except msgspec.DecodeError as error:
        raise InputError(f"body: {error}", hint=unknown_hint(error, kind)) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"body: {error}") from error


class Answer(msgspec.Struct, frozen=True):
    """A complete answer."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


Leave = Callable[[], None]
"""Raises what a caller is refused with who was let in, and may no longer have what goes on."""


class Stream(NamedTuple):
    """An answer without an end, or with one that is far away; `chunks` is closed when the caller leaves, its leave ends
    or the server stops. length: of all chunks, where it is known.
    """

    chunks: AsyncIterator[bytes]
    media_type: str
    leave: Leave | None = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class Upgrade(NamedTuple):
    """The connection becomes a WebSocket, and `run` has it until it returns or the caller's leave ends."""

    run: Callable[[Socket], Awaitable[None]]
    leave: Leave | None = None


Handler = Callable[[Request], Awaitable[Answer | Stream | Upgrade]]


def json_answer(value: object, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """Numbers that are not finite become null."""
    return Answer(msgspec.json.encode(value), status, JSON, headers)


def check_declared(headers: Headers, bytes_max: int) -> int | None:
    """The declared length, or None. Raises TooLargeError before anything is read."""
    if (declared := headers.get("content-length")) is None:
        return None
    if int(declared) > bytes_max:  # digits only: the server has refused anything else
        raise too_large(int(declared), bytes_max)
    return int(declared)


def encoded(encoding: str) -> NotOfferedError:
    return NotOfferedError(f"body is encoded as `{encoding[:40]}`", hint="send it without `content-encoding`")


def too_large(found: int, bytes_max: int, more: str = "") -> TooLargeError:
    return TooLargeError(f"body has {found} bytes{more}, at most {bytes_max}")


def too_slow(found: int, seconds: float) -> SlowRequestError:
    return SlowRequestError(f"body: {found} bytes came in {seconds:g} s, and not its end")
