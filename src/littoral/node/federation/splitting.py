"""One write as writes of the shards it is for. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from littoral.errors import NotOfferedError
from littoral.node.federation.placing import Placing
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig, PointBatch, PointId

__all__ = ["Parts", "by_ids", "by_points", "change_by_ids", "everywhere", "has_leavers", "upsert"]

Parts = Mapping[int, Sequence[frames.Write]]
"""By shard."""

FLOAT_BYTES = 4


def everywhere(request: frames.Write, shards: Iterable[int]) -> Parts:
    """The same for all."""
    return {shard: [request] for shard in shards}


def has_leavers(parts: Parts) -> bool:
    """Whether its deletions are of points that go to another shard."""
    return any(isinstance(request, frames.Upsert) for requests in parts.values() for request in requests)


def upsert(request: frames.Upsert, placing: Placing, config: CollectionConfig, shards: Iterable[int]) -> Parts:
    """Where vectors decide, a point that moves leaves the shards it was in: they are told to delete it."""
    batch = request.points
    rows = _rows(placing.of_points(batch))
    parts: dict[int, list[frames.Write]] = {
        shard: [msgspec.structs.replace(request, points=_some(batch, some, config))] for shard, some in rows.items()
    }
    if placing.is_by_id:
        return parts
    if request.mode != "upsert" or request.condition is not None:
        raise NotOfferedError("upsert: a mode or a filter is not offered where vectors decide where a point lies")
    for shard in shards:
        here = set(rows.get(shard, ()))
        if others := [point_id for row, point_id in enumerate(batch.ids) if row not in here]:
            parts.setdefault(shard, []).append(frames.Delete(call=0, ids=others, acknowledge=request.acknowledge))
    return parts


def by_points(request: frames.UpdateVectors, shards: Sequence[int], config: CollectionConfig) -> Parts:
    """shards: of each point."""
    return {
        shard: [msgspec.structs.replace(request, points=_some(request.points, some, config))]
        for shard, some in _rows([[shard] for shard in shards]).items()
    }


def by_ids(request: frames.Delete | frames.DeleteVectors, ids: Sequence[PointId], shards: Sequence[int]) -> Parts:
    """shards: of each id."""
    return {
        shard: [msgspec.structs.replace(request, ids=[ids[row] for row in some])]
        for shard, some in _rows([[shard] for shard in shards]).items()
    }


def change_by_ids(request: frames.ChangePayload, ids: Sequence[PointId], shards: Sequence[int]) -> Parts:
    """shards: of each id."""
    return {
        shard: [
            msgspec.structs.replace(
                request, change=msgspec.structs.replace(request.change, ids=[ids[row] for row in some])
            )
        ]
        for shard, some in _rows([[shard] for shard in shards]).items()
    }


def _rows(places: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Of each shard, the rows of its points."""
    rows: dict[int, list[int]] = {}
    for row, shards in enumerate(places):
        for shard in shards:
            rows.setdefault(shard, []).append(row)
    return rows


def _some(batch: PointBatch, rows: Sequence[int], config: CollectionConfig) -> PointBatch:
    payloads = None if batch.payloads is None else [batch.payloads[row] for row in rows]
    ids = [batch.ids[row] for row in rows]
    if isinstance(batch.vectors, list):
        return PointBatch(ids, [batch.vectors[row] for row in rows], payloads)
    assert config.vectors is not None
    size = config.vectors.size * FLOAT_BYTES
    return PointBatch(ids, b"".join(batch.vectors[row * size : (row + 1) * size] for row in rows), payloads)
