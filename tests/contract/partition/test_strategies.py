"""What holds for every way to spread a collection over shards."""

import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import InputError
from littoral.vectors.partition.closure import Closure
from littoral.vectors.partition.points import Placement, Points, Vectors
from littoral.vectors.partition.rendezvous import keys
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

REGIONS = ("harbour", "mill", "quay")


def points(vectors: Vectors, seed: int = 0) -> Points:
    random = np.random.default_rng(seed)
    regions = [REGIONS[i] for i in random.integers(len(REGIONS), size=len(vectors))]
    ids = [str(uuid.UUID(int=i << 70)) if i % 3 == 0 else i for i in range(len(vectors))]
    return Points(ids, vectors, regions)


def strategies(vectors: Vectors, distance: Distance) -> dict[str, Strategy]:
    metric = fit_metric(vectors, distance=distance, shards=range(6), seed=1)
    inner = fit_metric(vectors, distance=distance, shards=(20, 21), seed=2)
    return {
        "hash": Hash(tuple(range(6))),
        "metric": metric,
        "hybrid": fit_hybrid(vectors, distance=distance, shards_by_cell=((0, 1), (2,), (3, 4, 5)), seed=1),
        "grouped": fit_grouped(vectors, distance=distance, shards_by_group=((0, 1), (2, 3, 4)), seed=1),
        "geographic": Geographic({"harbour": Hash((1, 2)), "mill": inner, "quay": Hash((5,))}, pinned=("mill", "quay")),
    }


def shards_by_row(placement: Placement, count: int) -> list[list[int]]:
    return [placement.shards_of(row) for row in range(count)]


@settings(max_examples=6, deadline=None)
@given(
    count=st.integers(24, 300),
    size=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    distance=st.sampled_from(METRICS),
)
def test_every_point_has_a_home_and_copies_elsewhere(count: int, size: int, seed: int, distance: Distance) -> None:
    vectors = clustered(count, size, seed)
    for strategy in strategies(vectors, distance).values():
        placement = strategy.place(points(vectors))
        for row, shards in enumerate(shards_by_row(placement, count)):
            assert 1 <= len(shards) <= 9
            assert len(set(shards)) == len(shards)
            assert set(shards) <= set(strategy.shards)
            assert all(row in placement.rows_of(shard) for shard in shards)
        rows, _ = placement.pairs()
        assert len(rows) == sum(len(placement.rows_of(shard)) for shard in strategy.shards)


@settings(max_examples=6, deadline=None)
@given(count=st.integers(24, 200), seed=st.integers(0, 2**32 - 1), distance=st.sampled_from(METRICS))
def test_a_point_alone_lies_where_it_lies_among_others(count: int, seed: int, distance: Distance) -> None:
    vectors = clustered(count, 12, seed)
    whole = points(vectors)
    for strategy in strategies(vectors, distance).values():
        placement = strategy.place(whole)
        for row in range(0, count, 17):
            alone = strategy.place(whole.take(np.array([row])))
            assert alone.shards_of(0) == placement.shards_of(row)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shards=st.lists(st.integers(0, 10**6), min_size=2, max_size=24, unique=True))
def test_a_shard_more_moves_only_what_it_takes(seed: int, shards: list[int]) -> None:
    ids = np.random.default_rng(seed).integers(0, 2**63, 4000).tolist()
    before = Hash(tuple(shards[:-1])).place(Points(ids)).home
    after = Hash(tuple(shards)).place(Points(ids)).home
    moved = before != after
    assert (after[moved] == shards[-1]).all()
    assert moved.mean() <= 1 / len(shards) + 4 * np.sqrt(1 / len(shards) / len(ids))


def test_where_ids_lie_is_written_in_stone() -> None:
    """Nodes of different versions and machines come to the same: these numbers may never change."""
    ids = [0, 1, 2**64 - 1, "00000000-0000-0000-0000-000000000001", "f47ac10b-58cc-4372-a567-0e02b2c3d479"]
    assert keys(ids).tolist() == KEYS
    assert Hash(tuple(range(16))).place(Points(ids)).home.tolist() == HOMES


KEYS = [12035550249420947055, 6791897765849424158, 6755974106381971767, 6791897765849424158, 15297747192577071572]
HOMES = [9, 14, 5, 14, 7]


