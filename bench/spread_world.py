"""A collection spread over the shards of some nodes, in one process: what every shard answers, and how queries go.

Shards are searched exactly, in float64: what is measured is which nodes are asked, not the index inside a shard.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.partition.neighbours import in_blocks, ties_between
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import (
    Geographic,
    Hash,
    Hybrid,
    Metric,
    Strategy,
    fit_grouped,
    fit_hybrid,
    fit_metric,
)
from littoral.vectors.records import Distance
from littoral.vectors.routing.distances import Floats, between, directions
from littoral.vectors.routing.learning import lessons
from littoral.vectors.routing.likelihood import ShareModel, fit_shares
from littoral.vectors.routing.plan import Planner
from littoral.vectors.routing.rehearsal import Answers, Ways, nearest_of, recalls_of, rehearse
from littoral.vectors.routing.summary import ShardSummary, summarize
from littoral.vectors.routing.table import SummaryTable

__all__ = ["STRATEGIES", "K", "World", "mixture", "strategy_of", "summaries_of"]

SHARDS, NODES, K = 16, 4, 10
STRATEGIES = ("hash", "geographic", "metric", "hybrid")

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def mixture(count: int, *, size: int, inner: int, clusters: int, seed: int) -> Vectors:
    """Synthetic: clusters of unlike weight, each in `inner` directions of its own, overlapping."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, size)) / np.sqrt(size)
    frames = rng.standard_normal((clusters, inner, size)) / np.sqrt(size * inner)
    owners = rng.choice(clusters, count, p=rng.dirichlet(np.full(clusters, 2.0)))
    within = np.einsum("ni,nid->nd", rng.standard_normal((count, inner)), frames[owners])
    found = centres[owners] + 0.6 * within + 0.03 * rng.standard_normal((count, size))
    return found.astype(np.float32)


