"""What a node knows of a shard that it does not hold: balls that hold all its points, and how the points lie in them.

Each point of the shard lies in at least one ball: within `radius` of its centroid, in the collection's distance
(Euclid's for Dot). Writes after the summary was made are put in by `widened`, so that this stays true; what is deleted
leaves balls that are larger than they need to be. Seeded: the same vectors give the same summary.
"""

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import PeerError
from littoral.vectors.records import Distance
from littoral.vectors.routing import halves
from littoral.vectors.routing.distances import Floats, between, directions
from littoral.vectors.routing.payload_summary import KeyValues
from littoral.vectors.routing.seeded_means import nearest_rows, seeded_means

__all__ = ["BYTES_MAX", "Balls", "ShardSummary", "balls_of", "summarize", "widened"]

BYTES_MAX = 128 << 10
BALLS_MAX = 128
NEW_BALLS_SHARE = 8
"""An eighth of the balls is kept for points that come later and lie outside of all."""

POINTS_PER_BALL_MIN = 4
WIDENING = 1 + 1e-6
BYTES_BESIDE = 128
BYTES_BESIDE_KEY = 64


class ShardSummary(msgspec.Struct, frozen=True, array_like=True):
    """One shard at one epoch, as it travels. distance: the vector's; size: its numbers; count: points.

    centroids: rows as `halves` packs them, [balls, size]. radii: float32[balls], none too small. counts: uint32[balls].
    traces, deviations: float32[balls], mean and standard deviation of the points' squared distance to their centroid.
    payload: what the points have at indexed keys. named: of further vectors, by name, each with its own balls; what
    they say beside balls counts for nothing.
    """

    shard: int
    epoch: int
    distance: Distance
    size: int
    count: int
    centroids: bytes
    radii: bytes
    counts: bytes
    traces: bytes
    deviations: bytes
    payload: dict[str, KeyValues] = {}
    vector: str = ""
    named: "dict[str, ShardSummary]" = {}

    def of(self, vector: str) -> "ShardSummary | None":
        """Of the vector with this name."""
        return self if vector == self.vector else self.named.get(vector)

    @property
    def bytes(self) -> int:
        """About what it takes on the way."""
        numbers = (self.centroids, self.radii, self.counts, self.traces, self.deviations)
        keys = sum(len(key) + len(values.words) + BYTES_BESIDE_KEY for key, values in self.payload.items())
        return sum(map(len, numbers)) + BYTES_BESIDE + keys + sum(one.bytes for one in self.named.values())


class Balls(NamedTuple):
    """A summary's numbers: centroids float64[b, d], the others float64[b]."""

    centroids: Floats
    radii: Floats
    counts: Floats
    traces: Floats
    deviations: Floats


