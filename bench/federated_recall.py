"""Searches over 16 shards on 4 nodes: what recall is kept by asking how many of them, and how soon drift is met.

Half of each set's queries calibrate (`high`, a run of 2,000), the other half is measured, each asked of a node by lot.
Peers: all nodes asked, and as many remote nodes by lot as the plan asks. Shards are searched exactly.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.drifted import drift
from bench.rows import Row, row
from bench.spread_world import NODES, STRATEGIES, Ints, K, World, strategy_of
from bench.vector_sets import NAMES, VectorSet, vector_set
from littoral.vectors import frames
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import Hit
from littoral.vectors.routing.calibration import calibrate
from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.levels import Calibration
from littoral.vectors.routing.rehearsal import Ways

__all__ = ["run"]

SEED = 0
TARGET, OTHER_TARGETS = 0.95, (0.9, 0.99)
EVERY_STRATEGY = ("sentences", "synthetic, 12 inner dimensions")
LOST_MAX, NODES_MAX, BYTES_MAX, NOT_HERE_MAX = 1 - TARGET, 1.2, 20_000, 0.5
DRIFTS, AUDITED_MAX = 5, 500
BELOW = 0.9


class _Measured(NamedTuple):
    """At one level: recall and remote nodes of each query, and nodes of those asked in their own region."""

    recalls: Floats
    nodes: Floats
    own: Floats


def run() -> list[Row]:
    found: list[Row] = []
    for name in NAMES:
        given = vector_set(name)
        for strategy in STRATEGIES if name in EVERY_STRATEGY else ("metric",):
            found += _strategy_rows(given, strategy)
    return found + list(_drift_rows())


def _strategy_rows(given: VectorSet, strategy: str) -> Iterator[Row]:
    world = World.made(
        strategy_of(strategy, given.points, given.distance, seed=SEED, regions=given.origins),
        given.points,
        given.queries,
        given.distance,
        regions=given.origins,
        query_regions=given.query_origins,
    )
    rng, half = np.random.default_rng(SEED), len(given.queries) // 2
    rows = rng.permutation(len(given.queries))
    asking = rng.integers(0, NODES, len(rows))
    ways, own = world.ways(rows, asking), world.ways(rows[half:], world.homes[rows[half:]])
    known, asked = ways.rows(slice(0, half)), ways.rows(slice(half, None))
    label = f"{given.name}, {strategy}"
    calibration = calibrate(known, TARGET)
    measured = _measured(asked, own, calibration)
    yield from _rows_at_target(world, rows[half:], asking[half:], measured, label, given.points.shape[1])
    if strategy != "metric":
        return
    for target in OTHER_TARGETS:
        at = _measured(asked, own, calibrate(known, target))
        yield row(f"{label}: not found, target {target}", 1 - at.recalls.mean(), "of ten", limit=1 - target)
        yield row(f"{label}: remote nodes asked, target {target}", at.nodes.mean(), "nodes")


def _measured(asked: Ways, own: Ways, calibration: Calibration) -> _Measured:
    every = np.arange(len(asked.found))
    at = asked.at(calibration.level)
    return _Measured(asked.recalls[every, at], asked.nodes[every, at], own.nodes[every, own.at(calibration.level)])


def _rows_at_target(world: World, rows: Ints, asking: Ints, at: _Measured, label: str, size: int) -> Iterator[Row]:
    """Limits are those of a metric partition; hash and geographic ask as many as it takes."""
    is_metric, by_node = label.endswith("metric"), _bytes_by_node(size)
    yield row(
        f"{label}: not found",
        1 - at.recalls.mean(),
        "of ten",
        limit=LOST_MAX,
        peer="as many nodes by lot",
        peer_value=1 - float(_by_lot(world, rows, asking, at.nodes).mean()),
    )
    yield row(
        f"{label}: remote nodes asked",
        at.nodes.mean(),
        "nodes",
        limit=NODES_MAX if is_metric else None,
        peer="all",
        peer_value=NODES - 1,
    )
    yield row(
        f"{label}: bytes of a query",
        at.nodes.mean() * by_node,
        "bytes",
        limit=BYTES_MAX,
        peer="all",
        peer_value=(NODES - 1) * by_node,
    )
    yield row(f"{label}: queries with less than {BELOW}", (at.recalls < BELOW - 1e-9).mean(), "of all")
    yield row(
        f"{label}: not answered here, of those in their own region",
        (at.own > 0).mean(),
        "of all",
        limit=NOT_HERE_MAX if is_metric else None,
    )


def _by_lot(world: World, rows: Ints, asking: Ints, nodes: Floats) -> Floats:
    """Recall where each query asks as many others as some query of the plan did, without a plan."""
    rng, count = np.random.default_rng(SEED + 1), len(rows)
    order = np.argsort(rng.random((count, NODES)) + 2.0 * (np.arange(NODES)[None] == asking[:, None]), axis=1)
    ranks = np.argsort(order, axis=1)
    asked = (ranks < rng.permutation(nodes)[:, None]) | (np.arange(NODES)[None] == asking[:, None])
    return world.recalls(rows, asked)


def _bytes_by_node(size: int) -> int:
    """To a remote node and back, as frames: a vector there, ten hits without payloads back."""
    asked = frames.Search(call=1, queries=[SearchQuery(ask=bytes(4 * size), limit=K)])
    hits = [Hit(2**40 + at, 1 / 3, 2**20) for at in range(K)]
    return len(frames.encode(asked)) + len(frames.encode(frames.Found(call=1, epoch=2**20, hits=[hits])))


def _drift_rows() -> Iterator[Row]:
    found = [drift(seed) for seed in range(DRIFTS)]
    breached = [one for one in found if one.alarm is not None or one.before < TARGET]
    alarms = [AUDITED_MAX + 1 if one.alarm is None else one.alarm for one in breached]
    levels = [one.calibrated for one in breached if one.calibrated is not None]
    label = f"drift, synthetic, worst of {DRIFTS}"
    yield row(f"{label}: in which recall fell below {TARGET}", len(breached), "of all")
    yield row(f"{label}: audited queries until the alarm", max(alarms, default=0), "queries", limit=AUDITED_MAX)
    yield row(f"{label}: until a level is found again", max(levels, default=0), "queries")
    yield row(f"{label}: not found before the alarm", 1 - min(one.before for one in found), "of ten")
    yield row(f"{label}: not found after it", 1 - min(one.after for one in found), "of ten", limit=LOST_MAX)
    yield row(f"{label}: alarms before it", max(one.quiet for one in found), "alarms", limit=0)
