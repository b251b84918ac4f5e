"""Where shards of a new collection lie, and what may be where: pure."""

import msgspec
import numpy as np
import pytest

from littoral.errors import ConflictError, SettingError
from littoral.mesh.shard_map import Change, Layout, Spread
from littoral.node.federation.layout import laid_out
from littoral.node.federation.moving.steps import begun
from littoral.node.federation.placing import placing_of, strategy_of
from littoral.node.federation.residency import allowed, pinned_to, seen_from, within
from littoral.node.mesh_tables import SpreadTable
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, encode_strategy
from littoral.vectors.records import CollectionConfig, PointBatch, PointVectors, VectorParams
from littoral.vectors.tuning import MultiVector

SIZE = 4
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
ROWS = np.random.default_rng(2).standard_normal((400, SIZE)).astype("<f4")
REGIONS = {"a": "eu", "b": "eu", "c": "us", "d": "us", "e": ""}


def spread(nodes: dict[str, str] | None = None, **options: object) -> Spread:
    table = SpreadTable(**{"sample": "x.npy", **options})  # type: ignore[arg-type]
    return laid_out("points", table, CONFIG, nodes or dict.fromkeys("abcde", ""), ROWS)


@pytest.mark.parametrize("strategy", ["hash", "metric", "hybrid"])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_every_node_holds_as_much_and_replicas_are_apart(strategy: str, replicas: int) -> None:
    found = spread(strategy=strategy, shards=10, replicas=replicas)
    assert sorted(found.places) == list(range(10))
    assert {len(set(nodes)) for nodes in found.places.values()} == {replicas}
    assert {len(found.held_by(node)) for node in "abcde"} == {2 * replicas}


def test_the_shards_of_a_cell_lie_on_the_same_nodes_and_copies_between_cells() -> None:
    found = spread(strategy="metric", shards=10, replicas=2, copies=1.5)
    strategy = strategy_of(found)
    assert isinstance(strategy, Hybrid)
    holders = [{tuple(found.places[shard]) for shard in part.shards} for part in strategy.parts]
    assert [len(nodes) for nodes in holders] == [1] * 5
    placing = placing_of(found, CONFIG)
    places = placing.of_points(PointBatch(list(range(len(ROWS))), ROWS.tobytes()))
    assert 1.3 < np.mean([len(shards) for shards in places]) <= 1.5
    for shards in places:
        groups = [tuple(found.places[shard]) for shard in shards]
        assert len(set(groups)) == len(groups)


NAMED = CollectionConfig(
    named={
        "text": VectorParams(6, "Dot"),
        "image": VectorParams(SIZE, "Euclid"),
        "patches": VectorParams(3, "Cosine", multivector_config=MultiVector("max_sim")),
    }
)


def test_the_map_says_which_vector_cells_are_of() -> None:
    nodes = dict.fromkeys("abcde", "")
    table = SpreadTable(strategy="metric", sample="x.npy", by="image")
    found = laid_out("points", table, NAMED, nodes, ROWS)
    assert found.vector == "image"
    placing = placing_of(found, NAMED)
    rows: list[PointVectors] = [{"image": row.tobytes()} for row in ROWS[:9]]
    alone = placing_of(laid_out("points", SpreadTable(strategy="metric", sample="x.npy"), CONFIG, nodes, ROWS), CONFIG)
    assert placing.of_points(PointBatch(list(range(9)), rows)) == alone.of_points(
        PointBatch(list(range(9)), ROWS[:9].tobytes())
    )
    assert [len(shards) for shards in placing.of_points(PointBatch([1, 2], [{}, {"text": bytes(24)}]))] == [1, 1]
    assert laid_out("points", SpreadTable(), NAMED, nodes).vector == "text"
    assert laid_out("points", SpreadTable(), CONFIG, nodes).vector == ""


def test_going_back_goes_back_to_the_vector_of_before() -> None:
    before = laid_out("points", SpreadTable(), NAMED, dict.fromkeys("ab", ""))
    after = before.by(msgspec.structs.replace(before.layout, vector="image"))
    assert (before.vector, after.vector, after.by(before.layout).vector) == ("text", "image", "text")
    assert before.by(msgspec.structs.replace(before.layout, vector=None)).vector == "text"


def test_where_every_node_has_all_there_is_nothing_to_copy() -> None:
    assert not strategy_of(spread({"a": "", "b": ""}, strategy="metric", shards=4, replicas=2)).has_copies


def test_a_region_lies_on_its_own_nodes_and_a_pinned_one_on_no_other() -> None:
    found = spread(REGIONS, strategy="geographic", shards=6, replicas=3, pinned=["eu"], within="metric")
    strategy = strategy_of(found)
    assert isinstance(strategy, Geographic)
    assert list(strategy.regions) == ["eu", "us"]
    assert [type(part) for part in strategy.regions.values()] == [Hybrid, Hybrid]
    for shard in strategy.regions["eu"].shards:
        assert set(found.places[shard]) == {"a", "b"}
    for shard in strategy.regions["us"].shards:
        assert {"c", "d"} < set(found.places[shard])
        assert len(found.places[shard]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "geographic", "regions": ["asia"], "pinned": ["asia"]}, "region `asia` is pinned, and no node"),
        ({"strategy": "geographic", "regions": ["eu", "us", "asia"], "shards": 2}, "2 shards for 3 regions"),
    ],
)
def test_what_these_nodes_cannot_do_is_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        spread(REGIONS, **options)
    with pytest.raises(SettingError, match="0 regions"):
        spread({"a": ""}, strategy="geographic")


def pinned_spread() -> Spread:
    return spread(REGIONS, strategy="geographic", shards=4, replicas=2, pinned=["eu"])


def test_a_map_that_puts_a_pinned_shard_elsewhere_is_read_without_that() -> None:
    found = pinned_spread()
    shards = sorted(pinned_to(found))
    wrong = msgspec.structs.replace(found, places={**found.places, shards[0]: ["c", "a"], shards[1]: ["e", "z"]})
    assert allowed(wrong, REGIONS).places[shards[0]] == ["a"]
    assert allowed(wrong, REGIONS).places[shards[1]] == []
    other = Layout("geographic", {**found.places, shards[0]: ["d"]}, found.parameters)
    changing = msgspec.structs.replace(found, change=Change("copying", other))
    assert allowed(changing, REGIONS).both[1].places[shards[0]] == []
    assert allowed(found, REGIONS) == found


def test_each_region_sees_its_own() -> None:
    found = pinned_spread()
    assert seen_from(found, "eu").withheld == []
    for region in ("us", ""):
        view = seen_from(found, region)
        assert view.withheld == ["eu"]
        assert set(view.spread.places) == set(found.places) - set(pinned_to(found))
    inside = within(found, "eu", REGIONS)
    assert set(inside.spread.places) == set(pinned_to(found))
    assert inside.withheld == ["us"]


def test_what_is_pinned_stays_so() -> None:
    found = pinned_spread()
    by_id = Layout("hash", {10: ["a"], 11: ["c"]}, encode_strategy(Hash((10, 11))))
    with pytest.raises(ConflictError, match="region `eu` is pinned, and would not be any more"):
        begun(found, by_id, number=2)
