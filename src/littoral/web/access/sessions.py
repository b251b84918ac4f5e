"""Sessions of pages: a browser that showed a token once keeps a random cookie, which is good for this node only."""

import hashlib
import secrets
from collections import OrderedDict
from typing import NamedTuple

from littoral.clock import Clock

__all__ = ["COOKIE", "Sessions", "cookie_in"]

COOKIE = "littoral_session"
SESSION_S = 12 * 3600
SESSION_COUNT_MAX = 1024


class _Session(NamedTuple):
    token_id: str
    ends_at_s: float


class Sessions:
    """In memory: a node that starts anew has none. Bounded: the oldest goes. A session ends with its token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, token_id: str) -> str:
        """The cookie's value, of which a digest is kept."""
        value = secrets.token_urlsafe(32)
        self._open[_digest(value)] = _Session(token_id, self._clock.monotonic() + SESSION_S)
        while len(self._open) > SESSION_COUNT_MAX:
            self._open.popitem(last=False)
        return value

    def token_id(self, value: str) -> str:
        """Whose session it is; '' for none."""
        session = self._open.get(_digest(value))
        if session is None or self._clock.monotonic() >= session.ends_at_s:
            return ""
        return session.token_id

    def end(self, value: str) -> None:
        self._open.pop(_digest(value), None)


def cookie_in(header: str) -> str:
    """The session's value in a `Cookie` header; '' without one."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
