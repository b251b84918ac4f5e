"""The vector that cells are of, written alone: the point goes where it belongs, nothing that others write is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from littoral.errors import NotFoundError, TooLargeError, UnavailableError
from littoral.node.federation import homing, straying
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.homing import Homing
from littoral.node.federation.moving.wishes import Asked, Dissolve, Divide
from littoral.node.federation.placing import placing_of
from littoral.node.federation.straying import Straying
from littoral.node.site_tables import VectorTable
from littoral.vectors import asks, frames
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchParams, SearchQuery
from littoral.vectors.records import PointBatch, PointId
from littoral.vectors.replication.entries import id_of
from littoral.vectors.replication.stamps import APART, At
from spread_nodes import SpreadNode, are_alike, has_arrived, named_table, spread_nodes
from waiting import until_async, until_true

COUNT = 60
SIZE = 4
NAMES = ("a", "b", "c")
VECTORS = {"cell": VectorTable(size=SIZE, distance="Euclid"), "other": VectorTable(size=2, distance="Dot")}
SPREADS: Mapping[str, Mapping[str, Any]] = {
    "metric": {"strategy": "metric", "copies": 1.5, "shards": 4, "replicas": 1},
    "replicated": {"strategy": "metric", "copies": 1.5, "shards": 3, "replicas": 2, "holders": 2},
    "hybrid": {"strategy": "hybrid", "shards": 4, "replicas": 1},
}
EXACT = SearchParams(exact=True)
ROWS = np.random.default_rng(4).standard_normal((COUNT, SIZE)).astype("<f4")

Nodes = dict[str, SpreadNode]


def row(seed: int) -> Any:
    return (3 * np.random.default_rng([9, seed]).standard_normal(SIZE)).astype("<f4")


def cell(vector: Any) -> dict[str, Any]:
    return {"cell": vector.tobytes()}


def whole(point: int, vector: Any = None, **payload: Any) -> PointBatch:
    own = ROWS[point] if vector is None else vector
    return PointBatch([point], [cell(own) | {"other": np.float32([point, 1]).tobytes()}], [{"n": point} | payload])


@pytest.fixture(params=SPREADS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    np.save(tmp_path / "sample.npy", ROWS)
    tables = {"points": named_table(VECTORS, sample="sample.npy", **SPREADS[request.param])}
    async with spread_nodes(tmp_path, NAMES, tables, samples={"points": tmp_path / "sample.npy"}) as found:
        payloads: list[Any] = [{"n": point} for point in range(COUNT)]
        vectors = [whole(point).vectors[0] for point in range(COUNT)]
        await found["a"]["points"].upsert_points(PointBatch(list(range(COUNT)), vectors, payloads))
        yield found


async def lies_once(nodes: Nodes, points: Sequence[int]) -> None:
    """Each of these is at home in one shard, which its vector says, and copies of it lie only where it says too."""
    node = nodes["a"]

    async def does() -> bool:
        target = node.federation.target("points")
        found = await node.federation.homing.lying(target, points, 10.0)
        return all(
            not one.is_busy and homing.is_settled(one, homing.places_of(target, one.homes[0], one.states[one.homes[0]]))
            if one.homes
            else not one.states
            for one in found.values()
        )

    await until_true(does)
    await until_async(lambda: are_alike(nodes))


async def nearest(node: SpreadNode, vector: Any) -> int:
    query = SearchQuery(asks.Nearest(packed(vector, (SIZE,), "query")), using="cell", limit=1, params=EXACT)
    ((hit,),) = await node["points"].search_batch([query])
    assert isinstance(hit.id, int)
    return hit.id


async def test_points_go_where_their_vector_says(nodes: Nodes) -> None:
    later = {point: row(point) for point in range(0, COUNT, 2)}
    await nodes["b"]["points"].update_vectors(list(later), [cell(vector) for vector in later.values()])
    await lies_once(nodes, range(COUNT))
    for point, vector in later.items():
        assert await nearest(nodes["c"], vector) == point
    records = await nodes["c"]["points"].retrieve(list(range(COUNT)), with_vector=True)
    for record in records:
        assert isinstance(record.id, int)
        assert isinstance(record.vector, dict)
        assert record.vector["cell"] == later.get(record.id, ROWS[record.id]).tobytes()
        assert record.vector["other"] == np.float32([record.id, 1]).tobytes()
        assert record.payload == {"n": record.id}
    assert await nodes["a"]["points"].count() == COUNT
    assert sum(node.federation.homing.moved_count for node in nodes.values()) > 0


async def test_without_the_vector_a_point_lies_by_its_id(nodes: Nodes) -> None:
    collection = nodes["b"]["points"]
    await collection.delete_vectors(["cell"], ids=list(range(0, COUNT, 3)))
    await collection.delete_vectors(["cell"], matching=parse_filter({"must": [{"key": "n", "range": {"lt": 20}}]}))
    await lies_once(nodes, range(COUNT))
    records = await nodes["a"]["points"].retrieve(list(range(COUNT)), with_vector=["cell"])
    left = {record.id for record in records if record.vector}
    assert left == {point for point in range(20, COUNT) if point % 3}
    await collection.update_vectors([3], [cell(row(3))])
    await lies_once(nodes, [3])
    assert await nearest(nodes["a"], row(3)) == 3
    assert await nodes["c"]["points"].count() == COUNT


Step = Callable[[SpreadNode], Awaitable[object]]


def steps(point: int) -> dict[str, Step]:
    """What others may do to a point meanwhile."""
    has_id = parse_filter({"must": [{"has_id": [point]}]})
    other = [{"other": np.float32([7, 7]).tobytes()}]
    return {
        "payload": lambda node: node["points"].change_payload(
            PayloadChange("merge", ids=[point], payload={"seen": True})
        ),
        "payload by a filter": lambda node: node["points"].change_payload(
            PayloadChange("merge", filter=has_id, payload={"seen": True})
        ),
        "whole payload": lambda node: node["points"].change_payload(
            PayloadChange("replace", ids=[point], payload={"seen": True})
        ),
        "another vector": lambda node: node["points"].update_vectors([point], other),
        "another vector gone": lambda node: node["points"].delete_vectors(["other"], ids=[point]),
        "upsert": lambda node: node["points"].upsert_points(whole(point, row(800), seen=True)),
        "deletion": lambda node: node["points"].delete([point]),
        "deletion by a filter": lambda node: node["points"].delete_matching(has_id),
        "the same vector": lambda node: node["points"].update_vectors([point], [cell(row(900))]),
    }


WHATS = list(steps(0))


@pytest.mark.parametrize("what", WHATS)
async def test_what_others_write_between_any_two_steps_is_kept(
    nodes: Nodes, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each message of a move, one after the other, somebody writes the point through another node."""
    for turn in range(7):
        await wrote_between(nodes, what, turn, monkeypatch)


