"""Whether the map that a node goes by is still the newest: its writer says so, for a while.

A node that is cut off goes on by the map it has, and answers. What others acknowledge by a newer one it lacks. So it
may call itself complete no longer than the writer has promised, and until all such promises are over nothing is
acknowledged that somebody who goes by an older map could lack.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError
from littoral.node.federation.leases import LEASE_S, RENEW_S
from littoral.telemetry import Endured
from littoral.transport import Transport

__all__ = ["MAP_LEASE", "MapLease"]

MAP_LEASE = "shard-map-lease"
YES, NO = b"1", b"0"


class MapLease:
    """number: of the map that this node goes by. writer: the node that writes it. members: of the site."""

    def __init__(
        self,
        transport: Transport,
        number: Callable[[], int],
        writer: Callable[[], str],
        members: Callable[[], Mapping[str, str]],
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._number = number
        self._writer = writer
        self._members = members
        self._clock = clock
        self._endured = Endured()
        self._confirmed = -1
        self._until_s = 0.0
        self._seen = -1
        self._seen_s = clock.monotonic()

    async def open(self) -> None:
        """From now on others are told whether their map is the newest."""
        await self._transport.serve(MAP_LEASE, self._grant)

    def left_s(self) -> float:
        """For how long the map of this node is the newest."""
        if self._writer() == self._transport.name:
            return LEASE_S
        if self._confirmed != self._number():
            return 0.0
        return max(0.0, self._until_s - self._clock.monotonic())

    def older_s(self) -> float:
        """For how long others may hold an older map for the newest. To be asked as soon as there is another."""
        now_s = self._clock.monotonic()
        if self._seen != self._number():
            self._seen, self._seen_s = self._number(), now_s
        return max(0.0, self._seen_s + LEASE_S - now_s)

    async def renew(self) -> None:
        """Asks the writer, if that is another node that is here."""
        writer, number = self._writer(), self._number()
        if writer == self._transport.name or writer not in self._transport.alive():
            return
        asked_s = self._clock.monotonic()
        with contextlib.suppress(LittoralError):
            told = await self._transport.request(writer, MAP_LEASE, b"%d" % number, deadline_s=RENEW_S)
            if told == YES:
                self._confirmed, self._until_s = number, asked_s + LEASE_S

    async def keep(self, is_needed: Callable[[], bool] = lambda: True) -> None:
        """Goes on renewing while it is needed: by who holds shards, so that a large site does not ask its writer."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    with self._endured.round("mesh: lease of the map"):
                        if is_needed():
                            await self.renew()
                    await asyncio.Event().wait()

    async def _grant(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        is_newest = self._writer() == self._transport.name and body == b"%d" % self._number()
        return YES if is_newest else NO
