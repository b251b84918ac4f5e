"""Pages of other origins: who may write and read here with a visitor's browser (Fetch Standard, CORS)."""

import re
from collections.abc import Collection

from littoral.errors import ForbiddenError, SettingError
from littoral.web.messages import Answer, Request

__all__ = ["Origins", "check_origin_text"]

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED = "littoral-request-id, traceparent, retry-after, inference-header-content-length"
MAX_AGE_S = 600
HEADERS_CHARACTERS_MAX = 1000
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?|[a-z-]+-extension://[a-z0-9-]+")


def check_origin_text(text: str) -> None:
    """Raises SettingError for what no browser sends as an origin."""
    if not _ORIGIN.fullmatch(text):
        raise SettingError(
            f"origin is `{text}`, must be as a browser sends it, such as `https://shop.example`",
            hint="lower case, without a path or a slash at its end",
        )


class Origins:
    """allowed: origins beside the node's own whose pages may ask anything."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def check(self, request: Request) -> None:
        """A page of another site may not write here with its visitor's browser. Raises ForbiddenError.

        Nor may it open a WebSocket, which browsers ask no leave for.
        """
        origin = request.headers.get("origin")
        if origin is None or origin in self._allowed:
            return
        if request.method in ("GET", "HEAD") and not request.is_upgrade:
            return
        if origin.partition("://")[2] != request.headers.get("host"):
            raise ForbiddenError("requests that write are not taken from pages of another origin")

    def headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """That let a page read the answer; none for an origin that is not allowed."""
        if not self._allowed:
            return ()
        origin = request.headers.get("origin")
        if origin not in self._allowed:
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED),
            ("vary", "origin"),
        )

    def preflight(self, request: Request) -> Answer | None:
        """The answer to a browser that asks for a page whether it may; None for anything else."""
        get = request.headers.get
        if request.method != "OPTIONS" or get("access-control-request-method") is None:
            return None
        if get("origin") not in self._allowed:
            return None
        headers = [("access-control-allow-methods", METHODS), ("access-control-max-age", str(MAX_AGE_S))]
        if wanted := str(get("access-control-request-headers", ""))[:HEADERS_CHARACTERS_MAX]:
            headers.append(("access-control-allow-headers", wanted))
        if get("access-control-request-private-network") == "true":
            headers.append(("access-control-allow-private-network", "true"))
        return Answer(b"", 204, headers=tuple(headers))