async def wrote_between(nodes: Nodes, what: str, turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    point, came = turn, row(turn + 100)
    left, is_within = turn, False
    write, look = Asking.write, Homing.lying

    async def at_its_turn() -> None:
        nonlocal left, is_within
        if is_within:
            return
        if left == 0:
            is_within = True
            await steps(point)[what](nodes["c"])
            is_within = False
        left -= 1

    async def slow_write(self: Asking, *args: Any, **more: Any) -> frames.Written:
        if self is nodes["b"].federation.asking:
            await at_its_turn()
        return await write(self, *args, **more)

    async def slow_look(self: Homing, *args: Any, **more: Any) -> Any:
        if self is nodes["b"].federation.homing:
            await at_its_turn()
        return await look(self, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Asking, "write", slow_write)
        patched.setattr(Homing, "lying", slow_look)
        try:
            await nodes["b"]["points"].update_vectors([point], [cell(came)])
        except NotFoundError:
            assert what.startswith("deletion")
    was_between = left < 0
    await lies_once(nodes, [point])
    found = await nodes["a"]["points"].retrieve([point], with_vector=True)
    if what.startswith("deletion") and was_between:
        assert not found
        return
    (record,) = found
    assert isinstance(record.vector, dict)
    payload, own, other = record.payload or {}, record.vector["cell"], record.vector.get("other")
    may = {came.tobytes()} | {"upsert": {row(800).tobytes()}, "the same vector": {row(900).tobytes()}}.get(what, set())
    assert own in may
    if was_between and ("payload" in what or what == "upsert"):
        assert payload.get("seen") is True
        assert ("n" not in payload) == (what == "whole payload")
    if was_between and "another" in what:
        assert other == (np.float32([7, 7]).tobytes() if what == "another vector" else None)
    assert await nodes["b"]["points"].count(parse_filter({"must": [{"has_id": [point]}]})) == 1


class Crowd:
    """Who write the same points at once, each through a node. gone: points that are being deleted."""

    def __init__(self, nodes: Nodes, seed: int) -> None:
        self.nodes, self.rng = nodes, Random(seed)
        self.points, self.gone = list(range(8)), set[int]()

    def anybody(self) -> Collection:
        return self.nodes[self.rng.choice(NAMES)]["points"]

    async def wrote(self, point: int, write: Callable[[], Awaitable[object]]) -> None:
        for _ in range(20):
            try:
                await write()
                return
            except UnavailableError:
                continue
            except NotFoundError:
                assert point in self.gone
                return
        raise AssertionError(f"point {point}: never taken")

    async def adds(self, key: str) -> None:
        """A key of its own, to each."""
        collection = self.anybody()
        for point in self.rng.sample(self.points, len(self.points)):
            change = PayloadChange("merge", ids=[point], payload={key: point})
            await self.wrote(point, partial(collection.change_payload, change))

    async def moves(self, number: int) -> None:
        collection = self.anybody()
        for turn in range(6):
            point, vectors = self.rng.choice(self.points), [cell(row(1000 * number + turn))]
            await self.wrote(point, partial(collection.update_vectors, [point], vectors))

    async def takes(self, points: Sequence[int]) -> None:
        self.gone.update(points)
        for point in points:
            await self.wrote(point, partial(self.anybody().delete, [point]))


@pytest.mark.parametrize("seed", range(4))
async def test_many_who_write_the_same_points_lose_nothing(nodes: Nodes, seed: int) -> None:
    crowd, keys = Crowd(nodes, seed), [f"k{number}" for number in range(6)]
    adding, moving = [crowd.adds(key) for key in keys], [crowd.moves(number) for number in range(4)]
    await asyncio.gather(*adding, *moving, crowd.takes(crowd.points[-2:]))
    await lies_once(nodes, crowd.points)
    records = {one.id: one for one in await nodes["a"]["points"].retrieve(crowd.points)}
    is_replicated = len(nodes["a"].federation.map.spreads["points"].places[0]) > 1
    assert set(records) - (crowd.gone if is_replicated else set()) == set(crowd.points) - crowd.gone
    if not is_replicated:  # of two writes to two replicas that know nothing of each other the later wins
        for point, record in records.items():
            assert {key: (record.payload or {}).get(key) for key in keys} == dict.fromkeys(keys, point)
    assert await nodes["b"]["points"].count() == COUNT - len(set(crowd.points) - set(records))


@pytest.mark.parametrize("ends_after", [1, 2, 3, 4])
async def test_what_was_begun_is_ended_by_the_node_that_has_the_point(
    nodes: Nodes, ends_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who moves a point is gone after so many of its writes."""
    monkeypatch.setattr(straying, "REST_S", 0.2)
    point, came, write, done = 5, row(55), Asking.write, 0

    async def then_ends(self: Asking, *args: Any, **more: Any) -> frames.Written:
        nonlocal done
        if self is nodes["b"].federation.asking:
            if done == ends_after:
                raise UnavailableError("it is gone")
            done += 1
        return await write(self, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Asking, "write", then_ends)
        patched.setattr(Straying, "_look", _nothing)
        try:
            await nodes["b"]["points"].update_vectors([point], [cell(came)])
        except UnavailableError:
            assert done == ends_after
    await lies_once(nodes, [point])
    assert await nearest(nodes["a"], came) == point
    assert await nodes["a"]["points"].count() == COUNT
    for node in nodes.values():
        replicas = node.federation.replicas
        await until_async(lambda replicas=replicas: not any(replicas.strays(n).is_any for n in replicas.names()))


async def _nothing(*_: object) -> None:
    return


async def test_a_point_that_nobody_can_bring_home_holds_up_nothing_else_of_a_node(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(straying, "REST_S", 0.0)
    looking: set[str] = set()

    async def hangs(self: Homing, *_: object) -> None:
        looking.add(self._asking.here)
        await asyncio.Event().wait()

    monkeypatch.setattr(Homing, "home", hangs)
    asking, target = nodes["a"].federation.asking, nodes["a"].federation.target("points")
    lying = (await nodes["a"].federation.homing.lying(target, [6], 10.0))[6]
    time = asking.new_times(lying.latest + APART, 1)[0]
    parts = {lying.homes[0]: [frames.Upsert(call=0, points=whole(6, row(66), n="newer"))]}
    await asking.write(target, parts, 10.0, at=At(time, may_stray=True))
    await until_async(lambda: bool(looking))
    for name in looking:
        facts = nodes[min(set(NAMES) - {name})].federation.facts
        before = facts.all()[name].fact.counter
        await until_async(lambda name=name, facts=facts, before=before: facts.all()[name].fact.counter > before + 2)


@pytest.mark.parametrize("is_written_again", [False, True])
async def test_of_a_point_in_two_shards_the_newer_counts(
    nodes: Nodes, is_written_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two wrote it whole while replicas were cut off from each other: nobody took it from the first shard."""
    monkeypatch.setattr(straying, "REST_S", 0.2)
    asking, target = nodes["a"].federation.asking, nodes["a"].federation.target("points")
    lying = (await nodes["a"].federation.homing.lying(target, [6], 10.0))[6]
    placing = placing_of(target.spread, target.config)
    vectors = [row(seed) for seed in range(600, 700)]
    places = [placing.of_points(whole(6, vector))[0] for vector in vectors]
    came, home = next(
        (vector, one[0]) for vector, one in zip(vectors, places, strict=True) if one[0] not in lying.states
    )
    newer = whole(6, came, n="newer")
    time = asking.new_times(max(map(abs, lying.times.values())) + APART, 1)[0]
    parts = {home: [frames.Upsert(call=0, points=newer)]}
    await asking.write(target, parts, 10.0, at=At(time, may_stray=True))
    if is_written_again:
        came = row(67)
        await nodes["b"]["points"].change_payload(PayloadChange("merge", ids=[6], payload={"seen": True}))
        await nodes["b"]["points"].update_vectors([6], [cell(came)])
    await lies_once(nodes, [6])
    assert await nearest(nodes["c"], came) == 6
    (record,) = await nodes["b"]["points"].retrieve([6])
    assert record.payload == {"n": "newer"} | ({"seen": True} if is_written_again else {})
    assert await nodes["a"]["points"].count() == COUNT


@pytest.mark.parametrize("payload", [None, {}])
async def test_copies_of_a_point_without_payload_are_as_it_is(nodes: Nodes, payload: dict[str, Any] | None) -> None:
    """What lies as it should is not written again whenever somebody looks."""
    points = list(range(COUNT))
    bare = [whole(point).vectors[0] for point in points]
    await nodes["b"]["points"].upsert_points(PointBatch(points, bare, [payload] * COUNT))
    await nodes["b"]["points"].update_vectors(points[:20], [cell(row(point)) for point in points[:20]])
    node = nodes["a"].federation
    await node.homing.home(node.target("points"), points, 10.0)
    before = await node.homing.lying(node.target("points"), points, 10.0)
    has_copies = placing_of(node.target("points").spread, node.target("points").config).has_copies
    assert any(len(one.states) > 1 for one in before.values()) == has_copies
    await node.homing.home(node.target("points"), points, 10.0)
    after = await node.homing.lying(node.target("points"), points, 10.0)
    assert {point: one.times for point, one in after.items()} == {point: one.times for point, one in before.items()}


async def test_a_point_that_cannot_go_home_keeps_no_other_from_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that was noted is refused for ever; those noted later are in its round, and in later ones."""
    monkeypatch.setattr(straying, "REST_S", 0.1)
    monkeypatch.setattr(straying, "PAUSE_S", 0.1)
    monkeypatch.setattr(straying, "ROUND_S", 0.5)
    monkeypatch.setattr(straying, "LOOK_COUNT", 2)
    refused, settle = 6, Homing._settled

    async def refuses(self: Homing, target: Target, point: PointId, *more: Any) -> bool:
        if point == refused:
            await asyncio.sleep(straying.ROUND_S)
            raise TooLargeError("it fits no message")
        return await settle(self, target, point, *more)

    monkeypatch.setattr(Homing, "_settled", refuses)
    asking, target = nodes["a"].federation.asking, nodes["a"].federation.target("points")
    points = [refused, *(point for point in range(COUNT) if point != refused)][:30]
    for point in points:
        lying = (await nodes["a"].federation.homing.lying(target, [point], 10.0))[point]
        time = asking.new_times(lying.latest + APART, 1)[0]
        parts = {lying.homes[0]: [frames.Upsert(call=0, points=whole(point, row(point)))]}
        await asking.write(target, parts, 10.0, at=At(time, may_stray=True))
    every = [(node.federation.replicas, name) for node in nodes.values() for name in node.federation.replicas.names()]

    async def is_alone() -> bool:
        left = {id_of(key) for replicas, name in every for key, _ in await replicas.strays(name).some(COUNT)}
        return left == {refused}

    await until_true(is_alone)
    await lies_once(nodes, points[1:])


async def test_what_is_refused_of_one_point_leaves_nothing_running_for_others(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, is_done = set[PointId](), asyncio.Event()

    async def refuses(_self: Homing, _target: Target, point: PointId, *_: Any) -> bool:
        if point == 0:
            asyncio.get_running_loop().call_later(0.05, is_done.set)
            raise TooLargeError("it fits no message")
        under_way.add(point)
        await is_done.wait()
        under_way.remove(point)
        return True

    federation = nodes["a"].federation
    monkeypatch.setattr(Homing, "_settled", refuses)
    with pytest.raises(TooLargeError):
        await federation.homing.home(federation.target("points"), list(range(4)), 10.0)
    assert not under_way


async def test_layouts_change_while_vectors_of_cells_are_written(tmp_path: Path) -> None:
    np.save(tmp_path / "sample.npy", ROWS)
    tables = {"points": named_table(VECTORS, sample="sample.npy", **SPREADS["metric"])}
    async with spread_nodes(tmp_path, NAMES, tables, samples={"points": tmp_path / "sample.npy"}) as nodes:
        for point in range(COUNT):
            await nodes["a"]["points"].upsert_points(whole(point))
        for turn, wish in enumerate((Divide, Dissolve)):
            shards = nodes["a"].federation.map.spreads["points"].shards
            plan = await nodes["b"].federation.changes.ask(Asked(wish("points", shards[turn]), is_applied=True))
            assert plan.is_begun
            later = {point: row(5000 + 100 * turn + point) for point in range(COUNT)}
            for point, vector in later.items():
                await nodes[NAMES[point % 3]]["points"].update_vectors([point], [cell(vector)])
            await until_async(lambda plan=plan: has_arrived(nodes, plan))
            await lies_once(nodes, range(COUNT))
            for node in nodes.values():
                assert await node["points"].count() == COUNT
            for point in range(0, COUNT, 7):
                assert await nearest(nodes["c"], later[point]) == point