@settings(max_examples=6, deadline=None)
@given(
    count=st.integers(200, 1000),
    size=st.integers(2, 24),
    shards=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
    distance=st.sampled_from(METRICS),
)
def test_no_cell_has_more_than_its_part(count: int, size: int, shards: int, seed: int, distance: Distance) -> None:
    vectors = clustered(count, size, seed)
    most = max(1.25 * count / shards, -(-count // shards))
    placement = fit_metric(vectors, distance=distance, shards=range(shards), seed=seed % 97).place(points(vectors))
    assert np.bincount(placement.home, minlength=shards).max() <= most
    grouped = fit_grouped(vectors, distance=distance, shards_by_group=(range(1), range(1, shards)), seed=seed % 97)
    assert np.bincount(grouped.place(points(vectors)).home, minlength=shards).max() <= most + 1


@settings(max_examples=6, deadline=None)
@given(
    replication=st.sampled_from((1.0, 1.1, 1.3, 2.0)),
    copies=st.integers(0, 8),
    seed=st.integers(0, 2**32 - 1),
    distance=st.sampled_from(METRICS),
)
def test_copies_are_bounded(replication: float, copies: int, seed: int, distance: Distance) -> None:
    vectors = clustered(600, 16, seed)
    strategy = fit_metric(vectors, distance=distance, shards=range(12), seed=3, replication=replication, copies=copies)
    placement = strategy.place(points(vectors))
    assert 1 + len(placement.copy_rows) / len(vectors) <= replication
    assert np.bincount(placement.copy_rows, minlength=1).max() <= copies


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.sampled_from(METRICS))
def test_what_is_pinned_never_leaves_its_region(seed: int, distance: Distance) -> None:
    vectors = clustered(200, 8, seed)
    strategy = strategies(vectors, distance)["geographic"]
    assert isinstance(strategy, Geographic)
    placed = points(vectors, seed)
    for row, shards in enumerate(shards_by_row(strategy.place(placed), len(vectors))):
        region = placed.need_regions()[row]
        assert set(shards) <= set(strategy.regions[region].shards)
        assert {strategy.pinned_shards.get(shard) for shard in shards} == {region if region != "harbour" else None}


@pytest.mark.parametrize("distance", METRICS)
def test_the_same_seed_gives_the_same_bytes(distance: Distance) -> None:
    vectors = clustered(500, 10, 4)
    again = strategies(vectors.copy(order="F"), distance)
    for name, strategy in strategies(vectors, distance).items():
        data = encode_strategy(strategy)
        assert encode_strategy(again[name]) == data
        assert encode_strategy(decode_strategy(data)) == data
        assert decode_strategy(data) == strategy


IN_A_PROCESS = """
import hashlib, sys
import numpy as np
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import encode_strategy, fit_metric
vectors = np.load(sys.argv[1])
strategy = fit_metric(vectors, distance="Cosine", shards=range(5), seed=5)
placement = strategy.place(Points(list(range(len(vectors))), vectors))
print(hashlib.sha256(encode_strategy(strategy) + b"".join(part.tobytes() for part in placement)).hexdigest())
"""


def test_processor_and_threads_do_not_matter(tmp_path: Path) -> None:
    """The kernels of linear algebra for older processors add up in another order, and so do several threads."""
    np.save(tmp_path / "vectors.npy", clustered(700, 48, 8))
    settings_of_blas = ({}, {"OPENBLAS_CORETYPE": "Prescott"}, {"OPENBLAS_NUM_THREADS": "1"})
    told = {
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, tmp_path / "vectors.npy"],
            env=more,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for more in settings_of_blas
    }
    assert len(told) == 1


@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15])
def test_length_of_vectors_does_not_matter(distance: Distance, scale: float) -> None:
    vectors = (clustered(400, 16, 2) * scale).astype(np.float32)
    home = fit_metric(vectors, distance=distance, shards=range(5), seed=1).place(points(vectors)).home
    assert np.bincount(home).max() <= 100


def test_what_is_far_outside_is_placed_too() -> None:
    vectors = clustered(400, 16, 2)
    strategy = fit_metric(vectors, distance="Euclid", shards=range(5), seed=1)
    assert set(strategy.place(points(vectors * 1e20)).home.tolist()) <= set(range(5))


