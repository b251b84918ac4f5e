"""Layouts to go to, the steps on the way, and who is told of which point: without nodes."""

from typing import Any

import msgspec
import numpy as np
import pytest

from littoral.errors import ConflictError, NotFoundError, NotOfferedError
from littoral.mesh.shard_map import Layout, ShardMap, Spread, decode_map, encode_map
from littoral.node.federation.copies import as_copy
from littoral.node.federation.loads import Load
from littoral.node.federation.moving import planning
from littoral.node.federation.moving.advice import Use, advised, by_cells, confirmed
from littoral.node.federation.moving.routes import routes, still_wanted
from littoral.node.federation.moving.steps import Progress, begun, coming, going, next_step, waits_for, withdrawn
from littoral.node.federation.placing import placing_of
from littoral.vectors.partition.strategy import Geographic, Hash, encode_strategy, fit_metric
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.replication.entries import Change, State, key_of

SIZE = 4
NODES = {"a": "", "b": "", "c": ""}
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
BY_ID = Spread("hash", {0: ["a"], 1: ["b"], 2: ["c"], 3: ["a"]})
POINT_BYTES = 16


def rows(count: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


def by_vector(shards: int = 4) -> Spread:
    strategy = fit_metric(rows(400), distance="Euclid", shards=range(shards), seed=0, replication=1.3)
    places = {shard: ["abc"[shard % 3]] for shard in range(shards)}
    return Spread("metric", places, parameters=encode_strategy(strategy))


def homes(spread: Spread, vectors: Any) -> list[int]:
    batch = PointBatch(list(range(len(vectors))), vectors.tobytes())
    return [shards[0] for shards in placing_of(spread, CONFIG).of_points(batch)]


def told(number: int, **owed: dict[int, int]) -> dict[str, Progress]:
    return {node: Progress(number, owed.get(node, {})) for node in NODES}


def test_each_step_waits_for_all_who_are_here_and_nobody_else() -> None:
    layout = planning.moved(BY_ID, 1, "b", "c", NODES)
    spread = begun(BY_ID, layout, number=5)
    assert (going(spread), coming(spread)) == ([1], [4])
    assert next_step(spread, told(4), number=6) is None
    behind = told(5) | {"a": Progress(4, {})}
    assert waits_for(spread, behind) == ["node `a` to go by shard map 5"]
    assert next_step(spread, {node: behind[node] for node in ("b", "c")}, number=6) is not None
    spread = step(spread, told(5), 6)
    assert spread.change is not None
    assert spread.change.step == "copying"
    assert waits_for(spread, told(6)) == ["1 points of shard 1 on `b`"]
    assert waits_for(spread, told(6, b={1: 20})) == ["20 points of shard 1 on `b`"]
    assert waits_for(spread, {"a": Progress(6, {})}) == ["a node with shard 4 (c)", "a node with shard 1 (b)"]
    flipped = step(spread, told(6, b={1: 0}), 7)
    assert (flipped.places, flipped.epoch) == (layout.places, BY_ID.epoch + 1)
    assert (going(flipped), coming(flipped)) == ([1], [4])
    done = step(flipped, told(7), 8)
    assert (done.change, done.places, done.first_free) == (None, layout.places, 5)


def step(spread: Spread, here: dict[str, Progress], number: int) -> Spread:
    following = next_step(spread, here, number=number)
    assert following is not None
    assert decode_map(encode_map(ShardMap(number, {"points": following}))).spreads["points"] == following
    return following


def test_a_change_can_be_taken_back_until_the_flip_and_its_numbers_are_gone() -> None:
    spread = begun(BY_ID, planning.by_id(BY_ID, 6, NODES, 1), number=1)
    with pytest.raises(ConflictError, match="on its way"):
        begun(spread, planning.by_id(BY_ID, 5, NODES, 1), number=2)
    back = withdrawn(spread)
    assert (back.layout, back.change, back.first_free) == (BY_ID.layout, None, 10)
    with pytest.raises(ConflictError, match="from 10 on are free"):
        begun(back, planning.by_id(BY_ID, 6, NODES, 1), number=3)
    copying = step(spread, told(1), 2)
    flipped = step(copying, told(2, a={0: 0, 3: 0}, b={1: 0}, c={2: 0}), 3)
    with pytest.raises(ConflictError, match="no longer"):
        withdrawn(flipped)


def test_a_shard_keeps_its_nodes_as_long_as_it_is_there() -> None:
    moved = Layout("hash", {0: ["b"], 1: ["b"], 2: ["c"], 4: ["a"]})
    with pytest.raises(ConflictError, match="shard 0 has other nodes"):
        begun(BY_ID, moved, number=1)
    with pytest.raises(ConflictError, match="nothing would change"):
        begun(BY_ID, BY_ID.layout, number=1)


def test_by_id_only_the_part_of_what_comes_changes_its_node() -> None:
    layout = planning.by_id(BY_ID, 5, NODES, 1)
    ids = list(range(4000))
    before = [BY_ID.places[shard] for shard in placing_of(BY_ID, CONFIG).of_ids(ids)]
    after = [layout.places[shard] for shard in placing_of(BY_ID.by(layout), CONFIG).of_ids(ids)]
    changed = sum(old != new for old, new in zip(before, after, strict=True)) / len(ids)
    assert changed < 0.25
    assert min(layout.places) == BY_ID.first_free
    again = planning.by_id(BY_ID.by(layout), 4, NODES, 1)
    back = [again.places[shard] for shard in placing_of(BY_ID.by(again), CONFIG).of_ids(ids)]
    assert back == before


def test_what_is_divided_leaves_all_other_shards_as_they_are() -> None:
    spread, vectors = by_vector(), rows(2000, seed=3)
    was = homes(spread, vectors)
    own = vectors[[at for at, shard in enumerate(was) if shard == 2]]
    layout = planning.divided(spread, 2, own, ["b"], seed=0)
    assert set(spread.places) - set(layout.places) == {2}
    halves = set(layout.places) - set(spread.places)
    assert len(halves) == 2
    for old, new in zip(was, homes(spread.by(layout), vectors), strict=True):
        assert new in halves if old == 2 else new == old
    again = planning.without_shard(spread.by(layout), min(halves))
    assert len(set(again.places) & set(spread.places)) == 3
    with pytest.raises(NotOfferedError, match="by `hash`"):
        planning.divided(BY_ID, 1, rows(5), None, seed=0)


def test_a_move_says_what_is_wrong_with_it() -> None:
    pinned = Spread(
        "geographic",
        {0: ["a"], 1: ["b"]},
        parameters=encode_strategy(Geographic({"north": Hash((0,)), "south": Hash((1,))}, ("north",))),
    )
    regions = {"a": "north", "b": "south", "c": "north"}
    with pytest.raises(ConflictError, match="shard 0 is pinned to region `north`, node `b` is in `south`"):
        planning.moved(pinned, 0, "a", "b", regions)
    assert planning.moved(pinned, 0, "a", "c", regions).places == {1: ["b"], 2: ["c"]}
    for wish, wrong in (
        ((9, "a", "b"), "shard 9"),
        ((1, "a", "c"), "shard 1 lies on b, not on `a`"),
        ((1, "b", "d"), "`d` is no member"),
    ):
        with pytest.raises(NotFoundError, match=wrong):
            planning.moved(BY_ID, *wish, NODES)


def test_replicas_and_nodes_that_left_change_only_the_shards_they_concern() -> None:
    doubled = planning.held_by(BY_ID, NODES, 2)
    assert all(len(set(nodes)) == 2 for nodes in doubled.places.values())
    without = planning.held_by(BY_ID, {"a": "", "b": ""}, 1)
    assert set(BY_ID.places) - set(without.places) == {2}
    found = advised(BY_ID, {}, {"a": "", "b": ""}, point_bytes=POINT_BYTES)
    assert found is not None
    assert found.layout is not None
    assert found.why == "`c` left the site"


def test_what_is_hot_leaves_the_hottest_node_and_an_even_site_is_left_alone() -> None:
    even = {shard: Use(100, Load(1.0, 5.0)) for shard in (0, 1, 2)}
    assert advised(Spread("hash", {0: ["a"], 1: ["b"], 2: ["c"]}), even, NODES, point_bytes=POINT_BYTES) is None
    uses = {shard: Use(100, Load(1.0, 5.0)) for shard in range(4)}
    crowded = Spread("hash", {shard: ["a"] for shard in range(4)})
    found = advised(crowded, uses, NODES, point_bytes=POINT_BYTES)
    assert found is not None
    assert found.layout is not None
    held = [nodes[0] for nodes in found.layout.places.values()]
    assert {held.count(node) for node in NODES} <= {1, 2}


def test_what_was_advised_by_sizes_is_looked_at_again_by_where_points_go() -> None:
    uses = {0: Use(400_000, Load(100.0, 1000.0)), 1: Use(1000, Load(1.0, 0.1)), 2: Use(300, Load(0.1, 0.1))}
    assert confirmed(uses, 0, {0: 0.5, 9: 0.5}) == "82 ms of search a second less by it"
    assert confirmed({**uses, 0: Use(400_000, Load(40.0, 400.0))}, 0, {0: 0.5, 9: 0.5}) is None, "below the threshold"
    large = {**uses, 0: Use(600_000, Load(0.0, 0.0))}
    assert confirmed(large, 0, {0: 0.5, 9: 0.5}) == "over the limit"
    assert confirmed(large, 0, {0: 0.95, 9: 0.05}) is None, "one half would still be over the limit"
    assert confirmed(uses, 2, {1: 1.0}) == "0 ms of search a second less by it", "it was below the limit"


def test_cells_are_fitted_once_there_are_points_enough_and_never_to_what_was_changed_since() -> None:
    many = {shard: Use(256, Load(0.0, 0.0)) for shard in BY_ID.places}
    found = by_cells(BY_ID, many)
    assert found is not None
    assert found.fit
    assert by_cells(BY_ID, {**many, 0: Use(255, Load(0.0, 0.0))}) is None
    assert by_cells(msgspec.structs.replace(BY_ID, epoch=2), many) is None
    assert by_cells(by_vector(), many) is None


def state(point: int, time: int, vector: Any = None, payload: Any = None) -> State:
    return State(time, "a.1", 1, Change(point, None if vector is None else vector.tobytes(), payload))


def test_every_shard_is_told_where_a_point_is_and_where_it_is_not() -> None:
    spread, (vector,) = by_vector(), rows(1, seed=9)
    (places,) = placing_of(spread, CONFIG).of_points(PointBatch([7], vector.tobytes()))
    found = routes([state(7, 50, vector)], spread, CONFIG, spread.shards, "")
    for shard, (one,) in found.items():
        assert (one.time, one.change.vectors is None) == ((50, False) if shard in places else (49, True))
    copied = routes([state(7, 50, vector, as_copy(None))], spread, CONFIG, spread.shards, "")
    assert copied == {}
    others = [shard for shard in spread.shards if shard != places[0]]
    told_by_copy = routes([state(7, 50, vector, as_copy(None))], spread, CONFIG, others, "")
    assert all(one.change.payload == as_copy(None) for (one,) in told_by_copy.values() if one.change.vectors)
    gone = routes([state(7, 50)], spread, CONFIG, spread.shards, "")
    assert set(gone) == set(spread.shards)


@pytest.mark.parametrize(
    ("times", "is_sent"), [({0: 0, 1: 0}, True), ({0: 40, 1: 0}, True), ({0: 50, 1: 0}, False), ({0: 0, 1: -60}, False)]
)
def test_what_is_known_or_later_is_not_sent(times: dict[int, int], is_sent: bool) -> None:
    point = state(7, 50, rows(1)[0])
    known = {shard: {key_of(7): time} for shard, time in times.items()}
    assert (still_wanted({0: [point]}, known) == {0: [point]}) is is_sent


def test_what_lies_elsewhere_is_taken_only_from_where_it_was() -> None:
    gone = state(7, 50)
    known = {shard: {key_of(7): time} for shard, time in {0: 0, 1: 40, 2: 50, 3: -40}.items()}
    assert still_wanted({shard: [gone] for shard in range(4)}, known) == {1: [gone]}


def test_a_deletion_goes_also_where_nothing_is_known_of_the_point() -> None:
    """A holder that is away may have it still."""
    gone = state(7, 50)
    known = {shard: {key_of(7): time} for shard, time in {0: 0, 1: 40, 2: 50, 3: -40, 4: -50, 5: 60}.items()}
    sent = {shard: [gone] for shard in (0, 1, 3)}
    assert still_wanted({shard: [gone] for shard in range(6)}, known, {key_of(7)}) == sent


def test_the_map_of_a_version_before_is_read() -> None:
    old = {"number": 3, "spreads": {"points": {"strategy": "hash", "places": {"0": ["a"]}, "model": "", "epoch": 1}}}
    found = decode_map(msgspec.json.encode(old | {"format": 1})).spreads["points"]
    assert (found.change, found.first_free) == (None, 1)
