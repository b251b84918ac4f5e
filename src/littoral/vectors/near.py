"""The certificate of a near answer: the exact k nearest of a query from those of another query close by.

A list holds the k' nearest points of a query q0, found by comparing with every point. By the triangle inequality each
point that is not in the list is at least `reach − ‖q − q0‖` away from q, `reach` being the distance of the last in the
list: once the k-th nearest of the list is nearer than that, no other point can be among the k nearest
(docs/concepts/caches.md). For Euclid, and for Cosine over vectors of length 1, whose order is that of their distances.

The store computes in float32: whatever its rounding could have decided (which points are in the list, which of two
comes first, which side of a threshold) is declined here, not guessed. Pure: arrays in, rows out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import Distance

__all__ = ["METRICS", "Floats", "NearAnswer", "NearList", "direction", "near_answer"]

METRICS: frozenset[Distance] = frozenset({"Cosine", "Euclid"})
"""Distances that have a certificate: the triangle inequality holds for them."""

ROUNDING = 2.0**-24
"""Of one float32 operation, relative."""

Floats = npt.NDArray[np.float64]


class NearList(NamedTuple):
    """Neighbours of one query, best first.

    query: float64[d], of length 1 for Cosine. points: float32[k', d], as stored. is_whole: there are no other points.
    """

    query: Floats
    points: npt.NDArray[np.float32]
    is_whole: bool


class NearAnswer(NamedTuple):
    """rows: of the list's points, best first. scores: as the store has them: cosine, or Euclid's distance."""

    rows: Sequence[int]
    scores: Sequence[float]


def direction(query: npt.NDArray[np.float32], distance: Distance) -> Floats:
    """The query as the lists have theirs."""
    wide = query.astype(np.float64)
    return wide / np.sqrt(wide @ wide) if distance == "Cosine" else wide


def near_answer(
    known: NearList, query: Floats, distance: Distance, wanted: int, *, threshold: float | None = None
) -> NearAnswer | None:
    """The `wanted` nearest points of `query`, fewer if there are no more or a threshold leaves them out; None where
    the list proves nothing.

    query: as `direction` makes it. threshold: scores beyond it are left out, as in a search.
    """
    count = len(known.points)
    if count == 0 or (count < wanted and not known.is_whole):
        return NearAnswer((), ()) if known.is_whole else None
    points = known.points.astype(np.float64)
    squares = _squares(points, query, distance)
    slack = _slack(squares, len(query), distance)
    order = np.argsort(squares, kind="stable")
    wanted = min(wanted, count)
    if not known.is_whole and not _reaches(known, points, query, distance, squares[order[wanted - 1]]):
        return None
    if not _is_ordered(known.points, squares, slack, order, wanted):
        return None
    rows = order[:wanted]
    scores = 1 - squares[rows] / 2 if distance == "Cosine" else np.sqrt(squares[rows])
    if threshold is not None:
        kept = _kept(scores, slack[rows], distance, threshold)
        if kept is None:
            return None
        rows, scores = rows[:kept], scores[:kept]
    return NearAnswer(rows.tolist(), scores.astype(np.float32).tolist())


def _squares(points: Floats, query: Floats, distance: Distance) -> Floats:
    """Squared distances; of unit vectors from their products, as the store has them."""
    if distance == "Cosine":
        chords: Floats = 2 - 2 * (points @ query)
        return chords
    difference = points - query
    squares: Floats = np.einsum("ij,ij->i", difference, difference)
    return squares


def _slack(squares: Floats, size: int, distance: Distance) -> Floats:
    """How far the store's own squared distances may lie from these: sums of `size` products in float32, in any order.

    Cosine: the products of unit vectors sum to 1 at most, and a squared distance has twice the error of that sum.
    Euclid: relative, since differences are taken first; with a factor of 2 in hand.
    """
    rounding = (size + 8) * ROUNDING
    if distance == "Cosine":
        return np.full_like(squares, 2 * rounding)
    return squares * (2 * rounding) + np.finfo(np.float32).tiny


def _reaches(known: NearList, points: Floats, query: Floats, distance: Distance, farthest: float) -> bool:
    """Whether a point that is not in the list must lie beyond `farthest` (a squared distance), for the store too.

    Stored unit vectors have length 1 up to rounding only: hence twice the slack.
    """
    last = np.array([_squares(points, known.query, distance).max()])
    reach = math.sqrt(max(0.0, float((last - 2 * _slack(last, len(query), distance))[0])))
    between = query - known.query
    beyond = reach - math.sqrt(between @ between) * (1 + 1e-9)
    if beyond <= 0:
        return False
    ends = np.array([beyond * beyond, farthest])
    slack = 2 * _slack(ends, len(query), distance)
    return bool(ends[0] - slack[0] > ends[1] + slack[1])


def _is_ordered(
    stored: npt.NDArray[np.float32], squares: Floats, slack: Floats, order: npt.NDArray[np.intp], wanted: int
) -> bool:
    """Whether the store would put the first `wanted` in this order: each is clearly nearer than the next, the one
    after them included. Points of the same numbers have the same score, and stand in the order of ids already.
    """
    ends = order[: wanted + 1]
    gaps = np.diff(squares[ends])
    doubtful = np.flatnonzero(gaps <= slack[ends[1:]] + slack[ends[:-1]])
    return all(ends[i] < ends[i + 1] and np.array_equal(stored[ends[i]], stored[ends[i + 1]]) for i in doubtful)


def _kept(scores: Floats, slack: Floats, distance: Distance, threshold: float) -> int | None:
    """How many are better than the threshold; None where rounding may decide."""
    margin = slack if distance == "Cosine" else np.sqrt(slack) + scores * ROUNDING
    if (np.abs(scores - threshold) <= margin).any():
        return None
    return int((scores > threshold).sum() if distance == "Cosine" else (scores < threshold).sum())
