"""Nodes of one site in simulated time, whose collection is spread over them: the real federation, with shards in memory
and wires of this process, so that whatever goes wrong does so at one exact moment.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from littoral.clock import Clock
from littoral.errors import UnavailableError
from littoral.node.federation.federation import Federation
from littoral.node.mesh_tables import MeshTable
from littoral.node.site_tables import CollectionTable
from littoral.testing.mesh.stores import Disk, SimulatedCollections
from littoral.vectors import asks, frames
from littoral.vectors.client import ShardClient
from littoral.vectors.filters import Filter
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import FacetValue, Hit, HitGroup, IndexInfo
from nodes_in_process import Wires
from spread_nodes import SpreadNode, settled

EVERY = 10_000


class FaultyCollections(SimulatedCollections):
    """stalled: names of shards whose hosts do not answer, as while they are restarted, until they are taken out.

    Offers some of what stores in memory do not: groups, facets, changes of payloads by ids, indexes that are told of.
    """

    stalled: set[str]
    changed: asyncio.Event

    def client_of(self, name: str, shard: str) -> ShardClient:
        client = super().client_of(name, shard)
        plain = client.ask
        indexes: dict[str, IndexInfo] = {}

        async def ask(request: frames.Request, deadline_s: float) -> frames.Answer:
            try:
                async with asyncio.timeout(deadline_s):
                    while name in self.stalled:
                        await self.changed.wait()
            except TimeoutError as error:
                raise UnavailableError(f"shard `{name}`: no answer in {deadline_s:g} s") from error
            match request:
                case frames.Group():
                    return await _grouped(plain, request, deadline_s)
                case frames.Facet():
                    return await _counted(plain, request, deadline_s)
                case frames.Search():
                    queries = [_plain(one) for one in request.queries]
                    return await plain(frames.Search(call=0, queries=queries), deadline_s)
                case frames.CreateIndex(schema=str() as kind):
                    indexes[request.field] = IndexInfo(kind, 0)
                case frames.ChangePayload():
                    _merge(client, request)
                    return await plain(frames.CreateIndex(call=0, field="", schema="bool"), deadline_s)
            answer = await plain(request, deadline_s)
            if isinstance(answer, frames.Informed):
                answer.info.payload_schema = dict(indexes)
            return answer

        client.ask = ask  # type: ignore[method-assign]
        return client

    def stall(self, name: str) -> None:
        self.stalled.add(name)

    def go_on(self, name: str) -> None:
        """The host is back."""
        self.stalled.discard(name)
        self.changed.set()
        self.changed = asyncio.Event()


def _merge(client: Any, request: frames.ChangePayload) -> None:
    assert request.change.how == "merge"
    for point in request.change.ids or ():
        stored = client._store.points[point]
        client._store.put(point, stored._replace(payload={**(stored.payload or {}), **(request.change.payload or {})}))


def _plain(query: SearchQuery) -> SearchQuery:
    ask = query.ask
    return msgspec.structs.replace(query, ask=ask.target) if isinstance(ask, asks.Nearest) else query


async def _grouped(plain: Any, request: frames.Group, deadline_s: float) -> frames.Grouped:
    """What a store in memory does not offer by itself: groups, chosen by `match.any` of the key."""
    query = msgspec.structs.replace(request.query, limit=EVERY, filter=None)
    found = await plain(frames.Search(call=0, queries=[query]), deadline_s)
    names = _any_of(request.query.filter)
    groups: dict[Any, list[Hit]] = {}
    for hit in found.hits[0]:
        name = (hit.payload or {}).get(request.by)
        if names is None or name in names:
            groups.setdefault(name, []).append(hit)
    told = [HitGroup(name, hits[: request.size]) for name, hits in groups.items()][: request.query.limit]
    return frames.Grouped(call=0, epoch=found.epoch, groups=told)


def _any_of(matching: Filter | None) -> list[Any] | None:
    if matching is None:
        return None
    (condition,) = matching.must  # type: ignore[misc]
    return list(condition.match.any)  # type: ignore[union-attr]


async def _counted(plain: Any, request: frames.Facet, deadline_s: float) -> frames.Faceted:
    page = await plain(frames.Scroll(call=0, limit=EVERY), deadline_s)
    counts: dict[Any, int] = {}
    for record in page.records:
        value = (record.payload or {})[request.key]
        counts[value] = counts.get(value, 0) + 1
    values = [FacetValue(value, count) for value, count in counts.items()][: request.limit]
    return frames.Faceted(call=0, epoch=page.epoch, values=values)


@contextlib.asynccontextmanager
async def simulated_spread(
    folder: Path,
    names: Sequence[str],
    tables: Mapping[str, CollectionTable],
    wires: Wires,
    clock: Clock,
    *,
    deadline_ms: int = 1000,
) -> AsyncIterator[dict[str, SpreadNode]]:
    """All know where the shards lie, and hold them. For `run_simulated`."""
    nodes: dict[str, SpreadNode] = {}
    async with contextlib.AsyncExitStack() as opened:
        for seed, name in enumerate(names):
            collections = await FaultyCollections.on(folder / name, Disk(), Random(seed), clock)
            assert isinstance(collections, FaultyCollections)
            collections.stalled, collections.changed = set(), asyncio.Event()
            peers = {other: "127.0.0.1:1" for other in names if other != name}
            mesh = MeshTable(site="shop", peers=peers, deadline_ms=deadline_ms)
            end = wires.end(name)
            federation = Federation(mesh, tables, collections, end, folder / name, clock=clock, say=print)
            opened.push_async_callback(federation.close)
            await federation.open()
            nodes[name] = SpreadNode(federation, collections)
        await settled(nodes)
        yield nodes


def part_of(node: SpreadNode, shard: int) -> FaultyCollections:
    """The collections of a node that holds this shard of `points`."""
    assert isinstance(node.collections, FaultyCollections)
    assert node.collections.part(f"points.{shard}") is not None
    return node.collections
