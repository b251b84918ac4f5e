"""Points that are noted in shards of this node as strayed go home, where whoever wrote them did not bring them there.

In a loop of its own: shards that cannot be asked hold up nothing else of the node. Of the holders of a shard that are
here one looks first, in the order of the map, and the others only later: several who bring one point home at one time
are in each other's way.
"""

import asyncio
from collections.abc import Callable, Sequence

from littoral.errors import LittoralError
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.homing import LOOK_COUNT, Homing
from littoral.node.federation.placing import placing_of
from littoral.node.federation.replicas import Replicas
from littoral.node.federation.residency import seen_from
from littoral.telemetry import Endured
from littoral.vectors.records import PointId
from littoral.vectors.replication.entries import id_of

__all__ = ["Straying"]

PAUSE_S, ROUND_S = 2.0, 1.0
WAITING_MAX = 4096
LOOK_S = 10.0
REST_S = 5.0
"""So long whoever wrote a point has to bring it where it belongs; then the first holder does, then the next."""


class Straying:
    """Of one node. target: a collection by its name."""

    def __init__(
        self,
        homing: Homing,
        replicas: Replicas,
        asking: Asking,
        target: Callable[[str], Target],
        say: Callable[[str], None],
    ) -> None:
        self._homing = homing
        self._replicas = replicas
        self._asking = asking
        self._target = target
        self._endured = Endured(say)
        self._waiting: dict[str, dict[tuple[bytes, int], float]] = {}
        """By shard, what is noted there, and since when it is known here."""

    async def keep(self) -> None:
        """Goes on looking, until it is cancelled."""
        while True:
            with self._endured.round("mesh: points elsewhere"):
                await self._look()
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        """Raises the first LittoralError; what could not be looked at stays noted, for another round."""
        end_s, failed = self._asking.clock.monotonic() + ROUND_S, list[LittoralError]()
        for name in self._replicas.names():
            try:
                await self._look_into(name, end_s)
            except LittoralError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def _look_into(self, name: str, end_s: float) -> None:
        strays, now_s = self._replicas.strays(name), self._asking.clock.monotonic()
        if not strays.is_any:
            self._waiting.pop(name, None)
            return
        known = self._waiting.get(name, {})
        waiting = self._waiting[name] = {one: known.get(one, now_s) for one in await strays.some(WAITING_MAX)}
        collection, _, number = name.rpartition(".")
        target, shard = self._target(collection), int(number)
        rest_s = REST_S * (1 + self._rank(target, shard))
        ripe = [one for one, since_s in waiting.items() if now_s - since_s >= rest_s]
        for at in range(0, len(ripe), LOOK_COUNT):
            if self._asking.clock.monotonic() >= end_s:
                return
            some = ripe[at : at + LOOK_COUNT]
            await self._look_at(target, shard, [id_of(key) for key, _ in some])
            await strays.settle(some)

    def _rank(self, target: Target, shard: int) -> int:
        """Of this node among the holders of a shard that are here."""
        here, alive = self._asking.here, self._asking.alive()
        nodes = [node for node in target.spread.places.get(shard, ()) if node in alive]
        return nodes.index(here) if here in nodes else 0

    async def _look_at(self, whole: Target, shard: int, points: Sequence[PointId]) -> None:
        target = whole.viewed(seen_from(whole.spread, whole.region))
        if shard not in target.spread.places or placing_of(target.spread, target.config).is_by_id:
            return
        await self._homing.home(target, points, LOOK_S)
