"""k-means for summaries: k-means++ starts and a few rounds over a sample, then every point to its nearest centre."""

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.distances import Floats

__all__ = ["nearest_rows", "seeded_means"]

SAMPLE_MAX = 4096
ROUNDS = 8
ROWS_AT_ONCE = 4096


def seeded_means(points: Floats, count: int, *, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Centres, at most `count` and none without points, and each point's centre."""
    if not len(points) or count < 1:
        return np.zeros((0, points.shape[1])), np.zeros(0, np.int64)
    rng = np.random.default_rng(seed)
    sample = points if len(points) <= SAMPLE_MAX else points[np.sort(rng.choice(len(points), SAMPLE_MAX, False))]
    centers = _starts(sample, count, rng)
    for _ in range(ROUNDS):
        centers = _means(sample, nearest_rows(sample, centers), len(centers))
    owners = nearest_rows(points, centers)
    used, owners = np.unique(owners, return_inverse=True)
    return _means(points, owners, len(used)), owners.astype(np.int64)


def nearest_rows(points: Floats, centers: Floats) -> npt.NDArray[np.int64]:
    """The nearest centre of each point, by Euclid's distance; the first of equals."""
    half_squares = np.einsum("ij,ij->i", centers, centers) / 2
    parts = [
        np.argmax(points[at : at + ROWS_AT_ONCE] @ centers.T - half_squares, axis=1)
        for at in range(0, len(points), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _starts(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """k-means++: each start is drawn by its squared distance to those before."""
    rows = [int(rng.integers(len(points)))]
    squares = _squares_to(points, rows[0])
    while len(rows) < count and (total := float(squares.sum())) > 0:
        rows.append(min(int(np.searchsorted(np.cumsum(squares), rng.random() * total)), len(points) - 1))
        squares = np.minimum(squares, _squares_to(points, rows[-1]))
    return points[rows]


def _squares_to(points: Floats, row: int) -> Floats:
    rests = points - points[row]
    squares: Floats = np.einsum("ij,ij->i", rests, rests)
    return squares


def _means(points: Floats, owners: npt.NDArray[np.int64], count: int) -> Floats:
    """Means of those that have points; the others are left out."""
    counts = np.bincount(owners, minlength=count)
    return _sums_by(points, owners, count)[counts > 0] / counts[counts > 0, None]


def _sums_by(rows: Floats, owners: npt.NDArray[np.int64], count: int) -> Floats:
    """float64[count, d]: the rows of each owner added up."""
    sums = np.zeros((count, rows.shape[1]))
    for at in range(0, len(rows), ROWS_AT_ONCE):
        is_own = owners[at : at + ROWS_AT_ONCE, None] == np.arange(count)[None]
        sums += is_own.T.astype(np.float64) @ rows[at : at + ROWS_AT_ONCE]
    return sums
