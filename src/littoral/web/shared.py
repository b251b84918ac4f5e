"""What all connections of one server have in common."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from littoral.web.bodies import Held
from littoral.web.limits import Limits
from littoral.web.messages import Handler

if TYPE_CHECKING:
    from littoral.web.connection import Connection

__all__ = ["DROPS", "Shared"]

DROPS = ("handshake_address", "handshake_all", "handshake_failed", "silent", "slow", "refused")


class Shared:
    """Of one server. date: of the answers' heads, as a line."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler = handler
        self.limits = limits
        self.held = Held(limits.bodies_bytes_max)
        self.date = ""
        self.is_ending = False
        self.connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self.running: set[asyncio.Task[None]] = set()
        self.streams: set[asyncio.Task[None]] = set()
        self.dropped: Counter[str] = Counter()
        """Connections that were, by reason (`DROPS`)."""
        self.has_none = asyncio.Event()
        """No connection is open; true only after there was one."""

    def limit(self, limits: Limits) -> None:
        """For connections that come; what all bodies may take together stays."""
        self.limits = limits

    def make_room(self, asking: str) -> bool:
        """For one more connection, from there: who says nothing the longest has to go; else, of an address that has
        more than half, who sends its request the longest."""
        if len(self.connections) < self.limits.connection_count_max:
            return True
        if (silent := next((one for one in self.connections if one.is_idle), None)) is not None:
            self._drop(silent, "silent")
            return True
        network, count = Counter(one.network for one in self.connections).most_common(1)[0]
        slow = next((one for one in self.connections if one.network == network and one.is_sending), None)
        if slow is None or network == asking or 2 * count <= self.limits.connection_count_max:
            self.dropped["refused"] += 1
            return False
        self._drop(slow, "slow")
        return True

    def _drop(self, one: "Connection", reason: str) -> None:
        self.dropped[reason] += 1
        one.abort()