def balls_max(size: int, bytes_max: int = BYTES_MAX) -> int:
    """How many balls of vectors of this size fit; at least one."""
    return max(1, min(BALLS_MAX, (bytes_max - BYTES_BESIDE) // (20 + 2 * size)))


def summarize(
    vectors: npt.ArrayLike,
    distance: Distance,
    *,
    shard: int,
    epoch: int,
    size: int,
    seed: int = 0,
    bytes_max: int = BYTES_MAX,
) -> ShardSummary:
    """vectors: float32[n, size], as they are stored; n may be 0."""
    points = directions(np.asarray(vectors, np.float64).reshape(-1, size), distance)
    most = balls_max(size, bytes_max)
    wanted = min(most - most // NEW_BALLS_SHARE, -(-len(points) // POINTS_PER_BALL_MIN))
    centers, owners = seeded_means(points, wanted, seed=seed)
    centers = halves.unpack(halves.pack(centers), *centers.shape)
    return _encoded(_measured(points, centers, owners, distance), distance, shard, epoch, size)


def widened(summary: ShardSummary, vectors: npt.ArrayLike, *, epoch: int, bytes_max: int = BYTES_MAX) -> ShardSummary:
    """The summary with points that were written since: its balls grow, or there are new ones for what lies outside."""
    points = directions(np.asarray(vectors, np.float64).reshape(-1, summary.size), summary.distance)
    if not len(points):
        return msgspec.structs.replace(summary, epoch=epoch)
    old = balls_of(summary)
    free = balls_max(summary.size, bytes_max) - len(old.counts)
    outside = _outside(points, old, summary.distance)
    parts = []
    if free > 0 and outside.any():
        far = points[outside]
        centers, owners = seeded_means(far, min(free, -(-len(far) // POINTS_PER_BALL_MIN)), seed=epoch)
        centers = halves.unpack(halves.pack(centers), *centers.shape)
        parts.append(_measured(far, centers, owners, summary.distance))
        points = points[~outside]
    if len(points):
        owners = nearest_rows(points, old.centroids)
        old = _joined(old, _measured(points, old.centroids, owners, summary.distance))
    balls = Balls(*(np.concatenate(arrays) for arrays in zip(old, *parts, strict=True)))
    fresh = _encoded(balls, summary.distance, summary.shard, epoch, summary.size)
    return msgspec.structs.replace(fresh, payload=summary.payload, vector=summary.vector, named=summary.named)


def balls_of(summary: ShardSummary) -> Balls:
    """Raises PeerError where the summary's parts do not fit together."""
    count = len(summary.counts) // 4
    columns = (summary.radii, summary.counts, summary.traces, summary.deviations)
    if any(len(column) != 4 * count for column in columns):
        raise PeerError(f"summary of shard `{summary.shard}`: columns of {count} balls differ in length")
    radii, traces, deviations = (
        np.frombuffer(column, "<f4").astype(np.float64)
        for column in (summary.radii, summary.traces, summary.deviations)
    )
    counts = np.frombuffer(summary.counts, "<u4").astype(np.float64)
    balls = Balls(halves.unpack(summary.centroids, count, summary.size), radii, counts, traces, deviations)
    if not all(np.isfinite(numbers).all() for numbers in balls) or (radii < 0).any():
        raise PeerError(f"summary of shard `{summary.shard}`: a number of its balls is not finite, or a radius below 0")
    return balls


def _outside(points: Floats, balls: Balls, distance: Distance) -> npt.NDArray[np.bool_]:
    if not len(balls.counts):
        return np.ones(len(points), bool)
    apart = between(points, balls.centroids, _metric(distance))
    return np.asarray((apart > balls.radii[None] * WIDENING).all(axis=1))


def _metric(distance: Distance) -> Distance:
    return "Euclid" if distance == "Dot" else distance


def _measured(points: Floats, centers: Floats, owners: npt.NDArray[np.int64], distance: Distance) -> Balls:
    """Numbers of the points about their own centre."""
    count = len(centers)
    rests = points - centers[owners] if len(points) else points
    apart = np.abs(rests).sum(axis=1) if distance == "Manhattan" else np.sqrt(np.einsum("ij,ij->i", rests, rests))
    radii, counts = np.zeros(count), np.bincount(owners, minlength=count).astype(np.float64)
    np.maximum.at(radii, owners, apart)
    squares, some = apart * apart, np.maximum(counts, 1)
    traces = np.bincount(owners, squares, count) / some
    deviations = np.sqrt(np.maximum(np.bincount(owners, squares * squares, count) / some - traces * traces, 0.0))
    return Balls(centers, radii, counts, traces, deviations)


def _joined(first: Balls, second: Balls) -> Balls:
    """Two sets of points about the same centres."""
    counts = first.counts + second.counts
    share = second.counts / np.maximum(counts, 1)
    traces = first.traces + share * (second.traces - first.traces)
    fourths = [balls.deviations**2 + balls.traces**2 for balls in (first, second)]
    fourth = fourths[0] + share * (fourths[1] - fourths[0])
    deviations = np.sqrt(np.maximum(fourth - traces * traces, 0.0))
    return Balls(first.centroids, np.maximum(first.radii, second.radii), counts, traces, deviations)


def _encoded(balls: Balls, distance: Distance, shard: int, epoch: int, size: int) -> ShardSummary:
    radii = np.where(balls.counts > 0, balls.radii * WIDENING, 0.0)
    return ShardSummary(
        shard=shard,
        epoch=epoch,
        distance=distance,
        size=size,
        count=int(balls.counts.sum()),
        centroids=halves.pack(balls.centroids),
        radii=np.nextafter(radii.astype("<f4"), np.float32(np.inf)).astype("<f4").tobytes(),
        counts=balls.counts.astype("<u4").tobytes(),
        traces=balls.traces.astype("<f4").tobytes(),
        deviations=balls.deviations.astype("<f4").tobytes(),
    )
