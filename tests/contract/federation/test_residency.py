"""Data that is pinned to a region never leaves it: every byte between nodes is looked at, and every file elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from littoral.errors import ForbiddenError, NotFoundError
from littoral.mesh.shard_map import encode_map
from littoral.node.federation.layout import laid_out
from littoral.node.federation.messages import READ, WRITE, Ask, Part, encode
from littoral.node.federation.moving.planning import fitted_anew
from littoral.node.federation.residency import allowed, pinned_to
from littoral.node.federation.summaries import SUMMARIES, Wanted, decode_summaries
from littoral.node.mesh_tables import SpreadTable
from littoral.node.search_how import noting
from littoral.vectors import asks, frames
from littoral.vectors.filters import Filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchQuery
from pinned_points import (
    COUNT,
    EU,
    EXACT,
    FREE,
    NAMES,
    PINNED,
    REGIONS,
    ROWS,
    SIZE,
    ask_everything,
    nothing_left,
    payload,
    traces,
)
from recorded_wires import RecordedWires
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

Nodes = dict[str, SpreadNode]


@pytest.fixture
def wires() -> RecordedWires:
    return RecordedWires()


@pytest.fixture
async def nodes(tmp_path: Path, wires: RecordedWires) -> AsyncIterator[Nodes]:
    """Two nodes in one region, two in another. Half of the points are pinned; each half is written where it belongs."""
    spread = {"strategy": "geographic", "region": "region", "pinned": ["eu"], "shards": 4, "replicas": 2}
    tables = {"points": spread_table(SIZE, **spread)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires, regions=REGIONS) as found:
        await found["a"]["points"].upsert(list(PINNED), ROWS[:COUNT], [payload(i) for i in PINNED])
        await found["c"]["points"].upsert(list(FREE), ROWS[COUNT:], [payload(i) for i in FREE])
        yield found


async def test_what_is_pinned_never_leaves(nodes: Nodes, wires: RecordedWires, tmp_path: Path) -> None:
    """All that can be asked of a collection, on both sides, and time for summaries and facts to go round."""
    assert traces(wires.between(EU, EU)) != [], "the recorder would see it"
    for node in nodes.values():
        await until_async(lambda node=node: node.federation.summaries.of("points"))
        await ask_everything(node)
    nothing_left(wires, tmp_path)


async def test_each_side_sees_what_is_its_own_to_see(nodes: Nodes) -> None:
    assert await nodes["a"]["points"].count() == 2 * COUNT
    assert await nodes["c"]["points"].count() == COUNT
    assert [record.id for record in await nodes["c"]["points"].retrieve([3, COUNT + 3])] == [COUNT + 3]
    for name, told in (("b", None), ("c", ["eu"])):
        with noting() as how:
            hits = await nodes[name]["points"].search(ROWS[3], limit=2 * COUNT, params=EXACT)
        assert how.told is not None
        assert how.told.get("withheld") == told
        assert how.told["missing"] == []
        assert len(hits) == (COUNT if told else 2 * COUNT)
    with pytest.raises(NotFoundError, match="`3`"):
        await nodes["c"]["points"].change_payload(PayloadChange("merge", ids=[3], payload={"seen": True}))


async def test_an_example_that_is_pinned_is_asked_for_in_its_region_alone(nodes: Nodes) -> None:
    query = SearchQuery(asks.Recommend([asks.Of(3)], [], "average_vector"), limit=2 * COUNT, params=EXACT)
    with noting() as how:
        (hits,) = await nodes["a"]["points"].search_batch([query])
    assert {hit.id for hit in hits} == set(PINNED) - {3}
    assert how.told is not None
    assert how.told["withheld"] == ["us"]
    free = msgspec.structs.replace(query, ask=asks.Recommend([asks.Of(COUNT + 3)], [], "average_vector"))
    (hits,) = await nodes["a"]["points"].search_batch([free])
    assert len(hits) == 2 * COUNT - 1


async def test_a_point_may_be_written_from_elsewhere_and_is_not_kept_on_the_way(
    nodes: Nodes, wires: RecordedWires, tmp_path: Path
) -> None:
    row = ROWS[0] + 1
    await nodes["c"]["points"].upsert([500], row[None], [{"region": "eu", "name": "sealed far"}])
    (found,) = await nodes["b"]["points"].retrieve([500])
    assert found.payload == {"region": "eu", "name": "sealed far"}
    assert await nodes["c"]["points"].retrieve([500]) == []
    nothing_left(wires, tmp_path)
    await nodes["a"]["points"].upsert([500], row[None], [{"region": "us", "name": "open now"}])
    assert [record.id for record in await nodes["c"]["points"].retrieve([500])] == [500]
    assert await nodes["a"]["points"].count() == 2 * COUNT + 1
    await nodes["c"]["points"].delete([500, 0])
    assert await nodes["a"]["points"].count() == 2 * COUNT - 1


async def test_who_asks_all_the_same_is_refused(nodes: Nodes, wires: RecordedWires) -> None:
    spread = nodes["a"].federation.map.spreads["points"]
    shard = min(pinned_to(spread))
    number = nodes["a"].federation.map.number
    search = SearchQuery(packed(ROWS[0], (SIZE,), "query"), limit=3)
    requests: list[tuple[str, frames.Request]] = [
        (READ, frames.Search(call=0, queries=[search])),
        (READ, frames.Count(call=0)),
        (READ, frames.Scroll(call=0)),
        (READ, frames.Retrieve(call=0, ids=[0])),
        (WRITE, frames.Delete(call=0, filter=Filter())),
        (WRITE, frames.Pack(call=0, target="/tmp/x")),
        (WRITE, frames.ChangePayload(call=0, change=PayloadChange("clear", ids=[0]))),
    ]
    for service, request in requests:
        ask = encode(Ask("points", number, "", 1.0, [Part([shard], request)]))
        with pytest.raises(ForbiddenError, match="pinned to a region"):
            await wires.ends["c"].request("a", service, ask, deadline_s=60.0)
    body = encode([Wanted("points", dict.fromkeys(spread.shards, 0))])
    told = await wires.ends["c"].request("a", SUMMARIES, body, deadline_s=60.0)
    vouched = decode_summaries(told, "a")["points"]
    assert pinned_to(spread).keys().isdisjoint(summary.shard for summary in vouched.summaries)
    assert pinned_to(spread).keys().isdisjoint(vouched.shards)


async def test_a_map_that_says_otherwise_is_not_followed(nodes: Nodes, wires: RecordedWires, tmp_path: Path) -> None:
    """As a writer with a mistake would: a pinned shard on the node elsewhere."""
    node = nodes["c"]
    spread = node.federation.map.spreads["points"]
    places = {shard: ["c", "a"] if shard in pinned_to(spread) else held for shard, held in spread.places.items()}
    wrong = msgspec.structs.replace(spread, places=places, epoch=spread.epoch + 1)
    assert set(allowed(wrong, REGIONS).held_by("c")) == set(spread.held_by("c"))
    for name in NAMES:
        federation = nodes[name].federation
        federation.keeper.take(encode_map(federation.map.with_spreads({"points": wrong})))  # as if it had been pulled
    await nodes["a"]["points"].upsert([1], ROWS[1:2], [payload(1)])
    await asyncio.gather(*(look["points"].count() for look in nodes.values()))
    assert {int(part.partition(".")[2]) for part in node.collections.parts()} & pinned_to(spread).keys() == set()
    nothing_left(wires, tmp_path)


async def test_what_is_pinned_stays_in_its_region_while_the_collection_changes(
    nodes: Nodes, wires: RecordedWires, tmp_path: Path
) -> None:
    """Other shards in the place of all: each point is handed over."""
    writer = nodes["a"].federation
    before = writer.map.spreads["points"]
    table = SpreadTable(strategy="geographic", region="region", pinned=["eu"], shards=6, replicas=1)
    fresh = laid_out("points", table, spread_table(SIZE).config(), REGIONS)
    writer.go_to("points", fitted_anew(before, fresh))
    await until_async(lambda: all(is_there(node, before.epoch) for node in nodes.values()))
    assert await nodes["b"]["points"].count() == 2 * COUNT
    assert await nodes["d"]["points"].count() == COUNT
    nothing_left(wires, tmp_path)


def is_there(node: SpreadNode, epoch: int) -> bool:
    spread = node.federation.map.spreads["points"]
    return spread.epoch > epoch and spread.change is None


async def test_replicas_that_were_apart_are_repaired_within_their_region(
    nodes: Nodes, wires: RecordedWires, tmp_path: Path
) -> None:
    wires.cut("a", "b")
    await nodes["a"]["points"].upsert([0, 1], ROWS[2:4], [payload(0), payload(1)])
    wires.heal()
    await until_async(lambda: not any(lag.entry_count for lag in nodes["a"].federation.replicas.lags()))
    nothing_left(wires, tmp_path)


async def test_a_node_of_no_region_sees_nothing_pinned(tmp_path: Path, wires: RecordedWires) -> None:
    spread = {"strategy": "geographic", "region": "region", "pinned": ["eu"], "shards": 2, "replicas": 1}
    tables = {"points": spread_table(SIZE, **spread)}
    async with spread_nodes(tmp_path, ["a", "z"], tables, wires=wires, regions={"a": "eu"}) as nodes:
        await nodes["a"]["points"].upsert([0], ROWS[:1], [payload(0)])
        with pytest.raises(ForbiddenError, match="pinned to regions eu"):
            await nodes["z"]["points"].search(ROWS[0])
