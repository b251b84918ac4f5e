"""Points that are noted in shards of this node as strayed go home, where whoever wrote them did not bring them there.

In a loop of its own: shards that cannot be asked hold up nothing else of the node. Of the holders of a shard that are
here one looks first, in the order of the map, and the others only later: several who bring one point home at one time
are in each other's way. What could not be brought home is looked at again one by one, after all others: a point that
no shard takes keeps no other away.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

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


class Waiting(NamedTuple):
    """A point that is noted. since_s: it is known here, or could not be brought home. has_failed: it could not once."""

    since_s: float
    has_failed: bool = False


Noted = tuple[bytes, int]


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
        self._waiting: dict[str, dict[Noted, Waiting]] = {}
        """By shard, what is noted there."""

    async def keep(self) -> None:
        """Goes on looking, until it is cancelled."""
        while True:
            with self._endured.round("mesh: points elsewhere"):
                await self._look()
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        """Raises the first LittoralError; what could not be looked at stays noted, for another round."""
        failed, names = list[LittoralError](), self._replicas.names()
        self._waiting = {name: waiting for name, waiting in self._waiting.items() if name in names}
        for name in names:
            try:
                await self._look_into(name)
            except LittoralError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def _look_into(self, name: str) -> None:
        strays, now_s = self._replicas.strays(name), self._asking.clock.monotonic()
        if not strays.is_any:
            self._waiting.pop(name, None)
            return
        known, new = self._waiting.get(name, {}), Waiting(now_s)
        waiting = self._waiting[name] = {one: known.get(one, new) for one in await strays.some(WAITING_MAX)}
        collection, _, number = name.rpartition(".")
        target, shard = self._target(collection), int(number)
        rest_s = REST_S * (1 + self._rank(target, shard))
        ripe = {noted: one for noted, one in waiting.items() if now_s - one.since_s >= rest_s}
        failed: LittoralError | None = None
        for some in _batches(ripe):
            if (began_s := self._asking.clock.monotonic()) >= now_s + ROUND_S:
                break
            try:
                await self._look_at(target, shard, [id_of(key) for key, _ in some])
            except LittoralError as error:
                failed = failed or error
                waiting |= dict.fromkeys(some, Waiting(began_s, has_failed=True))
                continue
            await strays.settle(some)
        if failed is not None:
            raise failed

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


def _batches(ripe: Mapping[Noted, Waiting]) -> Iterator[list[Noted]]:
    """Those that failed come last and alone, whichever has waited longest first."""
    fresh = [noted for noted, one in ripe.items() if not one.has_failed]
    for at in range(0, len(fresh), LOOK_COUNT):
        yield fresh[at : at + LOOK_COUNT]
    for noted in sorted((noted for noted, one in ripe.items() if one.has_failed), key=lambda one: ripe[one].since_s):
        yield [noted]
