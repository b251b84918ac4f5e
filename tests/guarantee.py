"""Runs of queries at levels that others were calibrated for: what recall they keep, by seed and strategy."""

from typing import NamedTuple

import numpy as np
from bench.spread_world import World, mixture, strategy_of

from littoral.vectors.partition.points import Points
from littoral.vectors.records import VectorParams
from littoral.vectors.routing.bounds import binomial_interval
from littoral.vectors.routing.calibration import calibrate, losses_at
from littoral.vectors.routing.table import SummaryTable
from littoral.vectors.routing.vector_summaries import summarize_all

__all__ = ["RUN", "TARGETS", "Run", "runs", "runs_by_another", "told"]

TARGETS = (0.9, 0.95, 0.99)
POINTS, SIZE, INNER, CLUSTERS = 2400, 16, 8, 40
CALIBRATED = RUN = 2000


class Run(NamedTuple):
    """recall: the mean of RUN queries. nodes: remote ones asked, on average."""

    target: float
    recall: float
    nodes: float
    is_exhaustive: bool

    @property
    def is_missed(self) -> bool:
        return self.recall < self.target


def runs(strategy: str, seed: int) -> list[Run]:
    """One for each target: other data, another partition and other queries for each seed; synthetic."""
    vectors = mixture(POINTS + CALIBRATED + RUN, size=SIZE, inner=INNER, clusters=CLUSTERS, seed=seed)
    rng = np.random.default_rng(seed)
    points, queries = vectors[:POINTS], vectors[POINTS:]
    regions = [f"region-{lot}" for lot in rng.integers(0, 4, len(vectors))]
    world = World.made(
        strategy_of(strategy, points, "Cosine", seed=seed, regions=regions),
        points,
        queries,
        "Cosine",
        regions=regions[:POINTS],
        query_regions=regions[POINTS:],
    )
    return _runs(world, rng)


def runs_by_another(strategy: str, seed: int) -> list[Run]:
    """As `runs`, by a vector that cells are not of: half of it follows from the other one, half does not. Every fifth
    point lacks the one that cells are of.
    """
    count = POINTS + CALIBRATED + RUN
    images = mixture(count, size=SIZE, inner=INNER, clusters=CLUSTERS, seed=seed)
    texts = mixture(count, size=2 * SIZE, inner=INNER, clusters=CLUSTERS, seed=seed + 1_000_000)
    texts[:, :SIZE] = images
    has_image = np.arange(POINTS) % 5 > 0
    cells = strategy_of(strategy, images[:POINTS][has_image], "Cosine", seed=seed)
    by_image = World.made(cells, images[:POINTS], images[POINTS:], "Cosine")
    placed = cells.place(Points(range(POINTS), images[:POINTS], None, has_image))
    members = [placed.rows_of(shard) for shard in range(len(by_image.members))]
    params = {"image": VectorParams(SIZE, "Cosine"), "text": VectorParams(2 * SIZE, "Cosine")}
    summaries = {}
    for shard, rows in enumerate(members):
        own = {"image": images[rows[has_image[rows]]], "text": texts[rows]}
        text = summarize_all(own, params, shard=shard, epoch=1).of("text")
        assert text is not None
        summaries[shard] = text
    world = by_image.with_points(texts[:POINTS], members, texts[POINTS:])
    table = SummaryTable(range(len(members)), summaries, "Cosine", 2 * SIZE)
    return _runs(world._replace(table=table), np.random.default_rng(seed))


def _runs(world: World, rng: np.random.Generator) -> list[Run]:
    queries = world.queries
    ways = world.ways(np.arange(len(queries)), rng.integers(0, 4, len(queries)))
    known, run = ways.rows(slice(0, CALIBRATED)), ways.rows(slice(CALIBRATED, None))
    found = []
    for target in TARGETS:
        calibration = calibrate(known, target)
        nodes = run.nodes[np.arange(RUN), run.at(calibration.level)].mean()
        recall = 1 - losses_at(run, calibration.level).mean()
        found.append(Run(target, float(recall), float(nodes), calibration.is_exhaustive))
    return found


def told(strategy: str, target: float, of: list[Run]) -> str:
    """One line: how often it was missed, with the exact interval, and what it took."""
    missed = sum(run.is_missed for run in of)
    low, high = binomial_interval(missed, len(of))
    recall, nodes = np.mean([run.recall for run in of]), np.mean([run.nodes for run in of])
    return (
        f"{strategy}, {target}: missed in {missed} of {len(of)} runs of {RUN} (95 %: {low:.4f} … {high:.4f}), "
        f"recall {recall:.4f} (least {min(run.recall for run in of):.4f}), {nodes:.2f} remote nodes, "
        f"exhaustive in {sum(run.is_exhaustive for run in of)}"
    )
