"""Cells divided and dissolved: no point is lost, and only what must move does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import InputError
from littoral.vectors.partition.points import Points, Vectors
from littoral.vectors.partition.splitting import changes, dissolve_shard, divide_cell, divide_shard, nested, unchanged
from littoral.vectors.partition.strategy import (
    Geographic,
    Hash,
    Hybrid,
    Metric,
    Strategy,
    decode_strategy,
    encode_strategy,
    fit_grouped,
    fit_hybrid,
    fit_metric,
)
from littoral.vectors.records import Distance
from partitioned import METRICS, clustered

Pairs = set[tuple[int, int]]


def everything(strategy: Strategy, points: Points) -> Pairs:
    rows, shards = strategy.place(points).pairs()
    return set(zip(rows.tolist(), shards.tolist(), strict=True))


def after_changes(before: Strategy, after: Strategy, points: Points) -> tuple[Pairs, int]:
    """What lies where when every shard's holder has moved what is at home in it."""
    found, looked_at = everything(before, points), 0
    home = before.place(points).home
    for shard in before.shards:
        rows = np.flatnonzero(home == shard)
        moves = changes(before, after, points.take(rows))
        found |= set(zip(rows[moves.to_rows].tolist(), moves.to_shards.tolist(), strict=True))
        found -= set(zip(rows[moves.from_rows].tolist(), moves.from_shards.tolist(), strict=True))
        looked_at += moves.looked_at
    return found, looked_at


def at_home(strategy: Strategy, points: Points, *shards: int) -> Vectors:
    return points.need_vectors(16)[np.isin(strategy.place(points).home, shards)]


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    replication=st.sampled_from((1.0, 1.3)),
    copies=st.sampled_from((1, 8)),
    distance=st.sampled_from(METRICS),
)
def test_dividing_moves_what_must_and_nothing_else(
    seed: int, replication: float, copies: int, distance: Distance
) -> None:
    vectors = clustered(900, 16, seed)
    points = Points(list(range(900)), vectors)
    before = fit_metric(vectors, distance=distance, shards=range(8), seed=1, replication=replication, copies=copies)
    shard = int(np.bincount(before.place(points).home).argmax())
    own = at_home(before, points, shard)
    after = divide_shard(before, shard, 8, own, seed=3)
    found, looked_at = after_changes(before, after, points)
    assert found == everything(after, points)
    assert looked_at < 900
    halves = np.bincount(after.place(Points(list(range(len(own))), own)).home, minlength=9)[[shard, 8]]
    assert halves.max() <= 0.62 * len(own)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), replication=st.sampled_from((1.0, 1.3)), distance=st.sampled_from(METRICS))
def test_dissolving_keeps_every_point(seed: int, replication: float, distance: Distance) -> None:
    vectors = clustered(900, 16, seed)
    points = Points(list(range(900)), vectors)
    before = fit_metric(vectors, distance=distance, shards=range(8), seed=1, replication=replication)
    shard = int(np.bincount(before.place(points).home, minlength=8).argmin())
    after = dissolve_shard(before, shard)
    found, looked_at = after_changes(before, after, points)
    assert found == everything(after, points)
    assert 0 <= looked_at - len(before.place(points).rows_of(shard)) <= 9  # a point on the border itself


def test_dividing_a_large_set_looks_at_few() -> None:
    """Of 16 cells one is divided: its own points and those at its borders are looked at."""
    vectors = clustered(4000, 16, 3, clusters=40)
    points = Points(list(range(4000)), vectors)
    before = fit_metric(vectors, distance="Cosine", shards=range(16), seed=1)
    after = divide_shard(before, 5, 16, at_home(before, points, 5), seed=3)
    found, looked_at = after_changes(before, after, points)
    assert found == everything(after, points)
    assert looked_at < 4000 / 3


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.sampled_from(METRICS))
def test_a_cell_of_several_shards_is_divided(seed: int, distance: Distance) -> None:
    vectors = clustered(900, 16, seed)
    points = Points(list(range(900)), vectors)
    before = fit_hybrid(vectors, distance=distance, shards_by_cell=((0, 1), (2, 3), (4,), (5,)), seed=1)
    after = divide_cell(before, 0, (6, 7, 8), at_home(before, points, 0, 1), seed=2)
    assert [part.shards for part in after.parts] == [(0, 1), (2, 3), (4,), (5,), (6, 7, 8)]
    assert after_changes(before, after, points)[0] == everything(after, points)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.sampled_from(METRICS))
def test_within_a_group_only_its_own_points_are_looked_at(seed: int, distance: Distance) -> None:
    vectors = clustered(900, 16, seed)
    points = Points(list(range(900)), vectors)
    groups = ((0, 1), (2, 3, 4), (5,))
    before = fit_grouped(vectors, distance=distance, shards_by_group=groups, seed=1)
    after = divide_shard(before, 3, 6, at_home(before, points, 3), seed=2)
    found, looked_at = after_changes(before, after, points)
    assert found == everything(after, points)
    assert looked_at <= sum(len(before.place(points).rows_of(shard)) for shard in groups[1])
    fewer = dissolve_shard(after, 2)
    assert after_changes(after, fewer, points)[0] == everything(fewer, points)
    assert [part.shards for part in fewer.parts] == [(0, 1), (3, 4, 6), (5,)]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.sampled_from(METRICS))
