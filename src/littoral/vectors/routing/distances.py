"""Scores as distances: the lower, the nearer, whatever a collection means by near.

Cosine: the chord between unit vectors. Euclid, Manhattan: the score itself. Dot: the product's negative, which is no
metric, but has a bound within a ball all the same. The store computes in float32: `slack` is how far its number may lie
from the true one, and what it could decide is never certified.
"""

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import Distance

__all__ = ["Floats", "between", "directions", "from_scores", "score_slack", "to_score"]

Floats = npt.NDArray[np.float64]

ROUNDING = 2.0**-24
"""Of one float32 operation, relative."""

TINY = float(np.finfo(np.float32).tiny)
ROWS_AT_ONCE = 64


def directions(vectors: npt.ArrayLike, distance: Distance) -> Floats:
    """float64[n, d], of length 1 for Cosine (zero stays zero)."""
    wide = np.atleast_2d(np.asarray(vectors, np.float64))
    if distance != "Cosine":
        return wide
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return np.asarray(np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0))


def from_scores(scores: npt.ArrayLike, distance: Distance) -> Floats:
    """Distances of hits from their scores as the store tells them."""
    values = np.asarray(scores, np.float64)
    if distance == "Cosine":
        return np.sqrt(np.maximum(2 - 2 * values, 0.0))
    return -values if distance == "Dot" else values


def to_score(distance_of_hit: float, distance: Distance) -> float:
    """The score that has this distance."""
    if distance == "Cosine":
        return 1 - distance_of_hit * distance_of_hit / 2
    return -distance_of_hit if distance == "Dot" else distance_of_hit


def between(queries: Floats, points: Floats, distance: Distance, *, point_squares: Floats | None = None) -> Floats:
    """float64[q, p]: distances of `directions`; for Dot the negative products. point_squares: of lengths, if known."""
    if distance == "Manhattan":
        parts = [
            np.abs(queries[at : at + ROWS_AT_ONCE, None, :] - points[None]).sum(axis=2)
            for at in range(0, len(queries), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(points)))
    products: Floats = queries @ points.T
    if distance == "Dot":
        return -products
    if point_squares is None:
        point_squares = np.einsum("ij,ij->i", points, points)
    squares = np.einsum("ij,ij->i", queries, queries)[:, None] + point_squares[None]
    return np.asarray(np.sqrt(np.maximum(squares - 2 * products, 0.0)))


def score_slack(distances: Floats, size: int, length_product: npt.ArrayLike, distance: Distance) -> Floats:
    """How far the store's own number may lie from these distances: a sum of `size` products in float32, in any order.

    length_product: of the query's and the point's length, an upper bound; for Dot alone.
    """
    rounding = 4 * (size + 8) * ROUNDING
    distances = np.where(np.isfinite(distances), distances, 0.0)
    if distance == "Cosine":
        # An error e of the squared chord moves the chord by at most √(c² + e) − c, and by √e at most.
        squares = distances * distances
        slack = 2 * (np.sqrt(squares + rounding) - distances)
        return np.where(squares > 4 * rounding, slack, 2 * np.sqrt(rounding))
    if distance == "Dot":
        return np.broadcast_to(np.asarray(length_product, np.float64) * rounding + TINY, distances.shape)
    return np.abs(distances) * rounding + TINY
