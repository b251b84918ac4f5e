"""One summary of a shard whose points have several vectors: balls of each, under one epoch.

A point that lacks a vector is in none of its balls: who searches by it does not look for such a point. All of them
together take the room of one.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.vectors.records import CollectionConfig, VectorParams
from littoral.vectors.routing.distances import between, directions
from littoral.vectors.routing.summary import BYTES_MAX, ShardSummary, balls_of, summarize, widened

__all__ = ["Rows", "RowsByName", "are_inside", "is_summed", "summarize_all", "summed", "widened_all"]

EXACT_DATATYPES = (None, "float32")

Rows = npt.NDArray[np.float32]
RowsByName = Mapping[str, Rows]
"""By the vector's name, float32[n, size]: of those points that have it."""


def summed(config: CollectionConfig) -> dict[str, VectorParams]:
    """Vectors that summaries tell of: dense, one a point, kept as they are. By name, always in the same order."""
    return {name: params for name, params in sorted(config.dense.items()) if is_summed(params)}


def is_summed(params: VectorParams) -> bool:
    """Whether summaries tell of such a vector."""
    return params.multivector_config is None and params.datatype in EXACT_DATATYPES


def summarize_all(
    rows: RowsByName, params: Mapping[str, VectorParams], *, shard: int, epoch: int, bytes_max: int = BYTES_MAX
) -> ShardSummary:
    """params: of each vector, at least one."""
    room = bytes_max // len(params)
    parts = {
        name: summarize(rows[name], one.distance, shard=shard, epoch=epoch, size=one.size, bytes_max=room)
        for name, one in params.items()
    }
    first, *rest = parts
    return msgspec.structs.replace(parts[first], vector=first, named={name: parts[name] for name in rest})


def widened_all(summary: ShardSummary, rows: RowsByName, *, epoch: int, bytes_max: int = BYTES_MAX) -> ShardSummary:
    """As `widened`, each vector in its own balls."""
    room = bytes_max // (1 + len(summary.named))
    named = {name: _widened(one, rows, name, epoch, room) for name, one in summary.named.items()}
    first = _widened(summary, rows, summary.vector, epoch, room)
    return msgspec.structs.replace(first, epoch=epoch, named=named)


def _widened(part: ShardSummary, rows: RowsByName, name: str, epoch: int, bytes_max: int) -> ShardSummary:
    found = rows.get(name)
    return part if found is None or not len(found) else widened(part, found, epoch=epoch, bytes_max=bytes_max)


def are_inside(summary: ShardSummary, rows: RowsByName) -> bool:
    """Whether each of these vectors lies in a ball of its own name."""
    parts = ((summary.of(name), vectors) for name, vectors in rows.items())
    return all(_is_inside(part, vectors) for part, vectors in parts if part is not None)


def _is_inside(part: ShardSummary, vectors: Rows) -> bool:
    balls = balls_of(part)
    if not len(balls.counts) or not len(vectors):
        return not len(vectors)
    metric = "Euclid" if part.distance == "Dot" else part.distance
    apart = between(directions(vectors.astype(np.float64), part.distance), balls.centroids, metric)
    return bool((apart <= balls.radii[None]).any(axis=1).all())
