"""What all connections of one server have in common."""

import asyncio
from typing import TYPE_CHECKING

from littoral.web.bodies import Held
from littoral.web.limits import Limits
from littoral.web.messages import Handler

if TYPE_CHECKING:
    from littoral.web.connection import Connection

__all__ = ["Shared"]


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
        self.has_none = asyncio.Event()
        """No connection is open; true only after there was one."""

    def limit(self, limits: Limits) -> None:
        """For connections that come; what all bodies may take together stays."""
        self.limits = limits

    def make_room(self) -> bool:
        """For one more connection: who says nothing the longest has to go."""
        if len(self.connections) < self.limits.connection_count_max:
            return True
        silent = next((one for one in self.connections if one.is_idle), None)
        if silent is not None:
            silent.abort()
        return silent is not None
