"""The level at which a route stops, chosen so that a recall is kept.

The loss of a query is 1 − recall. Two forms:

mean   conformal risk control (arXiv 2208.02814): over calibration and the next query together, the expected loss is at
       most 1 − target. A given run lies below the target about half the time.
high   the mean recall of a run of `run` queries is at least the target, except with a probability of at most `risk`:
       levels are tried from the strictest on, each must be shown to hold, the first that is not ends the search
       (fixed-sequence testing, arXiv 2110.01052). No order of losses is needed for that.

Where a query loses something although every shard was asked that the summaries do not rule out, they are not what the
shards hold, and no shard is ruled out any more (`asks_every`).

Both need calibration queries that are exchangeable with those to come; the audit watches that. Where no level can be
shown to hold, every shard is asked that is not ruled out, and `is_exhaustive` says so.
"""

import numpy as np

from littoral.errors import InputError
from littoral.vectors.routing.bounds import is_mean_below, mean_at_most, run_slack
from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.levels import ALL, RISK, RUN, Calibration, Form
from littoral.vectors.routing.rehearsal import Ways

__all__ = ["LEVELS", "calibrate", "losses_at"]

LEVELS = 1 - 10.0 ** -np.linspace(9, 0.02, 136)
"""Levels that are tried, the strictest first; the same ones for every set of queries."""

RISKS = (0.4, 0.2, 0.4)
"""Parts of the risk: that the mean loss is not as shown, that its variance is not, that the run is unlucky."""

STEPS = 24


def calibrate(
    ways: Ways, target: float, *, form: Form = "high", run: int = RUN, risk: float = RISK, epoch: int = 0
) -> Calibration:
    """ways: of queries like those to come, in the order in which they came. Raises InputError for a target outside
    0 … 1.
    """
    if not 0 < target < 1:
        raise InputError(f"recall target must be between 0 and 1: {target}")
    at, loss_max = ALL, 1 - target
    worst = losses_at(ways, ALL)
    tried: Floats | None = None
    for level in LEVELS.tolist():
        losses = losses_at(ways, level)
        if form == "mean":
            # The worst at this level or a stricter one: monotone, whatever the shards' own searches do.
            worst = losses = np.maximum(worst, losses)
        if tried is None or not np.array_equal(losses, tried):
            tried = losses
            if not (_holds_on_average(losses, loss_max) if form == "mean" else _holds(losses, loss_max, run, risk)):
                break
        at = level
    losses = losses_at(ways, at)
    recall = float(1 - losses.mean()) if len(losses) else 1.0
    return Calibration(
        target=target,
        form=form,
        level=at,
        count=len(losses),
        recall=recall,
        below=float((losses > 0.1 + 1e-9).mean()) if len(losses) else 0.0,
        run=run,
        risk=risk,
        epoch=epoch,
        steps=_steps(ways),
        asks_every=at == ALL and bool((losses > 0).any()),
    )


def losses_at(ways: Ways, level: float) -> Floats:
    """float64[q]: 1 − recall of each query that stops at this level."""
    return np.asarray(1 - ways.recalls[np.arange(len(ways.found)), ways.at(level)])


def _holds_on_average(losses: Floats, loss_max: float) -> bool:
    return bool((losses.sum() + 1) / (len(losses) + 1) <= loss_max)


def _holds(losses: Floats, loss_max: float, run: int, risk: float) -> bool:
    """Whether a run's mean loss stays below `loss_max`, with what the run itself may add."""
    of_mean, of_variance, of_run = (risk * part for part in RISKS)
    if not len(losses) or losses.mean() >= loss_max:
        return False
    variance = mean_at_most((losses - loss_max) ** 2, of_variance)
    return is_mean_below(losses, loss_max - run_slack(run, variance, of_run), of_mean)


def _steps(ways: Ways) -> tuple[tuple[float, float], ...]:
    is_on_the_way = np.isfinite(ways.found)
    found, recalls = ways.found[is_on_the_way], ways.recalls[is_on_the_way]
    order = np.argsort(found, kind="stable")
    parts = [part for part in np.array_split(order, STEPS) if len(part)]
    means = np.maximum.accumulate([float(recalls[part].mean()) for part in parts]) if parts else ()
    return tuple((float(found[part[0]]), float(mean)) for part, mean in zip(parts, means, strict=True))
