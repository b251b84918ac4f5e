"""A collection spread over the shards of some nodes, in one process: what every shard answers, and how queries go.

Shards are searched exactly, in float64: what is measured is which nodes are asked, not the index inside a shard.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Geographic, Hash, Strategy, fit_hybrid, fit_metric
from littoral.vectors.records import Distance
from littoral.vectors.routing.distances import Floats, between, directions
from littoral.vectors.routing.plan import Planner
from littoral.vectors.routing.rehearsal import Answers, Ways, nearest_of, recalls_of, rehearse
from littoral.vectors.routing.summary import ShardSummary, summarize
from littoral.vectors.routing.table import SummaryTable

__all__ = ["STRATEGIES", "K", "World", "mixture", "neighbouring", "strategy_of", "summaries_of"]

SHARDS, NODES, K = 16, 4, 10
STRATEGIES = ("hash", "geographic", "metric", "hybrid")
AFFINITY_QUERIES = 800
TRIES = 20

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
    """One of STRATEGIES, over SHARDS shards."""
    if name == "metric":
        return fit_metric(points, distance=distance, shards=range(SHARDS), seed=seed)
    if name == "hybrid":
        cells = [range(at, at + 4) for at in range(0, SHARDS, 4)]
        return fit_hybrid(points, distance=distance, shards_by_cell=cells, seed=seed)
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
        near: bool = True,
    ) -> "World":
        """near: shards that answer the same queries lie on one node; else they are dealt out by number."""
        placed = strategy.place(Points(range(len(points)), points, regions))
        members = [np.flatnonzero(placed.home == shard) for shard in range(len(strategy.shards))]
        for shard, mine in enumerate(members):
            members[shard] = np.union1d(mine, placed.copy_rows[placed.copy_shards == shard])
        nodes = np.arange(len(members)) % NODES
        if isinstance(strategy, Geographic):
            nodes = np.arange(len(members)) * NODES // len(members)
        elif near and not isinstance(strategy, Hash):
            nodes = neighbouring(_affinity(points, placed.home, distance, k), NODES)
        own = strategy.place(Points(range(len(points), len(points) + len(queries)), queries, query_regions))
        table = SummaryTable(range(len(members)), summaries_of(points, members, distance), distance, points.shape[1])
        answers = _answers(points, members, queries, distance, k)
        return cls(points, queries, distance, members, nodes, nodes[own.home], table, answers)

    def with_points(self, points: Vectors, members: list[Ints], queries: Vectors, *, k: int = K) -> "World":
        """Other points and queries under the summaries of before."""
        answers = _answers(points, members, queries, self.distance, k)
        return self._replace(points=points, members=members, queries=queries, answers=answers)

    def planner(self, node: int) -> Planner:
        """Of the node with this number."""
        others = np.flatnonzero(self.nodes != node).tolist()
        return Planner(self.table, {shard: [f"n{self.nodes[shard]}"] for shard in others})

    def ways(self, rows: Ints, asking: Ints) -> Ways:
        """rows: of queries. asking: the node that each is asked of."""
        parts, order = [], []
        for node in np.unique(asking).tolist():
            mine = np.flatnonzero(asking == node)
            of = rows[mine]
            answers = Answers(self.answers.ids[of], self.answers.distances[of])
            local = np.flatnonzero(self.nodes == node).tolist()
            parts.append(rehearse(self.planner(node), local, self.queries[of], answers))
            order.append(mine)
        return Ways.joined(parts).rows(np.argsort(np.concatenate(order)))

    def recalls(self, rows: Ints, asked: npt.NDArray[np.bool_]) -> Floats:
        """asked: bool[q, nodes], the asking one included; each query's recall then."""
        answers = Answers(self.answers.ids[rows], self.answers.distances[rows])
        true = nearest_of(answers, np.ones((len(rows), len(self.nodes)), bool))
        return recalls_of(nearest_of(answers, asked[:, self.nodes]), true)


def neighbouring(affinity: Floats, nodes: int) -> Ints:
    """A node for each shard, equally many each, so that shards that answer together lie together: exchanges of two
    shards while one helps, from several starts.
    """
    count, rng = len(affinity), np.random.default_rng(0)
    best, most = np.arange(count) % nodes, -1.0
    for _ in range(TRIES):
        found = _exchanged(affinity, rng.permutation(np.arange(count) % nodes))
        inside = float(affinity[found[:, None] == found[None]].sum())
        if inside > most:
            best, most = found, inside
    return best


def _exchanged(affinity: Floats, nodes: Ints) -> Ints:
    pairs = [(a, b) for a in range(len(nodes)) for b in range(a)]
    is_better = True
    while is_better:
        is_better = False
        for a, b in pairs:
            if nodes[a] == nodes[b]:
                continue
            with_a, with_b = nodes == nodes[a], nodes == nodes[b]
            gain = affinity[a, with_b].sum() - affinity[a, with_a].sum()
            gain += affinity[b, with_a].sum() - affinity[b, with_b].sum() - 2 * affinity[a, b]
            if gain > 1e-9:
                nodes[a], nodes[b] = nodes[b], nodes[a]
                is_better = True
    return nodes


def _affinity(points: Vectors, home: Ints, distance: Distance, k: int) -> Floats:
    """How often two shards hold neighbours of one point."""
    rng, count = np.random.default_rng(1), int(home.max()) + 1
    some = rng.choice(len(points), min(AFFINITY_QUERIES, len(points)), replace=False)
    found = _answers(points, [np.arange(len(points))], points[some], distance, k)
    shares = np.stack([np.bincount(home[row], minlength=count) for row in found.ids[:, 0]]).astype(np.float64) / k
    affinity = shares.T @ shares
    np.fill_diagonal(affinity, 0)
    return affinity


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
