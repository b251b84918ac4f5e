"""Shards by strategy: what share of the ten nearest the first 1, 2, 3, 4 and 8 of 16 shards hold, by order of centres.

Every strategy over every set of `bench.vector_sets`, searched exactly. The order means nothing for hash, and begins
with the shards of the query's own region for geographic (docs/concepts/partitioning.md). Beside it: the same with the
shards on 4 nodes, whole nodes asked in order; how even shards are; in how many places a point lies.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rows import Row, row
from bench.vector_sets import NAMES, VectorSet, vector_set
from littoral.vectors.partition.allocation import Room, ShardLoad, allocate
from littoral.vectors.partition.neighbours import ties_between
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, Strategy, fit_grouped, fit_hybrid, fit_metric

__all__ = ["run"]

SHARDS, NODES, K, SEED = 16, 4, 10, 1
PROBES = (1, 2, 3, 4, 8)
QUERIES = 2000
BALANCE_MAX, REPLICATION_MAX = 1.25, 1.3
GROUPS = [range(at, at + SHARDS // NODES) for at in range(0, SHARDS, SHARDS // NODES)]

Vectors = npt.NDArray[np.float32]
Whole = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Question(NamedTuple):
    """queries: float64[q, d]; nearest: rows int64[q, K]; points: float64[n, d], unit vectors for Cosine."""

    of: VectorSet
    points: Whole
    queries: Whole
    nearest: Ints
    origins: list[str]


def run() -> list[Row]:
    rows = []
    for name in NAMES:
        question = asked(vector_set(name))
        for what in ("hash", "geographic", "metric", "metric, no copies", "hybrid", "grouped"):
            began = time.process_time()
            strategy = strategy_of(what, question.of)
            rows += measured(f"{name}: {what}", what, strategy, question, time.process_time() - began)
    return rows


def asked(of: VectorSet) -> Question:
    points, queries = (real(vectors, of) for vectors in (of.points, of.queries[:QUERIES]))
    squares = (points * points).sum(1)
    nearest = [
        np.argpartition(squares - 2 * (queries[at : at + 100] @ points.T), K, axis=1)[:, :K]
        for at in range(0, len(queries), 100)
    ]
    return Question(of, points, queries, np.concatenate(nearest), of.query_origins[:QUERIES])


def real(vectors: Vectors, of: VectorSet) -> Whole:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True) if of.distance == "Cosine" else wide


def strategy_of(what: str, of: VectorSet) -> Strategy:
    if what == "hash":
        return Hash(tuple(range(SHARDS)))
    if what == "geographic":
        regions = sorted(set(of.origins))
        parts = np.array_split(np.arange(SHARDS), len(regions))
        return Geographic({name: Hash(tuple(part.tolist())) for name, part in zip(regions, parts, strict=True)})
    common = {"distance": of.distance, "seed": SEED}
    if what == "hybrid":
        return fit_hybrid(of.points, shards_by_cell=GROUPS, **common)
    if what == "grouped":
        return fit_grouped(of.points, shards_by_group=GROUPS, **common)
    replication = 1.0 if "no copies" in what else REPLICATION_MAX
    return fit_metric(of.points, shards=range(SHARDS), replication=replication, **common)


def measured(name: str, what: str, strategy: Strategy, question: Question, took_s: float) -> Iterator[Row]:
    of = question.of
    placement = strategy.place(Points(range(len(of.points)), of.points, of.origins))
    rows, shards = placement.pairs()
    member = np.zeros((len(of.points), SHARDS), bool)
    member[rows, shards] = True
    sizes = np.bincount(placement.home, minlength=SHARDS)
    order = np.argsort(to_centres(question, placement.home), axis=1)
    if isinstance(strategy, Geographic):
        order = own_region_first(strategy, question.origins, order)
    for probes, recall in zip(PROBES, recalls(member, order, question.nearest), strict=True):
        yield row(f"{name}: recall@10 of {probes} shards", recall, "")
    nodes = nodes_of(strategy, of)
    on_nodes = np.stack([member[:, nodes == node].any(1) for node in range(NODES)], axis=1)
    by_node = node_order(strategy, question, order, nodes)
    for probes, recall in zip((1, 2, 3), recalls(on_nodes, by_node, question.nearest, (1, 2, 3)), strict=True):
        yield row(f"{name}: recall@10 of {probes} nodes", recall, "")
    is_bounded = what not in ("hash", "geographic")
    is_by_vector = is_bounded and what != "hybrid"
    yield row(
        f"{name}: fullest shard",
        sizes.max() / sizes.mean(),
        "means",
        limit=BALANCE_MAX + 0.01 if is_by_vector else None,
    )
    yield row(
        f"{name}: places of a point", len(rows) / len(of.points), "", limit=REPLICATION_MAX if is_bounded else None
    )
    if is_bounded:
        yield row(f"{name}: fit, processor", took_s, "s")


def to_centres(question: Question, home: Ints) -> Whole:
    """Squared distance from each query to the mean of each shard."""
    centres = np.stack([question.points[home == shard].mean(0) for shard in range(SHARDS)])
    found: Whole = (centres * centres).sum(1) - 2 * (question.queries @ centres.T)
    return found


def node_order(strategy: Strategy, question: Question, order: Ints, nodes: Ints) -> Ints:
    """By the outer cells of its shards, else by the first of them."""
    places: Whole = np.argsort(order, axis=1).astype(np.float64)
    if isinstance(strategy, Hybrid):
        costs = strategy.cells.costs(question.queries.astype(np.float32))
        places = np.repeat(costs, [len(part.shards) for part in strategy.parts], axis=1)
    return np.argsort(np.stack([places[:, nodes == node].min(1) for node in range(NODES)], axis=1), axis=1)


def own_region_first(strategy: Geographic, origins: Sequence[str], order: Ints) -> Ints:
    own = np.array([[shard in strategy.regions[origin].shards for shard in range(SHARDS)] for origin in origins])
    is_own = np.take_along_axis(own, order, axis=1)
    return np.take_along_axis(order, np.argsort(~is_own, axis=1, kind="stable"), axis=1)


def recalls(member: Flags, order: Ints, nearest: Ints, probes: Sequence[int] = PROBES) -> list[float]:
    """After each number of shards, or nodes. member: bool[points, shards]."""
    found, shares, at = np.zeros(nearest.shape, bool), [], 0
    for count in probes:
        for place in range(at, count):
            found |= member[nearest, order[:, place][:, None]]
        at = count
        shares.append(float(found.mean()))
    return shares


def nodes_of(strategy: Strategy, of: VectorSet) -> Ints:
    """The node of each shard; neighbours together where shards have any."""
    loads = [ShardLoad(shard, 1 << 20) for shard in range(SHARDS)]
    rooms = [Room(f"node-{at}") for at in range(NODES)]
    if isinstance(strategy, Geographic):
        return np.arange(SHARDS) * NODES // SHARDS
    ties = None if isinstance(strategy, Hash) else ties_between(strategy, of.points, of.distance)
    holders = allocate(loads, rooms, replicas=1, ties=ties).holders
    return np.array([int(holders[shard][0].removeprefix("node-")) for shard in range(SHARDS)])
