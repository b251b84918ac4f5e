"""The nearest that are unlike each other, and how alike vectors are. Pure.

Maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.records import Distance, Multi, Sparse, Vector, VectorParams

__all__ = ["most_diverse"]

Floats = npt.NDArray[np.float32]
Alike = Callable[[int], Floats]
"""Of one vector to all: the higher, the more alike."""


def most_diverse(
    query: Vector, vectors: Sequence[Vector], params: VectorParams, *, diversity: float, count: int
) -> list[int]:
    """Which of them, in the order in which they are chosen: first the nearest, then always the one that is near and
    least like those before it.

    diversity: 0 = nearness only, 1 = difference only. Raises InputError for sparse vectors.
    """
    if not vectors:
        return []
    near, alike = _multi(query, vectors, params) if params.multivector_config else _single(query, vectors, params)
    chosen = [int(np.argmax(near))]
    most_alike = np.full(len(vectors), -np.inf, np.float32)
    worth = np.empty_like(near)
    while len(chosen) < min(count, len(vectors)):
        np.maximum(most_alike, alike(chosen[-1]), out=most_alike)
        np.subtract((1 - diversity) * near, diversity * most_alike, out=worth)
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    return chosen


def _single(query: Vector, vectors: Sequence[Vector], params: VectorParams) -> tuple[Floats, Alike]:
    rows = np.stack([_row(vector) for vector in vectors])
    wanted = _row(query)[None]
    if params.distance == "Cosine":
        rows, wanted = _directions(rows), _directions(wanted)
    return _likeness(wanted, rows, params.distance)[0], lambda at: _likeness(rows[at : at + 1], rows, params.distance)[
        0
    ]


def _multi(query: Vector, vectors: Sequence[Vector], params: VectorParams) -> tuple[Floats, Alike]:
    """Of each vector of the one the most alike of the other, in sum."""

    def rows_of(vector: Vector) -> Floats:
        rows = _row(vector).reshape(-1, params.size)
        return _directions(rows) if params.distance == "Cosine" else rows

    def sums(these: Floats, others: Floats) -> np.float32:
        return np.float32(_likeness(these, others, params.distance).max(axis=1).sum())

    points, wanted = [rows_of(vector) for vector in vectors], rows_of(query)
    near = np.array([sums(wanted, point) for point in points], np.float32)
    return near, lambda at: np.array([sums(point, points[at]) for point in points], np.float32)


def _row(vector: Vector) -> Floats:
    if isinstance(vector, Sparse):
        raise InputError("query: `mmr` needs a dense vector")
    return np.frombuffer(vector.numbers if isinstance(vector, Multi) else vector, np.float32)


def _directions(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0))


def _likeness(these: Floats, others: Floats, distance: Distance) -> Floats:
    """float32[n, m]. Euclid: of squared distances, as the store compares them before it tells their roots."""
    if distance == "Manhattan":
        return np.stack([-np.abs(others - row).sum(axis=1) for row in these])
    products: Floats = these @ others.T
    if distance != "Euclid":
        return products
    squares = np.einsum("ij,ij->i", these, these)[:, None] + np.einsum("ij,ij->i", others, others)[None]
    return np.asarray(2 * products - squares, np.float32)
