"""What moments leave out: a logistic model of each shard's share, learned from queries that all shards have answered.

It sees what the moments expect, how far the shard's nearest centroid is beside the hits and beside other shards, and
how much has been found. Its shares take the place of the moments' own; how much they are worth, calibration says.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.routing.distances import Floats

__all__ = ["FEATURES", "ShareModel", "features", "fit_shares"]

FEATURES = (
    "log share",
    "log share, capped",
    "centroid / k-th hit",
    "centroid / nearest centroid that answered",
    "centroid / nearest centroid",
    "log missing",
    "first hit / k-th hit",
    "k-th hit",
    "answered",
    "bound / k-th hit",
)
LEAST, CAP = 1e-6, -3.0
RATIO_MAX = 4.0
RIDGE = 1.0
STEPS = 60


class ShareModel(msgspec.Struct, frozen=True):
    """Means and scales of FEATURES, a weight for each, and the last one for none."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if {len(self.means), len(self.scales), len(self.weights) - 1} != {len(FEATURES)}:
            raise InputError(f"share model: {len(self.weights)} weights for {len(FEATURES)} features and one for none")

    def shares(self, told: Floats) -> Floats:
        """float64[q, s] from `features`."""
        scores = (told - np.array(self.means)) / np.array(self.scales) @ np.array(self.weights[:-1]) + self.weights[-1]
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -30, 30))))


def features(
    nearest: Floats, bounds: Floats, has_answered: npt.NDArray[np.bool_], hits: Floats, shares: Floats, found: Floats
) -> Floats:
    """float64[q, s, features]. nearest, bounds: of a `Sight`; shares, found: as the moments have them.

    Distances must not be negative: not for Dot.
    """
    near = np.where(np.isfinite(nearest), np.maximum(nearest, 0.0), 0.0)
    last = np.where(np.isfinite(hits), hits, -np.inf).max(axis=1)
    last = np.where(last > 0, last, near.max(axis=1) + LEAST)[:, None]
    first = np.where(np.isfinite(hits[:, :1]), hits[:, :1], last)
    answered = np.where(has_answered, near, np.inf).min(axis=1, keepdims=True)
    answered = np.where(np.isfinite(answered), answered, near.max(axis=1, keepdims=True))
    logs = np.log(shares + LEAST)
    of_query = (np.log(1 - found[:, None] + LEAST), first / last, last, has_answered.mean(axis=1, keepdims=True))
    missing, spread, reach, part = (np.broadcast_to(column, near.shape) for column in of_query)
    columns = (
        logs,
        np.minimum(logs, CAP),
        _ratio(near, last),
        _ratio(near, answered),
        _ratio(near, near.min(axis=1, keepdims=True)),
        missing,
        spread,
        reach,
        part,
        _ratio(np.where(np.isfinite(bounds), bounds, 0.0), last),
    )
    return np.stack(columns, axis=2)


def fit_shares(told: Floats, shares: Floats) -> ShareModel | None:
    """told: float64[n, features], shares: float64[n], true ones. None where there is nothing to learn from.

    Logistic regression on shares, with a ridge, by Newton's steps that are halved until they help.
    """
    if not len(told) or not 0 < shares.mean() < 1:
        return None
    means, scales = told.mean(axis=0), told.std(axis=0) + LEAST
    rows = np.concatenate([(told - means) / scales, np.ones((len(told), 1))], axis=1)
    ridge = np.append(np.full(told.shape[1], RIDGE), LEAST)
    weights = np.append(np.zeros(told.shape[1]), np.log(shares.mean() / (1 - shares.mean())))
    loss = _loss(rows, shares, ridge, weights)
    for _ in range(STEPS):
        step, before = _newton(rows, shares, ridge, weights), loss
        while (loss := _loss(rows, shares, ridge, weights - step)) > before and np.abs(step).max() > LEAST:
            step /= 2
        weights = weights - step
        if before - loss < 1e-9 * abs(before):
            break
    return ShareModel(tuple(means.tolist()), tuple(scales.tolist()), tuple(weights.tolist()))


def _ratio(distances: Floats, to: Floats) -> Floats:
    return np.asarray(np.minimum(distances, RATIO_MAX * to + LEAST) / (to + LEAST))


def _loss(rows: Floats, shares: Floats, ridge: Floats, weights: Floats) -> float:
    scores = rows @ weights
    return float((np.logaddexp(0, scores) - shares * scores).sum() + (ridge * weights * weights).sum() / 2)


def _newton(rows: Floats, shares: Floats, ridge: Floats, weights: Floats) -> Floats:
    told = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
    slope = rows.T @ (told - shares) + ridge * weights
    bend = rows.T @ (rows * (told * (1 - told) + LEAST)[:, None]) + np.diag(ridge)
    return np.asarray(np.linalg.solve(bend, slope))
