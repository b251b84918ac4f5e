"""Clients of a simulated site that make and delete collections by requests, and what must be left of these."""

import asyncio
import traceback
from collections.abc import Iterator
from random import Random

from littoral.errors import ConflictError, LittoralError, NotFoundError
from littoral.node.mesh_tables import SpreadTable
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.site import COLLECTION, SimulatedSite
from littoral.vectors.records import CollectionConfig, VectorParams

__all__ = ["Makers"]

NAMES = ("notes", "memos", "prices")
CONFIG = CollectionConfig(VectorParams(4, "Euclid"))
PAUSE_S = 1.0
MAKE_S, ANSWER_S = 3.0, 5.0
LATE_S = 40.0
"""A request that was not answered may still come true until then: it waits for the node that writes the map."""


class Makers:
    """One for each name, which waits for each answer. made_count: collections whose making was acknowledged."""

    def __init__(self, site: SimulatedSite) -> None:
        self.site = site
        self.made_count = 0
        self._is_there = dict.fromkeys(NAMES, False)
        """As acknowledged last."""
        self._unknown_until_s = dict.fromkeys(NAMES, 0.0)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    def start(self) -> None:
        """They go on until `stop`."""
        rng = self.site.rng
        self._tasks = [asyncio.create_task(self._ask(name, Random(rng.random()))) for name in NAMES]  # noqa: S311

    async def stop(self) -> None:
        """When each has its last answer. An error that none of them expects breaks the site's promises too."""
        self._is_over = True
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                where = "".join(traceback.format_exception(outcome)[-2:])
                self.site.breaks(f"who makes collections gets {outcome!r}: {where}")

    async def _ask(self, name: str, rng: Random) -> None:
        while not self._is_over:
            await asyncio.sleep(rng.random() * 2 * PAUSE_S)
            if not (nodes := self.site.asked()):
                continue
            node, is_made = rng.choice(nodes), not self._is_there[name]
            what = f"{'make' if is_made else 'delete'} {name} at {node.name}"
            try:
                await (self._make(node, name, rng) if is_made else self._delete(node, name))
            except (ConflictError, NotFoundError) as error:
                # Not yet heard of there, or a request of before that was not answered has come true.
                self.site.trace.note(f"{what}: {type(error).__name__}")
            except LittoralError as error:
                self.site.trace.note(f"{what}: {type(error).__name__}: {str(error)[:100]}")
                self._unknown_until_s[name] = self.site.clock.monotonic() + LATE_S
            else:
                self.site.trace.note(f"{what}: done")
                self._is_there[name] = is_made
                self.made_count += is_made

    async def _make(self, node: SimulatedNode, name: str, rng: Random) -> None:
        assert node.federation is not None
        count = len(self.site.plan.names)
        table = SpreadTable(shards=rng.randrange(1, 4), replicas=min(count, rng.randrange(1, 4)))
        make = node.federation.making.create(
            name, CONFIG, table, ready=lambda left_s: node.collection(name).count(deadline_s=left_s), deadline_s=MAKE_S
        )
        await node.call(make, ANSWER_S)

    async def _delete(self, node: SimulatedNode, name: str) -> None:
        assert node.federation is not None
        await node.call(node.federation.making.delete(name, deadline_s=MAKE_S), ANSWER_S)

    def _is_sure(self, name: str) -> bool:
        return self.site.clock.monotonic() > self._unknown_until_s[name]

    def differing(self, site: SimulatedSite) -> Iterator[str]:
        """What was acknowledged is so on every node, with nothing left of what was deleted."""
        spreads = site.newest().spreads
        for name in NAMES:
            if self._is_sure(name) and (name in spreads) is not self._is_there[name]:
                yield f"{name}: acknowledged as {'made' if self._is_there[name] else 'deleted'}, the map says otherwise"
        for node in site.up():
            assert node.federation is not None
            assert node.collections is not None
            told = {name for name in node.collections.names() if name != COLLECTION}
            if told != spreads.keys() - {COLLECTION}:
                yield f"{node.name}: tells of {sorted(told)}"
            if lacking := node.federation.lacking():
                yield f"{node.name}: lacks {lacking}"
            for part in node.disk.by_part():
                name, _, shard = part.rpartition(".")
                if name in NAMES and node.name not in _holders(site, name, int(shard)):
                    yield f"{node.name}: {part} lies there still"


def _holders(site: SimulatedSite, name: str, shard: int) -> list[str]:
    spread = site.newest().spreads.get(name)
    return [] if spread is None else spread.places.get(shard, [])
