"""Names that a node answers to: a page elsewhere must not reach it under a name of its own (DNS rebinding)."""

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache

from littoral.errors import ForbiddenError
from littoral.web.messages import Request

__all__ = ["Hosts"]

CHARACTERS_MAX = 300
SEEN_COUNT_MAX = 256
_HOST = re.compile(r"(\[(?P<address>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9_-]+(\.[a-z0-9_-]+)*)\.?)(:[0-9]{1,5})?")


class Hosts:
    """known: names of this node, beside addresses, `localhost` and names without a dot, which no site elsewhere has."""

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = frozenset(name.lower().rstrip(".") for name in known)
        self._is_own = lru_cache(SEEN_COUNT_MAX)(self._decided)

    def check(self, request: Request) -> None:
        """Raises ForbiddenError for a request to a name that is none of this node's."""
        if (host := request.headers.get("host")) is None:
            return
        if len(host) > CHARACTERS_MAX or not self._is_own(host):
            raise ForbiddenError(
                f"this node is not `{''.join(c for c in host[:80] if c.isprintable())}`",
                hint="ask by its address, or name what it is called in `node.hosts` of the site file",
            )

    def _decided(self, host: str) -> bool:
        name = _name(host)
        if name in self._known or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return bool(name) and "." not in name
        return True


def _name(host: str) -> str:
    """Without port and brackets, in lower case; '' for what is no name and no address."""
    found = _HOST.fullmatch(host.strip().lower())
    return (found["address"] or found["name"]) if found else ""
