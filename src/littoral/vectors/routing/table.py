"""The summaries of all shards of a collection, side by side, and what they say about a batch of queries."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.errors import PeerError
from littoral.vectors.records import Distance
from littoral.vectors.routing.distances import Floats, between, directions
from littoral.vectors.routing.summary import ShardSummary, balls_of

__all__ = ["Sight", "SummaryTable"]

PRODUCT_ROUNDING = 2.0**-46
"""Of sums of products in float64, relative to the lengths: far above what vectors of 65,536 numbers can lose."""


class Sight(NamedTuple):
    """What the table says of queries.

    bounds: float64[q, s], no point of the shard is nearer; −inf where nothing is known, +inf where there are no points.
    nearest: float64[q, s], the distance of its nearest centroid. means, deviations: float64[q, b], of the squared
    distances (`Dot`: of the distances) of each ball's points. lengths: float64[q], of the queries.
    """

    bounds: Floats
    nearest: Floats
    means: Floats
    deviations: Floats
    lengths: Floats

    def blind(self) -> "Sight":
        """Without what rules shards out."""
        return self._replace(bounds=np.full_like(self.bounds, -np.inf))

    def without(self, columns: Sequence[int]) -> "Sight":
        """As if these shards had no points."""
        bounds = self.bounds.copy()
        bounds[:, list(columns)] = np.inf
        return self._replace(bounds=bounds)

    def rows(self, rows: npt.NDArray[np.int64] | slice) -> "Sight":
        return Sight(*(numbers[rows] for numbers in self))


class SummaryTable:
    """shards: all that the collection has, in one order; those without a summary are unknown: nothing rules them out.
    unproven: shards whose summary tells where points are likely to be, and rules nothing out.

    Raises PeerError where a summary is of another distance or size, or does not fit together.
    """

    def __init__(
        self,
        shards: Sequence[int],
        summaries: Mapping[int, ShardSummary],
        distance: Distance,
        size: int,
        *,
        unproven: Collection[int] = (),
    ) -> None:
        self.shards, self.distance, self.size = tuple(shards), distance, size
        self.index = {shard: at for at, shard in enumerate(self.shards)}
        known = [summaries[shard] for shard in self.shards if shard in summaries]
        for summary in known:
            if (summary.distance, summary.size) != (distance, size):
                told = f"`{summary.distance}` of {summary.size}, the collection has `{distance}` of {size}"
                raise PeerError(f"summary of shard `{summary.shard}`: vectors are {told}")
        parts = [balls_of(summary) for summary in known]
        sizes = [len(part.counts) for part in parts]
        rows = [np.full(count, self.index[summary.shard]) for summary, count in zip(known, sizes, strict=True)]
        self.owners = np.concatenate([np.zeros(0, np.int64), *rows])
        empty = np.zeros((0, size))
        self.centroids = np.concatenate([empty, *(part.centroids for part in parts)])
        self.radii, self.counts, self.traces, self.spreads = (
            np.concatenate([np.zeros(0), *(part[at] for part in parts)]) for at in (1, 2, 3, 4)
        )
        self._squares = np.einsum("ij,ij->i", self.centroids, self.centroids)
        self._reach = np.sqrt(self._squares) + self.radii
        self.longest = float(self._reach.max(initial=0.0))
        self.is_known = np.isin(np.arange(len(self.shards)), [self.index[summary.shard] for summary in known])
        self.points = np.bincount(self.owners, self.counts, len(self.shards))
        self._is_unproven = np.array([shard in unproven for shard in self.shards], bool)
        self._starts = np.searchsorted(self.owners, np.arange(len(self.shards)))

    def see(self, queries: npt.ArrayLike) -> Sight:
        """queries: float32[q, size]."""
        wide = directions(queries, self.distance)
        apart = between(wide, self.centroids, self.distance, point_squares=self._squares)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        sums = lengths[:, None] + self._reach[None]
        if self.distance == "Dot":
            nearest = apart - lengths[:, None] * (self.radii[None] + PRODUCT_ROUNDING * sums)
        else:
            # A distance from products may be off by the root of their rounding, where it is small.
            least = np.sqrt(np.maximum(apart * apart - PRODUCT_ROUNDING * sums * sums, 0.0))
            nearest = np.maximum(least - self.radii[None], 0.0)
        means, deviations = self._moments(apart, lengths)
        bounds = self._least(nearest)
        bounds[:, self._is_unproven] = -np.inf
        return Sight(bounds, self._least(apart), means, deviations, lengths)

    def by_shard(self, of_balls: npt.NDArray[np.float32]) -> Floats:
        """float64[..., balls] added up to float64[..., shards]."""
        sums = np.zeros((*of_balls.shape[:-1], len(self.shards)))
        starts, held = self._filled()
        if len(held):
            sums[..., held] = np.add.reduceat(of_balls, starts, axis=-1)
        return sums

    def _filled(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        held = np.unique(self.owners)
        return self._starts[held], held

    def _least(self, of_balls: Floats) -> Floats:
        least = np.where(self.is_known, np.inf, -np.inf)[None].repeat(len(of_balls), axis=0)
        starts, held = self._filled()
        if len(held):
            of_balls = np.where(self.counts > 0, of_balls, np.inf)
            least[:, held] = np.minimum.reduceat(of_balls, starts, axis=1)
        return least

    def _moments(self, apart: Floats, lengths: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation of the squared distance (Dot: of the distance) of each ball's points, which are taken to
        lie alike in all directions: each has the same part of the trace.
        """
        if self.distance == "Dot":
            return apart, lengths[:, None] * np.sqrt(self.traces / self.size)[None]
        squares = apart * apart
        along = 4 * squares * (self.traces / self.size)[None]
        return squares + self.traces[None], np.sqrt(self.spreads[None] ** 2 + along)
