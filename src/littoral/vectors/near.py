"""The certificate of a near answer: the exact k nearest of a query from those of another query close by.

A list holds the k' nearest points of a query q0, found by comparing with every point. By the triangle inequality each
point that is not in the list is at least `reach − ‖q − q0‖` away from q, `reach` being the distance of the last in the
list: once the k-th nearest of the list is nearer than that, no other point can be among the k nearest
(docs/concepts/caches.md). For Euclid, and for Cosine over vectors of length 1, whose order is that of their distances.

The store computes in float32: whatever its rounding could have decided (which points are in the list, which of two
comes first, which side of a threshold) is declined here, not guessed. Pure: arrays in, rows out.
"""

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import Distance

__all__ = ["METRICS", "Floats", "NearAnswer", "NearList", "direction", "near_answer", "near_list"]

METRICS: frozenset[Distance] = frozenset({"Cosine", "Euclid"})
"""Distances that have a certificate: the triangle inequality holds for them."""

ROUNDING = 2.0**-24
"""Of one float32 operation, relative."""

TINY = float(np.finfo(np.float32).tiny)

Floats = npt.NDArray[np.float64]


class NearList(NamedTuple):
    """Neighbours of one query, best first; made by `near_list`.

    query: float64[d], of length 1 for Cosine. points: float32[k', d], as stored. reach: points that are not here are at
    least so far from the query, for the store too; infinite where there are no other points.
    """

    query: Floats
    points: npt.NDArray[np.float32]
    reach: float


class NearAnswer(NamedTuple):
    """rows: of the list's points, best first. scores: as the store has them: cosine, or Euclid's distance."""

    rows: Sequence[int]
    scores: Sequence[float]


def direction(query: npt.NDArray[np.float32], distance: Distance) -> Floats:
    """The query as the lists have theirs."""
    wide = query.astype(np.float64)
    return wide / np.sqrt(wide @ wide) if distance == "Cosine" else wide


def near_list(query: Floats, points: npt.NDArray[np.float32], distance: Distance, *, is_whole: bool) -> NearList:
    """query: as `direction` makes it. points: float32[k', d], its nearest, best first. is_whole: there are no others.

    Stored unit vectors have length 1 up to rounding only: hence twice the slack.
    """
    if is_whole or not len(points):
        return NearList(query, points, math.inf if is_whole else 0.0)
    last = float(_squares(points.astype(np.float64), query, distance).max())
    return NearList(query, points, math.sqrt(max(0.0, last - 2 * _slack(last, len(query), distance))))


def near_answer(
    known: NearList, query: Floats, distance: Distance, wanted: int, *, threshold: float | None = None
) -> NearAnswer | None:
    """The `wanted` nearest points of `query`, fewer if there are no more or a threshold leaves them out; None where
    the list proves nothing.

    query: as `direction` makes it. threshold: scores beyond it are left out, as in a search.
    """
    count, is_whole = len(known.points), known.reach == math.inf
    if count == 0 or (count < wanted and not is_whole):
        return NearAnswer((), ()) if is_whole else None
    squares = _squares(known.points.astype(np.float64), query, distance)
    order = squares.argsort(kind="stable")[: wanted + 1]
    rows, nearest = order.tolist(), squares[order].tolist()
    wanted = min(wanted, count)
    if not is_whole and not _reaches(known, query, distance, nearest[wanted - 1]):
        return None
    if not _is_ordered(known.points, rows, nearest, len(query), distance):
        return None
    rows, nearest = rows[:wanted], nearest[:wanted]
    scores = [1 - square / 2 for square in nearest] if distance == "Cosine" else list(map(math.sqrt, nearest))
    if threshold is not None:
        if (kept := _kept(scores, nearest, len(query), distance, threshold)) is None:
            return None
        rows, scores = rows[:kept], scores[:kept]
    return NearAnswer(rows, array("f", scores).tolist())


def _squares(points: Floats, query: Floats, distance: Distance) -> Floats:
    """Squared distances; of unit vectors from their products, as the store has them."""
    if distance == "Cosine":
        chords: Floats = 2 - 2 * (points @ query)
        return chords
    difference = points - query
    squares: Floats = np.einsum("ij,ij->i", difference, difference)
    return squares


def _slack(square: float, size: int, distance: Distance) -> float:
    """How far the store's own squared distance may lie from this: a sum of `size` products in float32, in any order.

    Cosine: the products of unit vectors sum to 1 at most, and a squared distance has twice the error of that sum.
    Euclid: relative, since differences are taken first; with a factor of 2 in hand.
    """
    rounding = 2 * (size + 8) * ROUNDING
    return rounding if distance == "Cosine" else square * rounding + TINY


def _reaches(known: NearList, query: Floats, distance: Distance, farthest: float) -> bool:
    """Whether a point that is not in the list must lie beyond `farthest` (a squared distance), for the store too."""
    between = query - known.query
    beyond = known.reach - math.sqrt(between @ between) * (1 + 1e-9)
    if beyond <= 0:
        return False
    end, size = beyond * beyond, len(query)
    return end - 2 * _slack(end, size, distance) > farthest + 2 * _slack(farthest, size, distance)


def _is_ordered(
    stored: npt.NDArray[np.float32], rows: Sequence[int], squares: Sequence[float], size: int, distance: Distance
) -> bool:
    """Whether the store would put them in this order: each is clearly nearer than the next, the one after those that
    are wanted included. Points of the same numbers have the same score, and stand in the order of ids already.
    """
    for i in range(len(rows) - 1):
        near, far = squares[i], squares[i + 1]
        if far - near > _slack(far, size, distance) * 2:  # the farther has the larger of both
            continue
        if rows[i] > rows[i + 1] or not np.array_equal(stored[rows[i]], stored[rows[i + 1]]):
            return False
    return True


def _kept(
    scores: Sequence[float], squares: Sequence[float], size: int, distance: Distance, threshold: float
) -> int | None:
    """How many are better than the threshold; None where rounding may decide."""
    for score, square in zip(scores, squares, strict=True):
        slack = _slack(square, size, distance)
        margin = slack if distance == "Cosine" else math.sqrt(slack) + score * ROUNDING
        if abs(score - threshold) <= margin:
            return None
    return sum(score > threshold if distance == "Cosine" else score < threshold for score in scores)
