"""Whether a calibration still holds: a few queries are asked of every shard, and what they lost is watched.

Watching is betting (an e-detector, Shin, Ramdas and Rinaldo, arXiv 2203.03532): for each of several stakes, capital
that grows where losses are above 1 − target and starts again at 1 whenever it is lost. While the mean loss is no more
than that, an alarm comes once in `quiet` audited queries or less often, on average.

An alarm ends trust, in summaries too: every shard is asked, so that recall is whole at once, and each query is an
audited one. From those after the alarm a level is found again, the epoch grows, and as more come
the level is found anew at every doubling.
"""

from collections import deque
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from littoral.vectors.routing.calibration import calibrate
from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.levels import ALL, Calibration
from littoral.vectors.routing.rehearsal import Ways

__all__ = ["Audit", "AuditStatistics", "Event", "SampleDraw"]

Event = Literal["alarm", "calibrated"]

QUIET = 50_000
WINDOW = 4096
ATTEMPT_EVERY = 50
DRAWN_TOGETHER = 256
"""One by one they take ten times as long."""

STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the largest stake at which capital cannot fall below 0."""


class AuditStatistics(NamedTuple):
    """audited, alarms: since the start. recall: of the window at the level of now. capital: an alarm at `quiet`."""

    audited: int
    alarms: int
    window: int
    recall: float
    capital: float


class SampleDraw:
    """Which queries are audited: each with the same probability, whatever it asks. share: 0 … 1."""

    def __init__(self, share: float, *, seed: int) -> None:
        self._share, self._rng = share, np.random.default_rng(seed)
        self._drawn: list[float] = []

    def draw(self) -> bool:
        if not self._drawn:
            self._drawn = self._rng.random(DRAWN_TOGETHER)[::-1].tolist()
        return self._drawn.pop() < self._share


class Audit:
    """One class of queries and one target. calibration: where it begins. quiet: audited queries between false alarms,
    at least, on average. For one thread.
    """

    def __init__(self, calibration: Calibration, *, quiet: float = QUIET, window: int = WINDOW) -> None:
        self.calibration = calibration
        self._quiet, self._window = quiet, deque[Ways](maxlen=window)
        self._loss_max = 1 - calibration.target
        self._stakes = np.array(STAKES) / self._loss_max
        self._capital = np.ones(len(STAKES))
        self._audited = self._alarms = 0
        self._next_attempt = max(2 * calibration.count, ATTEMPT_EVERY)
        self._fresh = calibration.count

    @property
    def statistics(self) -> AuditStatistics:
        recall = float(1 - self._losses().mean()) if self._window else 1.0
        return AuditStatistics(self._audited, self._alarms, len(self._window), recall, float(self._capital.mean()))

    def observe(self, way: Ways) -> Event | None:
        """way: of one audited query, `rehearse`d with what all shards answered. The event that it brought, if any."""
        self._audited += 1
        self._fresh += 1
        self._window.append(way)
        if not self.calibration.asks_every and self._is_drift(_loss(way, self.calibration.level)):
            self._give_up()
            return "alarm"
        if self._fresh < self._next_attempt:
            return None
        return self._attempt()

    def _is_drift(self, loss: float) -> bool:
        self._capital = np.maximum(self._capital, 1.0) * (1 + self._stakes * (loss - self._loss_max))
        return bool(self._capital.mean() >= self._quiet)

    def _give_up(self) -> None:
        """Nothing that was seen so far is kept: it was of other data, or rehearsed with summaries that were wrong."""
        self._alarms += 1
        self._window.clear()
        self._fresh, self._next_attempt = 0, ATTEMPT_EVERY
        old = self.calibration
        self.calibration = msgspec.structs.replace(old, level=ALL, asks_every=True, epoch=old.epoch + 1)

    def _attempt(self) -> Event | None:
        old = self.calibration
        new = calibrate(
            Ways.joined(list(self._window)), old.target, form=old.form, run=old.run, risk=old.risk, epoch=old.epoch + 1
        )
        self._next_attempt = self._fresh + ATTEMPT_EVERY if new.is_exhaustive else 2 * self._fresh
        if new.is_exhaustive:
            return None
        self.calibration = new
        self._capital = np.ones(len(STAKES))
        return "calibrated"

    def _losses(self) -> Floats:
        window, level = tuple(self._window), self.calibration.level  # statistics may be asked for from another thread
        return np.array([_loss(way, level) for way in window])


def _loss(way: Ways, level: float) -> float:
    return float(1 - way.recalls[0, way.at(level)[0]])