def strategy_of(name: str, points: Vectors, distance: Distance, *, seed: int, regions: Sequence[str] = ()) -> Strategy:
    """One of STRATEGIES, over SHARDS shards; `ungrouped`: metric, without a thought of nodes."""
    by_node = [range(at, at + SHARDS // NODES) for at in range(0, SHARDS, SHARDS // NODES)]
    if name == "metric":
        return fit_grouped(points, distance=distance, shards_by_group=by_node, seed=seed)
    if name == "ungrouped":
        return fit_metric(points, distance=distance, shards=range(SHARDS), seed=seed)
    if name == "hybrid":
        return fit_hybrid(points, distance=distance, shards_by_cell=by_node, seed=seed)
    if name == "hash":
        return Hash(tuple(range(SHARDS)))
    names = sorted(set(regions))
    parts = np.array_split(np.arange(SHARDS), len(names))
    return Geographic(
        {region: Hash(tuple(part.tolist())) for region, part in zip(names, parts, strict=True)}, elsewhere=names[0]
    )


def summaries_of(points: Vectors, members: Sequence[Ints], distance: Distance) -> dict[int, ShardSummary]:
    """One for each shard."""
    size = points.shape[1]
    return {
        shard: summarize(points[rows], distance, shard=shard, epoch=1, size=size) for shard, rows in enumerate(members)
    }


class World(NamedTuple):
    """members: rows of the points in each shard. nodes: the node of each shard, by number. homes: of each query, the
    node whose shards it would lie in itself. answers: of every shard to every query.
    """

    points: Vectors
    queries: Vectors
    distance: Distance
    members: list[Ints]
    nodes: Ints
    homes: Ints
    table: SummaryTable
    answers: Answers

    @classmethod
    def made(
        cls,
        strategy: Strategy,
        points: Vectors,
        queries: Vectors,
        distance: Distance,
        *,
        regions: Sequence[str] | None = None,
        query_regions: Sequence[str] | None = None,
        k: int = K,
    ) -> "World":
        """regions, query_regions: for `Geographic`."""
        placed = strategy.place(Points(range(len(points)), points, regions))
        members = [np.flatnonzero(placed.home == shard) for shard in range(len(strategy.shards))]
        for shard, mine in enumerate(members):
            members[shard] = np.union1d(mine, placed.copy_rows[placed.copy_shards == shard])
        nodes = _node_of(strategy, points, distance)
        own = strategy.place(Points(range(len(points), len(points) + len(queries)), queries, query_regions))
        table = SummaryTable(range(len(members)), summaries_of(points, members, distance), distance, points.shape[1])
        answers = _answers(points, members, queries, distance, k)
        return cls(points, queries, distance, members, nodes, nodes[own.home], table, answers)

    def with_points(self, points: Vectors, members: list[Ints], queries: Vectors, *, k: int = K) -> "World":
        """Other points and queries under the summaries of before."""
        answers = _answers(points, members, queries, self.distance, k)
        return self._replace(points=points, members=members, queries=queries, answers=answers)

    def planner(self, node: int, model: ShareModel | None = None) -> Planner:
        """Of the node with this number."""
        others = np.flatnonzero(self.nodes != node).tolist()
        return Planner(self.table, {shard: [f"n{self.nodes[shard]}"] for shard in others}, model=model)

    def learned(self, rows: Ints, asking: Ints) -> ShareModel | None:
        """From these queries, which are not to be calibrated on."""
        parts = []
        for node in np.unique(asking).tolist():
            of = rows[asking == node]
            answers = Answers(self.answers.ids[of], self.answers.distances[of])
            parts.append(
                lessons(self.planner(node), np.flatnonzero(self.nodes == node).tolist(), self.queries[of], answers)
            )
        told, shares = (np.concatenate(column) for column in zip(*parts, strict=True))
        return fit_shares(told, shares)

    def ways(self, rows: Ints, asking: Ints, model: ShareModel | None = None) -> Ways:
        """rows: of queries. asking: the node that each is asked of."""
        parts, order = [], []
        for node in np.unique(asking).tolist():
            mine = np.flatnonzero(asking == node)
            of = rows[mine]
            answers = Answers(self.answers.ids[of], self.answers.distances[of])
            local = np.flatnonzero(self.nodes == node).tolist()
            parts.append(rehearse(self.planner(node, model), local, self.queries[of], answers))
            order.append(mine)
        return Ways.joined(parts).rows(np.argsort(np.concatenate(order)))

    def recalls(self, rows: Ints, asked: npt.NDArray[np.bool_]) -> Floats:
        """asked: bool[q, nodes], the asking one included; each query's recall then."""
        answers = Answers(self.answers.ids[rows], self.answers.distances[rows])
        true = nearest_of(answers, np.ones((len(rows), len(self.nodes)), bool))
        return recalls_of(nearest_of(answers, asked[:, self.nodes]), true)


def _node_of(strategy: Strategy, points: Vectors, distance: Distance) -> Ints:
    """Of each shard: groups, cells and regions lie together, and else shards that answer together."""
    if isinstance(strategy, Hash):
        return np.arange(SHARDS) % NODES
    if isinstance(strategy, Metric):
        blocks = in_blocks(ties_between(strategy, points, distance), [1] * SHARDS, NODES)
    else:
        parts = strategy.parts if isinstance(strategy, Hybrid) else strategy.regions.values()
        blocks = [list(part.shards) for part in parts]
    nodes = np.zeros(SHARDS, np.int64)
    for node, shards in enumerate(blocks):
        nodes[shards] = node % NODES
    return nodes


def _answers(points: Vectors, members: Sequence[Ints], queries: Vectors, distance: Distance, k: int) -> Answers:
    wide, asked = directions(points, distance), directions(queries, distance)
    ids = np.full((len(queries), len(members), k), -1, np.int64)
    distances = np.full(ids.shape, np.inf)
    for shard, rows in enumerate(members):
        apart, most = between(asked, wide[rows], distance), min(k, len(rows))
        if not most:
            continue
        nearest = np.argpartition(apart, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(apart, nearest, 1)
        order = np.argsort(values, axis=1)
        ids[:, shard, :most] = rows[np.take_along_axis(nearest, order, 1)]
        distances[:, shard, :most] = np.take_along_axis(values, order, 1)
    return Answers(ids, distances)
