"""Points in shards, searched as the store does: in float32, exactly, equal scores in the order of ids."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import Distance
from littoral.vectors.routing.summary import ShardSummary, summarize
from littoral.vectors.routing.table import SummaryTable

__all__ = ["Shards", "scores_of", "shards_of", "stored"]

Array = npt.NDArray[np.float32]


def stored(vectors: npt.ArrayLike, distance: Distance) -> Array:
    """As the store keeps them: unit vectors for Cosine."""
    points = np.asarray(vectors, np.float32)
    if distance != "Cosine":
        return points
    lengths = np.sqrt((points.astype(np.float64) ** 2).sum(axis=1))[:, None]
    return (points / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def scores_of(points: Array, query: Array, distance: Distance) -> Array:
    """float32[n], of stored points and a stored query."""
    if distance == "Euclid":
        return np.sqrt(((points - query) ** 2).sum(axis=1))
    if distance == "Manhattan":
        return np.abs(points - query).sum(axis=1)
    return (points * query).sum(axis=1)  # not `@`, whose bits depend on how many rows there are


class Shards(NamedTuple):
    """rows: of the points, by shard."""

    points: Array
    rows: dict[int, npt.NDArray[np.int64]]
    distance: Distance
    table: SummaryTable
    summaries: dict[int, ShardSummary]

    def search(self, shards: Sequence[int], query: Array, k: int) -> tuple[list[int], list[float]]:
        """Ids and scores of the k best in these shards, best first."""
        rows = np.unique(np.concatenate([np.zeros(0, np.int64), *(self.rows[shard] for shard in shards)]))
        scores = scores_of(self.points[rows], query, self.distance)
        order = np.lexsort((rows, scores if self.distance in ("Euclid", "Manhattan") else -scores))[:k]
        return rows[order].tolist(), scores[order].tolist()


def shards_of(vectors: npt.ArrayLike, owners: npt.ArrayLike, distance: Distance, count: int) -> Shards:
    """owners: the shard of each point, 0 … count − 1."""
    points, of = stored(vectors, distance), np.asarray(owners)
    rows = {shard: np.flatnonzero(of == shard) for shard in range(count)}
    summaries = {
        shard: summarize(points[mine], distance, shard=shard, epoch=1, size=points.shape[1])
        for shard, mine in rows.items()
    }
    return Shards(points, rows, distance, SummaryTable(list(rows), summaries, distance, points.shape[1]), summaries)
