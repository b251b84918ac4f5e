"""A request as its connection has it: from its head on, until the answer is sent."""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from littoral.web.bodies import Body
from littoral.web.messages import Answer, Request
from littoral.web.sockets import NoBody

__all__ = ["Asked", "authority_of"]

KNOWN_TARGETS_MAX = 256
HANDSHAKE = frozenset({"host", "upgrade", "connection"})


class Asked:
    """A request whose head is there."""

    __slots__ = ("answer", "body", "headers", "is_http10", "is_upgrade", "keeps_alive", "method", "target")

    def __init__(self, method: str, target: bytes, headers: dict[str, str], body: Body) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.keeps_alive = True
        self.is_http10 = False
        self.is_upgrade = False
        self.answer: Answer | None = None
        """Of a request that no handler sees."""

    def head(self, *without: str) -> bytes:
        """As it came, without these headers."""
        return self._head(self.target, [name for name in self.headers if name not in without])

    def opening(self) -> bytes:
        """What a WebSocket's handshake depends on, and no more: `websockets` has bounds of its own for the rest."""
        names = [name for name in self.headers if name in HANDSHAKE or name.startswith("sec-websocket-")]
        return self._head(b"/", names)

    def _head(self, target: bytes, names: Iterable[str]) -> bytes:
        lines = [f"{self.method} ".encode() + target + b" HTTP/1.1"]
        lines += [f"{name}: {self.headers[name]}".encode("latin-1") for name in names]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def request(self, body_bytes_max: int, peer: str) -> Request:
        """For a handler."""
        path, query = _split(self.target)
        body = NoBody(body_bytes_max) if self.is_upgrade else self.body
        return Request(self.method, path, query, self.headers, body, is_upgrade=self.is_upgrade, peer=peer)

    def must_close(self, answer: Answer, body_bytes_max: int) -> bool:
        """Whether the connection ends with this answer: nobody would wait for what is still to come of the body."""
        if self.is_upgrade or ("connection", "close") in answer.headers:
            return True
        if self.body.is_complete:
            return False
        declared = self.headers.get("content-length")
        return declared is None or int(declared) > body_bytes_max or "expect" in self.headers


def authority_of(target: bytes) -> str | None:
    """Host and port in a target that is a whole address, in lower case; None where it is a path."""
    if target.startswith(b"/"):
        return None
    scheme, has_scheme, rest = target.decode("latin-1").lower().partition("://")
    return rest.partition("/")[0].partition("?")[0] if has_scheme and scheme.isalpha() else None


@lru_cache(KNOWN_TARGETS_MAX)
def _split(target: bytes) -> tuple[str, str]:
    """Path, decoded, and query of a request's target. Of a whole address only those count."""
    text = target.decode("latin-1")
    scheme, has_scheme, rest = text.partition("://")
    if has_scheme and "/" not in scheme and "?" not in scheme:
        text = "/" + rest.partition("/")[2]
    path, _, query = text.partition("#")[0].partition("?")
    return unquote(path.encode("latin-1").decode(errors="replace"), errors="replace"), query
