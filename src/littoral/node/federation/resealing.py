"""Values of spread collections go over to the key that seals now, or lie plain again, beside requests, by the node that
writes the map.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from littoral.clock import Clock
from littoral.errors import LittoralError, UnavailableError
from littoral.mesh.facts import Known
from littoral.mesh.shard_map import Sealing
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.sealing import SealedSpread, SiteSealing
from littoral.vectors.collections import Collections
from littoral.vectors.encrypted.shard import Renewed

__all__ = ["Resealing"]

REQUEST_S = 10.0
PAUSE_S = 5.0
SLACK_S = 1.0
"""So long a fact may be on its way."""

Say = Callable[[str], None]


class Resealing:
    """For one event loop. facts: what nodes say. members: regions by node, of those that belong to the site."""

    def __init__(
        self,
        sealing: SiteSealing,
        keeper: MapKeeper,
        collections: Collections,
        facts: Callable[[], Mapping[str, Known]],
        members: Callable[[], Mapping[str, str]],
        clock: Clock,
        say: Say,
    ) -> None:
        self._sealing = sealing
        self._keeper = keeper
        self._collections = collections
        self._facts = facts
        self._members = members
        self._clock, self._say = clock, say
        self._task: asyncio.Task[None] | None = None
        self._lost: dict[str, Sealing] = {}
        """Collections with values that no key opens: looked through once for each key, not for ever."""
        self._again_s = 0.0
        self._under_way: dict[str, Renewed] = {}
        self._ended: dict[str, tuple[Sealing, float]] = {}
        """By collection, since when no request was under way that seals otherwise."""

    async def look(self) -> None:
        """As the writer of the map: what it says of keys is brought up to date, and what follows from that is begun."""
        if not self._keeper.is_writer:
            return
        self._keeper.write(self._sealing.following(self._facts(), self._members()))
        is_busy = self._task is not None and not self._task.done()
        if is_busy or self._clock.monotonic() < self._again_s or not self._all_go_by_the_map():
            return
        for name, spread in self._keeper.map.spreads.items():
            sealing = spread.sealing
            if sealing is None or sealing.is_settled or spread.change is not None or self._lost.get(name) == sealing:
                continue
            if not isinstance(shard := self._shard(name), SealedSpread) or not self._is_quiet(name, sealing):
                continue
            if sealing.step == "announced":
                self._keeper.write(self._sealing.settled(name, sealing))
            else:
                self._task = asyncio.create_task(self._renewed(name, sealing, shard), name="littoral-resealing")
            return

    def told(self) -> dict[str, tuple[int, int]]:
        """By collection that is looked through, points that were looked at in this round, and values written."""
        return {name: (done.points, done.values) for name, done in self._under_way.items()}

    async def close(self) -> None:
        """What is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _shard(self, name: str) -> object:
        return self._collections.get(name).shard if name in self._collections else None

    def _all_go_by_the_map(self) -> bool:
        """Whoever does not might still seal by the key before."""
        facts, number = self._facts(), self._keeper.map.number
        others = self._members().keys() - {self._keeper.writer}
        return all(node in facts and facts[node].fact.map_number >= number for node in others)

    def _is_quiet(self, name: str, sealing: Sealing) -> bool:
        """Whether nothing is under way any more that seals otherwise, and what was has reached every replica.

        That is so once every member has said so after the last one had ended, with a log that is no further behind
        than since then.
        """
        facts = self._facts()
        told = [facts[node] for node in self._members() if node in facts]
        if any(name in one.fact.sealing for one in told):
            self._ended.pop(name, None)
            return False
        kept, ended_s = self._ended.get(name, (None, 0.0))
        if kept != sealing:
            self._ended[name] = (sealing, self._clock.monotonic())
            return False
        return all(one.taken_s - SLACK_S - max(one.fact.lag_s.values(), default=0.0) > ended_s for one in told)

    async def _renewed(self, name: str, sealing: Sealing, shard: SealedSpread) -> None:
        """Looked through until there is nothing to seal anew, or to open."""
        try:
            count = 0
            while (done := await self._looked_through(name, shard)).values:
                count += done.values
        except LittoralError as error:
            if not isinstance(error, UnavailableError):
                self._say(f"collection `{name}`: sealed values could not be looked at: {error}")
            self._again_s = self._clock.monotonic() + PAUSE_S
            return
        finally:
            self._under_way.pop(name, None)
        if done.lost:
            self._lost[name] = sealing
            self._say(f"collection `{name}`: {done.lost} of {done.points} points have values that no key opens")
            return
        if self._keeper.is_writer and (settled := self._sealing.settled(name, sealing)):
            self._keeper.write(settled)
            self._say(f"collection `{name}`: {_done(sealing, count)}")

    async def _looked_through(self, name: str, shard: SealedSpread) -> Renewed:
        done = self._under_way[name] = Renewed()
        return await shard.renew(REQUEST_S, done)


def _done(sealing: Sealing, count: int) -> str:
    fields = ", ".join(f"`{field}`" for field in sealing.leaving)
    if sealing.step == "opening":
        return f"{count} values were written anew, none of {fields} is sealed any more"
    if sealing.step == "clearing":
        return f"{fields} left the sealed fields"
    return f"{count} values were sealed anew by key {sealing.key}, no other is needed"
