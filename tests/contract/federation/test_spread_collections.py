"""Collections that lie on several nodes: answers are those of one collection, and say what is missing from them."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, NotFoundError, NotOfferedError, UnavailableError
from littoral.node.federation.messages import READ
from littoral.node.federation.summaries import SUMMARIES, Wanted, decode_summaries, encode
from littoral.node.search_how import noting
from littoral.node.shown.collections import Asked, RecallBody, map_of, recall_of
from littoral.vectors import asks, frames
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchParams, SearchQuery
from littoral.vectors.records import PointBatch
from nodes_in_process import Wires
from spread_nodes import SpreadNode, are_alike, spread_nodes, spread_table
from waiting import until_async, until_true

SIZE = 4
COUNT = 60
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
DEADLINE_MS = 3000
PATIENT_S = 60

Nodes = dict[str, SpreadNode]


def rows(count: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def pairs(tmp_path: Path, wires: Wires) -> AsyncIterator[Nodes]:
    """Three nodes, three shards of one replica: each shard has one holder."""
    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes:
        await fill(nodes["a"]["points"])
        yield nodes


@pytest.fixture
async def doubled(tmp_path: Path, wires: Wires) -> AsyncIterator[Nodes]:
    """Three nodes, three shards of two replicas: any node may go."""
    tables = {"points": spread_table(SIZE, shards=3, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes:
        await fill(nodes["a"]["points"])
        await until_async(lambda: are_alike(nodes))
        yield nodes


async def fill(collection: Collection) -> None:
    payloads = [{"kind": "even" if i % 2 == 0 else "odd", "n": i} for i in range(COUNT)]
    await collection.upsert(range(COUNT), rows(COUNT), payloads)


async def test_what_lies_on_several_nodes_has_map_and_recall(pairs: Nodes) -> None:
    for node in pairs.values():
        points = (await map_of(node["points"], Asked(COUNT + 1, by="kind")))["points"]
        assert [point["id"] for point in points] == list(range(COUNT))
        assert [point["label"] for point in points[:2]] == ["even", "odd"]
        assert len({(point["x"], point["y"]) for point in points}) == COUNT
        found = await recall_of(node["points"], RecallBody(queries=5, k=4), SYSTEM)
        assert (found["queries"], found["recall"]) == (5, 1.0)
    assert len((await map_of(pairs["b"]["points"], Asked(7)))["points"]) == 7


def nearest(query: Any, ids: Any = None) -> list[int]:
    found = np.argsort(((rows(COUNT) - query) ** 2).sum(axis=1), kind="stable").tolist()
    return [i for i in found if ids is None or i in ids]


async def search(node: SpreadNode, query: Any, **options: Any) -> tuple[list[int], dict[str, Any]]:
    with noting() as how:
        hits = await node["points"].search(query, **({"params": EXACT} | options))
    assert how.told is not None
    return [hit.id for hit in hits], how.told


async def test_every_node_gives_the_answer_of_one_collection(pairs: Nodes) -> None:
    query = rows(1, seed=1)[0]
    for node in pairs.values():
        ids, how = await search(node, query, limit=12)
        assert ids == nearest(query)[:12]
        assert how == {"asked": 3, "answered": 3, "missing": [], "certified": True, "expected_recall": 1.0}


async def test_each_shard_has_its_part_and_no_more(doubled: Nodes) -> None:
    counts = {}
    for name, node in doubled.items():
        for part in node.collections.parts():
            counts.setdefault(part, {})[name] = await node.collections.part(part).count()  # type: ignore[union-attr]
    assert {part: len(held) for part, held in counts.items()} == {f"points.{i}": 2 for i in range(3)}
    assert all(len(set(held.values())) == 1 for held in counts.values())
    assert sum(next(iter(held.values())) for held in counts.values()) == COUNT
    assert await doubled["c"]["points"].count() == COUNT


async def test_filters_thresholds_and_offsets_hold(pairs: Nodes) -> None:
    query = rows(1, seed=2)[0]
    even = {i for i in range(COUNT) if i % 2 == 0}
    matching = {"must": [{"key": "kind", "match": {"value": "even"}}]}
    ids, _ = await search(pairs["b"], query, limit=5, offset=7, matching=matching)
    assert ids == nearest(query, even)[7:12]
    threshold = float(np.sort(np.sqrt(((rows(COUNT) - query) ** 2).sum(axis=1)))[10])
    ids, _ = await search(pairs["b"], query, limit=50, score_threshold=threshold)
    assert ids == nearest(query)[:10]


async def test_hits_as_json_are_those_of_a_collection_that_is_not_spread(pairs: Nodes) -> None:
    query = SearchQuery(packed(rows(1)[0], (SIZE,), "query"), limit=3, with_payload=True, params=EXACT)
    (told,) = await pairs["c"]["points"].search_told([query])
    (hits,) = await pairs["c"]["points"].search_batch([query])
    found = json.loads(told)
    assert [hit["id"] for hit in found] == [hit.id for hit in hits]
    assert list(found[0]) == ["id", "version", "score", "payload"]


async def test_a_point_is_found_by_its_id_and_searched_by_it(pairs: Nodes) -> None:
    collection = pairs["b"]["points"]
    records = await collection.retrieve([5, 999, 3, 5], with_vector=True)
    assert [record.id for record in records] == [5, 3]
    assert records[0].vector == rows(COUNT)[5].tobytes()
    query = SearchQuery(asks.Recommend([asks.Of(5)], [], "average_vector"), limit=4, params=EXACT)
    (hits,) = await collection.search_batch([query])
    assert [hit.id for hit in hits] == nearest(rows(COUNT)[5])[1:5]
    with pytest.raises(NotFoundError, match="`999`"):
        await collection.search_batch([SearchQuery(asks.Nearest(asks.Of(999)))])


async def test_pages_go_over_all_points_once(pairs: Nodes) -> None:
    seen: list[Any] = []
    offset: Any = None
    while True:
        records, offset = await pairs["c"]["points"].scroll(limit=7, offset=offset)
        seen += [record.id for record in records]
        if offset is None:
            break
    assert seen == list(range(COUNT))


async def test_groups_and_facets_count_all_shards(pairs: Nodes) -> None:
    collection = pairs["a"]["points"]
    query = rows(1, seed=3)[0]
    await collection.create_index("kind", "keyword")
    assert {one.value: one.count for one in await collection.facet("kind", exact=True)} == {"even": 30, "odd": 30}
    asked = SearchQuery(packed(query, (SIZE,), "query"), limit=2, params=EXACT)
    groups = await collection.group(asked, "kind", size=5)
    for group in groups:
        wanted = [i for i in nearest(query) if ("even" if i % 2 == 0 else "odd") == group.id]
        assert [hit.id for hit in group.hits] == wanted[:5]


async def test_deletions_and_payload_changes_reach_the_points(doubled: Nodes) -> None:
    collection = doubled["b"]["points"]
    await collection.delete([0, 1, 2])
    await collection.delete_matching({"must": [{"key": "kind", "match": {"value": "odd"}}]})
    assert await collection.count() == COUNT // 2 - 2
    await collection.change_payload(PayloadChange("merge", ids=[4, 6], payload={"seen": True}))
    records = await doubled["c"]["points"].retrieve([4, 6, 8])
    assert [bool((record.payload or {}).get("seen")) for record in records] == [True, True, False]
    with pytest.raises(NotFoundError, match="`1`"):
        await collection.change_payload(PayloadChange("merge", ids=[4, 1], payload={"seen": False}))


async def test_a_wrong_point_among_good_ones_writes_nothing(pairs: Nodes) -> None:
    vectors = rows(3)
    vectors[2, 0] = np.nan
    with pytest.raises(InputError, match="point `102`"):
        await pairs["a"]["points"].upsert([100, 101, 102], vectors)
    assert await pairs["a"]["points"].count() == COUNT


async def test_what_cannot_be_merged_is_refused_by_name(pairs: Nodes) -> None:
    collection = pairs["a"]["points"]
    with pytest.raises(NotOfferedError, match="snapshots"):
        await collection.pack("x")


async def test_a_dead_node_is_missing_and_never_no_hits(pairs: Nodes, wires: Wires) -> None:
    query = rows(1, seed=4)[0]
    wires.kill("c")
    ids, how = await search(pairs["a"], query, limit=10)
    assert (how["asked"], how["answered"], how["missing"]) == (3, 2, ["c"])
    assert (how["certified"], how["expected_recall"]) == (False, None)
    left = await there(pairs, {"a", "b"})
    assert ids == nearest(query, left)[:10]


async def there(nodes: Nodes, names: set[str]) -> set[int]:
    """Points on these nodes."""
    found: set[int] = set()
    for name in names:
        for part in nodes[name].collections.parts():
            collection = nodes[name].collections.part(part)
            assert collection is not None
            found |= {int(record.id) for record in (await collection.scroll(limit=COUNT))[0]}
    return found


async def test_what_cannot_say_that_it_is_short_is_refused_meanwhile(pairs: Nodes, wires: Wires) -> None:
    on_c = await there(pairs, {"c"})
    wires.kill("c")
    collection = pairs["a"]["points"]
    for asking in (collection.count(), collection.scroll()):
        with pytest.raises(UnavailableError, match="nodes `c` hold"):
            await asking
    point = next(iter(on_c))
    with pytest.raises(UnavailableError, match="nodes `c` hold"):
        await collection.retrieve([point])
    with pytest.raises(UnavailableError, match="held by `c`"):
        await collection.delete([point])
    here = next(iter(await there(pairs, {"a"})))
    assert [record.id for record in await collection.retrieve([here])] == [here]
    assert (await collection.info()).points_count == COUNT - len(on_c)


@pytest.mark.parametrize("gone", ["dead", "frozen"])
async def test_another_replica_answers_for_a_node_that_does_not(doubled: Nodes, wires: Wires, gone: str) -> None:
    query = rows(1, seed=5)[0]
    if gone == "dead":
        wires.kill("b")
    else:
        wires.frozen.add("b")
    ids, how = await asyncio.wait_for(search(doubled["a"], query, limit=20), PATIENT_S)
    assert ids == nearest(query)[:20]
    assert how["missing"] == []
    assert how["expected_recall"] in (1.0, None)  # until its lease is over the other replica has everything
    assert await doubled["a"]["points"].count() == COUNT


async def test_a_frozen_node_costs_one_deadline_and_is_missing(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1)}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires, deadline_ms=DEADLINE_MS) as nodes:
        await fill(nodes["a"]["points"])
        wires.frozen.add("b")
        began = asyncio.get_running_loop().time()
        _, how = await search(nodes["a"], rows(1)[0])
        assert how["missing"] == ["b"]
        assert how["answered"] == 1
        assert asyncio.get_running_loop().time() - began < 10 * DEADLINE_MS / 1000


async def test_one_deadline_is_for_all_who_are_asked_after_each_other(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=3, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires, deadline_ms=DEADLINE_MS) as nodes:
        await fill(nodes["a"]["points"])
        wires.frozen |= {"b", "c"}
        wires.waits_s.clear()
        _, how = await search(nodes["a"], rows(1)[0], limit=COUNT)
    assert how["missing"] == ["b", "c"]
    _, *later_s = wires.waits_s[READ]
    assert later_s
    assert max(later_s) < DEADLINE_MS / 1000


async def test_a_slow_node_is_not_waited_for_where_another_has_the_shard(doubled: Nodes, wires: Wires) -> None:
    query = rows(1, seed=6)[0]
    wires.slow_s["b"] = 10.0 * PATIENT_S
    ids, how = await asyncio.wait_for(search(doubled["a"], query, limit=20), PATIENT_S)
    assert ids == nearest(query)[:20]
    assert how["missing"] == []


async def test_both_sides_of_a_cut_go_on_and_write(doubled: Nodes, wires: Wires) -> None:
    wires.cut("a", "c")
    wires.cut("b", "c")
    ids, how = await search(doubled["a"], rows(1)[0], limit=COUNT)
    assert (len(ids), how["missing"]) == (COUNT, [])
    _, how = await search(doubled["c"], rows(1)[0])
    assert how["missing"] == ["a", "b"]
    for shard, holders in doubled["c"].federation.map.spreads["points"].places.items():
        if "c" in holders:
            part = doubled["c"].collections.part(f"points.{shard}")
            assert part is not None
            known = [record.id for record in (await part.scroll(limit=1))[0]]
            await doubled["c"]["points"].upsert(known, rows(1, seed=99))
            (found,) = await part.retrieve(known, with_vector=True)
            assert found.vector == rows(1, seed=99).tobytes()


async def test_a_node_that_was_away_gets_what_was_written_meanwhile(doubled: Nodes, wires: Wires) -> None:
    wires.cut("a", "c")
    wires.cut("b", "c")
    await doubled["a"]["points"].upsert(range(COUNT), rows(COUNT, seed=8))
    await doubled["b"]["points"].delete([0])
    wires.heal()
    for shard in doubled["c"].federation.map.spreads["points"].held_by("c"):
        parts = [node.collections.part(f"points.{shard}") for node in doubled.values()]
        replicas = [part for part in parts if part is not None]
        assert len(replicas) == 2

        async def alike(replicas: list[Collection] = replicas) -> bool:
            told = [await replica.scroll(limit=COUNT, with_vector=True) for replica in replicas]
            return told[0] == told[1] and all(record.id != 0 for record in told[0][0])

        await until_true(alike)
    assert await doubled["c"]["points"].count() == COUNT - 1


async def test_a_write_needs_as_many_holders_as_it_is_told(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=2, holders=2)}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert([1, 2, 3], rows(3))
        wires.kill("b")
        with pytest.raises(UnavailableError, match="at least 2 must"):
            await nodes["a"]["points"].upsert([1, 2, 3], rows(3))
        assert len(await nodes["a"]["points"].search(rows(1)[0])) == 3


async def test_by_vectors_few_nodes_are_asked_and_points_that_move_are_there_once(tmp_path: Path, wires: Wires) -> None:
    """Three clusters far apart, a shard each: the certificate rules the other two out."""
    middles = np.repeat(np.eye(3, SIZE) * 100, COUNT // 3, axis=0)
    vectors = (middles + rows(COUNT)).astype("<f4")
    np.save(tmp_path / "sample.npy", vectors)
    tables = {"points": spread_table(SIZE, shards=3, replicas=1, strategy="metric", sample="sample.npy", copies=1.0)}
    samples = {"points": tmp_path / "sample.npy"}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires, samples=samples) as nodes:
        collection = nodes["b"]["points"]
        await collection.upsert(range(COUNT), vectors)
        counts = [await there(nodes, {name}) for name in NAMES]
        assert sorted(map(len, counts)) == [COUNT // 3] * 3
        home = next(name for name, points in zip(NAMES, counts, strict=True) if 0 in points)
        await until_true(partial(nobody_else_is_asked, nodes[home], vectors))
        await collection.upsert([0], vectors[COUNT - 1 :])
        assert await collection.count() == COUNT
        (found,) = await nodes["c"]["points"].retrieve([0], with_vector=True)
        assert found.vector == vectors[COUNT - 1].tobytes()
        await collection.update_vectors([0], [vectors[0].tobytes()])
        (found,) = await nodes["a"]["points"].retrieve([0], with_vector=True)
        assert found.vector == vectors[0].tobytes()
        assert [0 in points for points in [await there(nodes, {name}) for name in NAMES]] == [
            name == home for name in NAMES
        ]


async def nobody_else_is_asked(node: SpreadNode, vectors: Any) -> bool:
    """For a query beside the first point, whose answer is sure."""
    _, how = await search(node, vectors[0], limit=5)
    assert how["missing"] == []
    return bool(how["certified"] and how["asked"] == 1)


async def test_two_models_never_mix(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1, model="lite 1")}
    others = {"points": spread_table(SIZE, shards=2, replicas=1, model="lite 2")}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires, own_tables={"b": others}) as nodes:
        for asking in (nodes["b"]["points"].search(rows(1)[0]), nodes["b"]["points"].upsert([1], rows(1))):
            with pytest.raises(ConflictError, match="of model `lite 1`, this node's are of `lite 2`"):
                await asking
        with pytest.raises(ConflictError, match="two models never mix"):
            await nodes["a"]["points"].search(rows(1)[0])


async def test_a_stranger_and_a_write_among_reads_are_refused(pairs: Nodes, wires: Wires) -> None:
    from littoral.errors import ForbiddenError
    from littoral.node.federation.messages import READ, Ask, Part, encode

    stranger = wires.end("z")
    ask = Ask("points", 1, "", 1.0, [Part([0], frames.Count(call=0))])
    with pytest.raises(ForbiddenError, match="`z` is no member"):
        await stranger.request("a", READ, encode(ask), deadline_s=PATIENT_S)
    write = Ask("points", 1, "", 1.0, [Part([0], frames.Delete(call=0, ids=[1]))])
    with pytest.raises(InputError, match="a read is no write"):
        await wires.ends["b"].request("a", READ, encode(write), deadline_s=PATIENT_S)
    with pytest.raises(InputError, match="request of `b`"):
        await wires.ends["b"].request("a", READ, b"\xc1junk", deadline_s=PATIENT_S)


async def test_names_of_shards_are_no_names_of_collections(pairs: Nodes) -> None:
    node = pairs["a"]
    part = node.collections.parts()[0]
    assert node.collections.names() == ["points"]
    assert part not in node.collections
    for use in (node.collections.get,):
        with pytest.raises(InputError, match="collection name"):
            use(part)
    with pytest.raises(InputError, match="collection name"):
        await node.collections.delete(part)
    with pytest.raises(NotOfferedError, match="spread over nodes"):
        await node.collections.delete("points")


async def test_the_shards_and_their_map_are_there_after_a_restart(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1)}
    async with spread_nodes(tmp_path, ["a", "b"], tables) as nodes:
        await fill(nodes["a"]["points"])
        number = nodes["b"].federation.map.number
    async with spread_nodes(tmp_path, ["a", "b"], tables) as nodes:
        assert nodes["b"].federation.map.number == number
        assert await nodes["b"]["points"].count() == COUNT


async def test_a_batch_may_be_of_points_with_payloads_and_modes(pairs: Nodes) -> None:
    batch = PointBatch([1, 200], rows(2, seed=50).tobytes(), [{"n": -1}, {"n": 200}])
    await pairs["a"]["points"].upsert_points(batch, mode="insert_only")
    found = await pairs["b"]["points"].retrieve([1, 200])
    assert [(record.payload or {})["n"] for record in found] == [1, 200]
    assert await pairs["b"]["points"].count(parse_filter({"must": [{"key": "n", "range": {"gte": 200}}]})) == 1


async def test_a_summary_is_told_only_to_who_goes_by_the_same_model(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=1, replicas=1, model="lite 1")}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert([1], rows(1))
        holder = nodes["a"].federation.map.spreads["points"].places[0][0]
        asker = wires.ends["b" if holder == "a" else "a"]

        async def told(model: str) -> int:
            wanted = encode([Wanted("points", {0: 0}, model)])
            body = await asker.request(holder, SUMMARIES, wanted, deadline_s=PATIENT_S)
            return sum(len(vouched.summaries) for vouched in decode_summaries(body, holder).values())

        def has_summary() -> bool:
            return bool(nodes[holder].federation.summaries.vouched(Wanted("points", {0: 0}), lambda _: 0.0).summaries)

        await until_async(has_summary)
        assert (await told("lite 1"), await told("lite 2")) == (1, 0)
