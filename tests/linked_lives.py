"""Clients of spread nodes over real links, what they were promised, and faults of the links that befall them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random

import numpy as np

from linked_ends import LinkedEnds, linked_ends
from littoral.errors import LittoralError
from littoral.mesh.shard_map import Layout
from littoral.node.search_how import noting
from littoral.vectors.queries import SearchParams
from moving import begin, until_arrived, writer_of
from spread_nodes import SpreadNode, are_alike, spread_nodes, spread_table
from waiting import until_async, until_true

__all__ = ["FAULTS", "LinkedLife", "linked_life"]

NAMES = ("a", "b", "c")
SIZE = 4
EXACT = SearchParams(exact=True)
PAUSE_S = 0.02
DEADLINE_MS = 4000
SHORT_S, LONG_S = 0.6, 3.5
"""Less than a link's lease, and more than that of what a replica is believed."""

DELAY_S = 0.03


class LinkedLife:
    """`alone`: one holder must have a write, of two; `both`: two of two. What was acknowledged is in `acknowledged`."""

    def __init__(self, nodes: Mapping[str, SpreadNode], links: LinkedEnds, seed: int) -> None:
        self.nodes = nodes
        self.links = links
        self.rng = Random(seed)
        self.acknowledged: dict[str, set[int]] = {"alone": set(), "both": set()}
        self.refused = self.certified = self.uncertain = 0
        self._count = 0

    async def write(self) -> None:
        name, node = self.rng.choice(sorted(self.acknowledged)), self.nodes[self.rng.choice(NAMES)]
        self._count += 1
        point = self._count
        try:
            await node[name].upsert([point], np.full((1, SIZE), point, np.float32))
            self.acknowledged[name].add(point)
        except LittoralError:
            self.refused += 1

    async def search(self) -> None:
        """What says to lack nothing has all that was acknowledged before it was asked."""
        name, node = self.rng.choice(sorted(self.acknowledged)), self.nodes[self.rng.choice(NAMES)]
        before = set(self.acknowledged[name])
        with noting() as how, contextlib.suppress(LittoralError):
            found = await node[name].search(np.zeros(SIZE, np.float32), limit=1000, params=EXACT)
            if how.told is None or not how.told["certified"]:
                self.uncertain += 1
                return
            self.certified += 1
            lacking = before - {hit.id for hit in found}
            assert not lacking, f"`{node.federation.name}` certifies an answer of `{name}` without {sorted(lacking)}"

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Two write and two search meanwhile; what they saw that should not be is raised."""
        is_over = False

        async def again(step: object) -> None:
            while not is_over:
                await step()  # type: ignore[operator]
                await asyncio.sleep(PAUSE_S)

        tasks = [asyncio.create_task(again(step)) for step in (self.write, self.write, self.search, self.search)]
        try:
            yield
        finally:
            is_over = True
            await asyncio.gather(*tasks)

    async def is_alike(self) -> bool:
        return are_alike(self.nodes)

    async def check_whole(self) -> None:
        """All replicas are alike, no acknowledged write is lost, and every node is certain again."""
        await self.links.met()
        await until_async(lambda: are_alike(self.nodes))
        for name, acknowledged in self.acknowledged.items():
            for node in self.nodes.values():
                await until_true(lambda node=node, name=name: self._is_certain(node, name))  # type: ignore[misc]
                found = {hit.id for hit in await node[name].search(np.zeros(SIZE, np.float32), limit=1000)}
                assert acknowledged <= found, f"lost: {sorted(acknowledged - found)}"

    async def _is_certain(self, node: SpreadNode, name: str) -> bool:
        with noting() as how, contextlib.suppress(LittoralError):
            await node[name].search(np.zeros(SIZE, np.float32), limit=1000, params=EXACT)
        return how.told is not None and bool(how.told["certified"])

    async def to_another_layout(self) -> Layout:
        """Of `alone`: begun now; other nodes hold other shards."""
        spread = writer_of(self.nodes).federation.map.spreads["alone"]
        first = spread.first_free
        places = {first + at: [NAMES[at % 3], NAMES[(at + 1) % 3]] for at in range(3)}
        layout = Layout("hash", places)
        begin(self.nodes, "alone", layout)
        return layout

    async def until_arrived(self, layout: Layout) -> None:
        await until_arrived(self.nodes, "alone", layout)


async def _cut_off(life: LinkedLife, for_s: float) -> None:
    life.links.cut_off(life.rng.choice(NAMES))
    await asyncio.sleep(for_s)


async def _cut_short(life: LinkedLife) -> None:
    """No link ends by it."""
    await _cut_off(life, SHORT_S)


async def _cut_long(life: LinkedLife) -> None:
    """The links end, and so do the leases."""
    await _cut_off(life, LONG_S)


async def _one_way(life: LinkedLife) -> None:
    """Half a link is left."""
    one, other = life.rng.sample(NAMES, 2)
    life.links.cut(one, other, is_one_way=True)
    await asyncio.sleep(LONG_S)


async def _slow(life: LinkedLife) -> None:
    life.links.slow(DELAY_S)
    await asyncio.sleep(SHORT_S)


FAULTS = {"short cut": _cut_short, "long cut": _cut_long, "one way": _one_way, "slow": _slow}
"""By name; each ends as soon as links are healed."""


@contextlib.asynccontextmanager
async def linked_life(folder: Path, seed: int) -> AsyncIterator[LinkedLife]:
    tables = {
        "alone": spread_table(SIZE, shards=2, replicas=2, holders=1),
        "both": spread_table(SIZE, shards=2, replicas=2, holders=2),
    }
    async with (
        linked_ends(folder, NAMES) as links,
        spread_nodes(folder, NAMES, tables, wires=links, deadline_ms=DEADLINE_MS) as nodes,
    ):
        yield LinkedLife(nodes, links, seed)
