"""What goes into a shard and comes out of it, as structs; the same ones travel between node and shard host.

Vectors are raw little-endian float32 bytes here. Nothing in this module may import numpy: shard hosts stay small.
"""

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "LOW_FIRST",
    "Acknowledge",
    "CollectionConfig",
    "Distance",
    "FieldSchema",
    "Hit",
    "Payload",
    "PointBatch",
    "PointId",
    "Record",
    "ShardInfo",
    "VectorParams",
]

Distance = Literal["Cosine", "Dot", "Euclid", "Manhattan"]
FieldSchema = Literal["keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"]
Acknowledge = Literal["applied", "durable"]
"""applied: in the write-ahead log, survives the death of the process. durable: flushed, survives a power cut."""

PointId = int | str
"""0 … 2⁶⁴ − 1, or a UUID in its canonical form (lower case, hyphens)."""

Payload = dict[str, Any]

LOW_FIRST = frozenset({"Euclid", "Manhattan"})
"""Distances whose score is a distance: the best hit has the lowest."""

VECTOR_SIZE_MAX = 65_536


class VectorParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one vector of a point: how many numbers, and what near means."""

    size: Annotated[int, msgspec.Meta(ge=1, le=VECTOR_SIZE_MAX, description="Numbers of a vector")]
    distance: Annotated[Distance, msgspec.Meta(description="`Cosine`, `Dot`, `Euclid` or `Manhattan`")]


class CollectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a collection is made with; it never changes afterwards."""

    vectors: VectorParams


class PointBatch(msgspec.Struct, array_like=True):
    """Points to write, in columns. `vectors` holds len(ids) × size float32; `payloads` None = none has one."""

    ids: list[PointId]
    vectors: bytes
    payloads: list[Payload | None] | None = None


class Hit(msgspec.Struct, array_like=True):
    """One answer of a search. `vector` is float32 bytes if it was asked for."""

    id: PointId
    score: float
    version: int
    payload: Payload | None = None
    vector: bytes | None = None


class Record(msgspec.Struct, array_like=True):
    """One stored point. `vector` is float32 bytes if it was asked for."""

    id: PointId
    payload: Payload | None = None
    vector: bytes | None = None


class ShardInfo(msgspec.Struct):
    """Counts are those of the store itself: `indexed_vectors_count` lags until the shard is optimised."""

    points_count: int
    indexed_vectors_count: int
    segments_count: int
    payload_schema: dict[str, FieldSchema]
    epoch: int
