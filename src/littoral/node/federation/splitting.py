"""One write as writes of the shards it is for. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from littoral.node.federation.copies import as_copy
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig, PointBatch, PointId

__all__ = ["ByPoints", "Parts", "by_ids", "deletions", "everywhere", "of_found", "some", "updates", "upsert"]

Parts = Mapping[int, Sequence[frames.Write]]
"""By shard."""

ByPoints = frames.UpdateVectors | frames.DeleteVectors | frames.ChangePayload
"""What is done to points that are named, where they lie."""

FLOAT_BYTES = 4


def everywhere(request: frames.Write, shards: Iterable[int]) -> Parts:
    """The same for all."""
    return {shard: [request] for shard in shards}


def upsert(request: frames.Upsert, places: Sequence[Sequence[int]], config: CollectionConfig) -> Parts:
    """places: the shards of each point, its home first."""
    parts: dict[int, list[frames.Write]] = {}
    for shard, rows in _rows(places).items():
        points = _some(request.points, rows, config)
        if copied := {at for at, row in enumerate(rows) if places[row][0] != shard}:
            payloads = points.payloads or [None] * len(rows)
            points.payloads = [as_copy(one) if at in copied else one for at, one in enumerate(payloads)]
        parts[shard] = [msgspec.structs.replace(request, points=points)]
    return parts


def some(request: frames.Upsert, rows: Sequence[int], config: CollectionConfig) -> frames.Upsert:
    """Of some of its points."""
    return msgspec.structs.replace(request, points=_some(request.points, rows, config))


def updates(request: frames.Upsert, homes: Mapping[int, int], config: CollectionConfig) -> Parts:
    """Of points that are there, each in the shard that it is at home in. homes: by row."""
    rows: dict[int, list[int]] = {}
    for row, shard in homes.items():
        rows.setdefault(shard, []).append(row)
    only = msgspec.structs.replace(request, mode="update_only")
    return {shard: [some(only, own, config)] for shard, own in rows.items()}


def deletions(request: frames.Upsert, places: Sequence[Sequence[int]], shards: Iterable[int]) -> Parts:
    """Of an upsert's points, from all shards that they may have been in and are not any more."""
    parts: dict[int, list[frames.Write]] = {}
    for shard in shards:
        ids = [point for point, own in zip(request.points.ids, places, strict=True) if shard not in own]
        if ids:
            parts[shard] = [frames.Delete(call=0, ids=ids, acknowledge=request.acknowledge)]
    return parts


def of_found(
    request: ByPoints, ids: Sequence[PointId], found: Mapping[PointId, Sequence[int]], config: CollectionConfig
) -> Parts:
    """ids: those of the request, checked. found: the shards of each point; those that are not there are left out."""
    rows = _rows([found.get(point, ()) for point in ids])
    return {shard: [_of_rows(request, ids, some, config)] for shard, some in rows.items()}


def _of_rows(request: ByPoints, ids: Sequence[PointId], rows: Sequence[int], config: CollectionConfig) -> ByPoints:
    match request:
        case frames.UpdateVectors(points=points):
            return msgspec.structs.replace(request, points=_some(points, rows, config))
        case frames.DeleteVectors():
            return msgspec.structs.replace(request, ids=[ids[row] for row in rows])
        case frames.ChangePayload(change=change):
            own = msgspec.structs.replace(change, ids=[ids[row] for row in rows])
            return msgspec.structs.replace(request, change=own)


def by_ids(request: frames.Delete, ids: Sequence[PointId], shards: Sequence[int]) -> Parts:
    """shards: of each id."""
    return {
        shard: [msgspec.structs.replace(request, ids=[ids[row] for row in some])]
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