def test_dividing_a_cell_of_cells_moves_half_of_it_and_nothing_beside(seed: int, distance: Distance) -> None:
    vectors = clustered(900, 16, seed)
    points = Points(list(range(900)), vectors)
    before: Strategy = fit_grouped(vectors, distance=distance, shards_by_group=((0, 1), (2, 3, 4), (5,)), seed=1)
    for shard, half in ((3, 6), (3, 7), (6, 8), (5, 9)):
        assert isinstance(before, Hybrid)
        own = before.place(points).rows_of(shard)
        after = divide_shard(nested(before, shard, vectors[own]), shard, half, vectors[own], seed=2)
        assert unchanged(before, after) == set(before.shards) - {shard}
        gone = everything(before, points) - everything(after, points)
        assert {where for _, where in gone} == {shard}
        assert len(gone) <= 0.62 * len(own)
        assert decode_strategy(encode_strategy(after)) == after
        before = after
    fewer = dissolve_shard(before, 7)
    assert unchanged(before, fewer) == set(before.shards) - {3, 7}, "its other half takes all of it"
    assert everything(fewer, points) == after_changes(before, fewer, points)[0]


def test_the_last_shard_of_a_cell_goes_to_the_cells_beside() -> None:
    vectors = clustered(900, 16, 4)
    points = Points(list(range(900)), vectors)
    before = fit_grouped(vectors, distance="Euclid", shards_by_group=((0, 1), (2, 3), (4,)), seed=1)
    after = dissolve_shard(before, 4)
    assert after.shards == (0, 1, 2, 3)
    assert {shard for _, shard in everything(after, points)} == {0, 1, 2, 3}
    assert unchanged(before, after) == set()


def test_cells_are_not_within_cells_for_ever() -> None:
    vectors = clustered(300, 16, 1)
    found: Hybrid | Metric = fit_metric(vectors, distance="Cosine", shards=(0, 1), seed=1)
    for half in range(2, 17):
        found = divide_shard(nested(found, 0, vectors), 0, half, vectors, seed=0)
    with pytest.raises(InputError, match="cells within cells are 17 deep, at most 16"):
        nested(divide_shard(nested(found, 0, vectors), 0, 17, vectors, seed=0), 0, vectors)


def test_a_cell_gets_a_shard_more() -> None:
    vectors = clustered(900, 16, 1)
    points = Points(list(range(900)), vectors)
    before = fit_hybrid(vectors, distance="Cosine", shards_by_cell=((0, 1), (2, 3)), seed=1)
    after = Hybrid(before.cells, before.closure, (Hash((0, 1, 4)), Hash((2, 3))))
    found, _ = after_changes(before, after, points)
    assert found == everything(after, points)
    assert {shard for row, shard in found - everything(before, points)} == {4}


def test_between_strategies_everything_is_looked_at() -> None:
    vectors = clustered(300, 16, 1)
    points = Points(list(range(300)), vectors, ["a"] * 300)
    metric = fit_metric(vectors, distance="Cosine", shards=range(10, 14), seed=1)
    for before, after in (
        (Hash((0, 1, 2)), metric),
        (metric, Geographic({"a": Hash((20, 21))})),
        (metric, fit_metric(vectors, distance="Euclid", shards=range(10, 14), seed=1)),
        (metric, Metric(metric.cells, type(metric.closure)(0.0), metric.shards)),
    ):
        found, looked_at = after_changes(before, after, points)
        assert found == everything(after, points)
        assert looked_at == 300


def test_nothing_moves_where_nothing_changed() -> None:
    vectors = clustered(300, 16, 1)
    metric = fit_metric(vectors, distance="Cosine", shards=range(4), seed=1)
    moves = changes(metric, metric, Points(list(range(300)), vectors))
    assert (moves.looked_at, len(moves.to_rows), len(moves.from_rows)) == (0, 0, 0)


def test_what_cannot_be_divided_is_told() -> None:
    vectors = clustered(300, 16, 1)
    metric = fit_metric(vectors, distance="Cosine", shards=(3,), seed=1)
    with pytest.raises(InputError, match="has no shard 5"):
        divide_shard(metric, 5, 6, vectors, seed=0)
    with pytest.raises(InputError, match="2 points do not differ"):
        divide_shard(metric, 3, 6, vectors[[0, 0]], seed=0)
    with pytest.raises(InputError, match="expected \\[n, 16\\]"):
        divide_shard(metric, 3, 6, vectors[:, :4], seed=0)
    with pytest.raises(InputError, match="shard 3 is the last one"):
        dissolve_shard(metric, 3)
    hybrid = fit_hybrid(vectors, distance="Cosine", shards_by_cell=((0, 1), (2, 3)), seed=1)
    with pytest.raises(InputError, match="no cell for shard 2 alone"):
        divide_shard(hybrid, 2, 6, vectors, seed=0)
    with pytest.raises(InputError, match="2 is none of 2 cells"):
        divide_cell(hybrid, 2, (6,), vectors, seed=0)
    with pytest.raises(InputError, match="named twice"):
        divide_shard(metric, 3, 3, vectors, seed=0)
