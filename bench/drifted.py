"""Drift, injected: a new cluster of points that summaries do not know, and queries that move there."""

from typing import NamedTuple

import numpy as np

from bench.spread_world import K, World, mixture, strategy_of, summaries_of
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Strategy
from littoral.vectors.routing.audit import Audit
from littoral.vectors.routing.calibration import calibrate, losses_at
from littoral.vectors.routing.rehearsal import Ways
from littoral.vectors.routing.table import SummaryTable

__all__ = ["Drift", "drift"]

POINTS, NEW, SIZE, QUERIES = 6000, 1500, 24, 2000
MOVED = 0.5
CALIBRATED = 1000


class Drift(NamedTuple):
    """In audited queries, after the change: until the alarm, and until a level holds again (None = not within all).

    quiet: alarms before the change. before: recall in the time between change and alarm. after: of the queries after
    the alarm, as they were answered.
    """

    alarm: int | None
    calibrated: int | None
    quiet: int
    before: float
    after: float


def drift(seed: int, *, target: float = 0.95, refreshed: bool = True) -> Drift:
    """refreshed: shards tell their new summaries once there was an alarm; else the old ones stay for ever."""
    vectors = mixture(POINTS + QUERIES, size=SIZE, inner=8, clusters=40, seed=seed)
    far = mixture(NEW + QUERIES, size=SIZE, inner=8, clusters=8, seed=seed + 1000) + 0.5
    strategy = strategy_of("metric", vectors[:POINTS], "Cosine", seed=seed)
    world = World.made(strategy, vectors[:POINTS], vectors[POINTS:], "Cosine")
    rng = np.random.default_rng(seed)
    rows, asking = np.arange(QUERIES), rng.integers(0, 4, QUERIES)
    before = world.ways(rows, asking)
    moved = np.where(rng.random(QUERIES)[:, None] < MOVED, far[NEW:], vectors[POINTS:]).astype(np.float32)
    stale, fresh = _changed(world, strategy, vectors[:POINTS], far[:NEW], moved)
    audit = Audit(calibrate(before.rows(slice(0, CALIBRATED)), target))
    quiet = sum(audit.observe(before.rows(slice(at, at + 1))) == "alarm" for at in range(CALIBRATED, QUERIES))
    return _watched(audit, quiet, stale.ways(rows, asking), (fresh if refreshed else stale).ways(rows, asking))


def _changed(
    world: World, strategy: Strategy, old: np.ndarray, new: np.ndarray, queries: np.ndarray
) -> tuple[World, World]:
    """With the new points in the shards: as the old summaries see it, and as summaries made anew do."""
    points = np.concatenate([old, new]).astype(np.float32)
    home = strategy.place(Points(range(len(old), len(points)), points[len(old) :])).home
    members = [
        np.concatenate([mine, len(old) + np.flatnonzero(home == shard)]) for shard, mine in enumerate(world.members)
    ]
    stale = world.with_points(points, members, queries, k=K)
    summaries = summaries_of(points, members, world.distance)
    return stale, stale._replace(table=SummaryTable(range(len(members)), summaries, world.distance, points.shape[1]))


def _watched(audit: Audit, quiet: int, stale: Ways, fresh: Ways) -> Drift:
    alarm = calibrated = None
    lost: dict[bool, list[float]] = {False: [], True: []}
    for at in range(len(stale.found)):
        way = (stale if alarm is None else fresh).rows(slice(at, at + 1))
        calibration = audit.calibration
        loss = 0.0 if calibration.asks_every else float(losses_at(way, calibration.level)[0])
        lost[alarm is not None].append(loss)
        event = audit.observe(way)
        if event == "alarm" and alarm is None:
            alarm = at + 1
        if event == "calibrated" and alarm is not None and calibrated is None:
            calibrated = at + 1
    before, after = (float(1 - np.mean(lost[which])) if lost[which] else 1.0 for which in (False, True))
    return Drift(alarm, calibrated, quiet, before, after)
