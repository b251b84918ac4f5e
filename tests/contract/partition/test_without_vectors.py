"""Points without the vector that cells are of go by their ids: evenly, and where no border moved they stay."""

import numpy as np
import pytest

from littoral.vectors.partition.points import Points
from littoral.vectors.partition.splitting import changes, dissolve_shard, divide_shard, nested, unchanged
from littoral.vectors.partition.strategy import (
    Geographic,
    Hybrid,
    Metric,
    Strategy,
    decode_strategy,
    encode_strategy,
    fit_grouped,
    fit_hybrid,
    fit_metric,
)
from partitioned import clustered

COUNT, SIZE = 1200, 16
GROUPS = [[0, 1], [2, 3], [4, 5]]
VECTORS = clustered(COUNT, size=SIZE, seed=3)

STRATEGIES: dict[str, Strategy] = {
    "metric": fit_metric(VECTORS, distance="Cosine", shards=range(6), seed=1),
    "grouped": fit_grouped(VECTORS, distance="Cosine", shards_by_group=GROUPS, seed=1),
    "hybrid": fit_hybrid(VECTORS, distance="Cosine", shards_by_cell=GROUPS, seed=1),
}


def points(has_vector: object, regions: list[str] | None = None) -> Points:
    return Points(range(COUNT), VECTORS, regions, np.broadcast_to(np.array(has_vector, bool), COUNT))


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_any_vector_every_shard_gets_its_part(name: str) -> None:
    placed = STRATEGIES[name].place(points(False))
    counts = np.bincount(placed.home, minlength=6)
    assert len(placed.copy_rows) == 0
    assert counts.min() > 0.7 * COUNT / 6
    assert counts.max() < 1.3 * COUNT / 6
    again = decode_strategy(encode_strategy(STRATEGIES[name])).place(points(False))
    assert (again.home == placed.home).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_those_that_have_one_lie_as_if_all_had(name: str) -> None:
    has_vector = np.arange(COUNT) % 3 > 0
    whole, some = STRATEGIES[name].place(Points(range(COUNT), VECTORS)), STRATEGIES[name].place(points(has_vector))
    assert (some.home == whole.home)[has_vector].all()
    for shard in range(6):
        rows = whole.rows_of(shard)
        assert set(rows[has_vector[rows]]) <= set(some.rows_of(shard))
    assert not np.isin(some.copy_rows, np.flatnonzero(~has_vector)).any()


def test_in_a_region_they_go_by_ids_too() -> None:
    own = {"eu": STRATEGIES["metric"], "us": fit_metric(VECTORS, distance="Cosine", shards=range(6, 9), seed=2)}
    placed = Geographic(own).place(points(False, ["eu", "us"] * (COUNT // 2)))  # type: ignore[arg-type]
    assert set(placed.home[::2].tolist()) == set(range(6))
    assert set(placed.home[1::2].tolist()) == {6, 7, 8}


def test_dividing_and_dissolving_moves_those_of_the_cells_that_change() -> None:
    before = STRATEGIES["grouped"]
    assert isinstance(before, Hybrid)
    asked = points(np.arange(COUNT) % 2 > 0)
    home = before.place(asked).home
    whole = VECTORS[(home == 2) & asked.has_vector]  # type: ignore[operator]
    own = nested(before, 2, whole)
    for after in (divide_shard(own, 2, 9, whole, seed=1), dissolve_shard(before, 3)):
        placed = after.place(asked)
        assert isinstance(after, Metric | Hybrid)
        for shard in unchanged(before, after):
            assert (before.place(asked).rows_of(shard) == placed.rows_of(shard)).all()
        moved = changes(before, after, asked)
        assert set(moved.from_shards.tolist()) <= {2, 3}
        assert len(moved.to_rows) == len(moved.from_rows) > 0


def test_the_cell_of_an_id_says_nothing_of_the_cell_within() -> None:
    """Names differ by level: else those of the first outer cell would all lie in the first inner one."""
    strategy = STRATEGIES["grouped"]
    assert isinstance(strategy, Hybrid)
    placed = strategy.place(points(False))
    for inner in GROUPS:
        counts = [int((placed.home == shard).sum()) for shard in inner]
        assert min(counts) > 0.6 * max(counts)