def test_equal_vectors_share_a_shard() -> None:
    vectors = np.ones((100, 4), np.float32)
    strategy = fit_metric(vectors, distance="Euclid", shards=range(3), seed=0)
    assert len(set(strategy.place(points(vectors)).home.tolist())) == 1


ODD = np.ones((8, 4), np.float32)
WRONG = {
    "Dot": (lambda: fit_metric(ODD, distance="Dot", shards=(0, 1), seed=0), "must be `Cosine` or `Euclid`"),
    "Manhattan": (lambda: fit_metric(ODD, distance="Manhattan", shards=(0, 1), seed=0), "`hash` or `geographic`"),
    "too few vectors": (lambda: fit_metric(ODD, distance="Cosine", shards=range(9), seed=0), "8 vectors for 9 cells"),
    "no balance": (lambda: fit_metric(ODD, distance="Cosine", shards=(1,), seed=0, balance=1.0), "balance is 1.0"),
    "no shard": (lambda: Hash(()), "0 shards"),
    "a shard twice": (lambda: Hash((1, 1)), "twice"),
    "not a number": (lambda: fit_metric(ODD * np.nan, distance="Euclid", shards=(1,), seed=0), "not finite"),
    "no vectors": (
        lambda: fit_metric(ODD, distance="Cosine", shards=(0, 1), seed=0).place(Points([1])),
        "vectors are missing",
    ),
    "vectors of another size": (
        lambda: fit_metric(ODD, distance="Cosine", shards=(0, 1), seed=0).place(Points([1], ODD[:1, :3])),
        "[1, 3], expected [1, 4]",
    ),
    "no regions": (lambda: Geographic({"a": Hash((0,))}).place(Points([1])), "0 regions for 1 points"),
    "an unknown region": (
        lambda: Geographic({"a": Hash((0,))}).place(Points([1], None, ["b"])),
        "point from region `b`: the collection has `a`",
    ),
    "a pinned region without shards": (
        lambda: Geographic({"a": Hash((0,))}, pinned=("b",)),
        "region `b` has no shards",
    ),
    "pinned and for all": (
        lambda: Geographic({"a": Hash((0,))}, pinned=("a",), elsewhere="a"),
        "`a` is pinned and takes points from elsewhere",
    ),
    "regions that share a shard": (lambda: Geographic({"a": Hash((0,)), "b": Hash((0,))}), "named twice"),
    "copies of a part": (
        lambda: Hybrid(
            fit_metric(ODD, distance="Cosine", shards=(0,), seed=0).cells,
            Closure(),
            (Metric(fit_metric(ODD, distance="Cosine", shards=(0,), seed=0).cells, Closure(1.0), (0,)),),
        ),
        "a part has none of its own",
    ),
    "no strategy": (lambda: decode_strategy(b"no"), "partition strategy"),
    "a strategy to come": (
        lambda: decode_strategy(encode_strategy(Hash((1,))).replace(b"format\x01", b"format\x02")),
        "format is 2, this version reads 1",
    ),
    "a strategy cut short": (lambda: decode_strategy(encode_strategy(Hash((1, 2)))[:-1]), "truncated"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told(what: str) -> None:
    work, message = WRONG[what]
    with pytest.raises(InputError) as found:
        work()
    assert message in str(found.value)


def test_points_from_elsewhere_have_their_region() -> None:
    strategy = Geographic({"a": Hash((0,)), "b": Hash((1,))}, elsewhere="b")
    assert strategy.place(Points([1, 2, 3], None, ["a", "sea", "b"])).home.tolist() == [0, 1, 1]


def test_kinds_say_whether_an_id_is_enough() -> None:
    vectors = clustered(100, 4, 0)
    found = [(name, one.by_id) for name, one in strategies(vectors, "Cosine").items()]
    assert found == [("hash", True), ("metric", False), ("hybrid", False), ("grouped", False), ("geographic", False)]
    assert isinstance(strategies(vectors, "Cosine")["hybrid"], Hybrid)
    assert isinstance(strategies(vectors, "Cosine")["metric"], Metric)
