"""What goes into a shard and comes out of it, as structs; the same ones travel between node and shard host.

Vectors are raw little-endian float32 bytes here. Nothing in this module may import numpy: shard hosts stay small.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from littoral.vectors.model_version import ModelVersion
from littoral.vectors.tuning import (
    HnswTuning,
    MultiVector,
    OptimizerTuning,
    Placement,
    Quantization,
    SparseParams,
)

__all__ = [
    "LOW_FIRST",
    "VECTOR_SIZE_MAX",
    "Acknowledge",
    "CollectionConfig",
    "Distance",
    "FacetValue",
    "FieldSchema",
    "Hit",
    "HitGroup",
    "IndexInfo",
    "Multi",
    "Payload",
    "PointBatch",
    "PointId",
    "PointVectors",
    "Record",
    "ScoredPair",
    "ShardInfo",
    "Sparse",
    "UpdateMode",
    "Vector",
    "VectorParams",
    "VectorsById",
    "vectors_by_id",
    "vectors_of",
]

Distance = Literal["Cosine", "Dot", "Euclid", "Manhattan"]
FieldSchema = Literal["keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"]
UpdateMode = Literal["upsert", "insert_only", "update_only"]
Acknowledge = Literal["applied", "durable"]
"""applied: in the write-ahead log, survives the death of the process.

durable: that log is on the disk, survives a power cut.
"""

PointId = int | str
"""0 … 2⁶⁴ − 1, or a UUID in its canonical form (lower case, hyphens)."""

Payload = dict[str, Any]

LOW_FIRST = frozenset({"Euclid", "Manhattan"})
"""Distances whose score is a distance: the best hit has the lowest."""

VECTOR_SIZE_MAX = 65_536


class Multi(msgspec.Struct, array_like=True, tag="multi"):
    """Several vectors in the place of one: `numbers` holds count × size float32."""

    count: int
    numbers: bytes


class Sparse(msgspec.Struct, array_like=True, tag="sparse"):
    """Only what is not zero: uint32 indices, growing, and a float32 for each."""

    indices: bytes
    values: bytes


Vector = bytes | Multi | Sparse
"""bytes: size float32."""

PointVectors = bytes | Multi | Sparse | dict[str, Vector]
"""A vector without a name, or vectors by their names ("" is that without a name)."""


class VectorParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A vector that points have: how many numbers, what near means, and how it is kept."""

    size: Annotated[int, msgspec.Meta(ge=1, le=VECTOR_SIZE_MAX, description="Numbers of a vector")]
    distance: Annotated[Distance, msgspec.Meta(description="`Cosine`, `Dot`, `Euclid` or `Manhattan`")]
    hnsw_config: HnswTuning | None = None
    quantization_config: Quantization | None = None
    on_disk: bool | None = None
    memory: Literal["cold", "cached", "pinned"] | None = None
    datatype: Literal["float32", "float16", "uint8", "turbo8", "turbo16"] | None = None
    multivector_config: MultiVector | None = None


class CollectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a collection is made with. `vectors` is the one without a name; at least one vector of any kind is there.

    models: whose embeddings they are; several that embed into the same space; none = not known. named_models: the same
    of vectors that have their own, by name; a sparse vector that is not among them is nobody's.
    """

    vectors: VectorParams | None = None
    named: dict[str, VectorParams] = {}
    sparse: dict[str, SparseParams] = {}
    hnsw: HnswTuning | None = None
    optimizers: OptimizerTuning | None = None
    quantization: Quantization | None = None
    payload: Placement | None = None
    id_tracker: Placement | None = None
    metadata: Payload | None = None
    models: tuple[ModelVersion, ...] = ()
    named_models: dict[str, tuple[ModelVersion, ...]] = {}

    @property
    def is_single(self) -> bool:
        """Whether points have one plain vector without a name, and no other."""
        plain = self.vectors
        return plain is not None and plain.multivector_config is None and not self.named and not self.sparse

    def models_of(self, vector: str) -> tuple[ModelVersion, ...]:
        """Whose embeddings the vector of this name is; none = not known."""
        if (found := self.named_models.get(vector)) is not None:
            return found
        return () if vector in self.sparse else self.models

    @property
    def all_models(self) -> tuple[ModelVersion, ...]:
        """Of all its vectors, each once."""
        listed = [self.models_of(vector) for vector in (*self.dense, *self.sparse)]
        return tuple(dict.fromkeys(model for models in listed for model in models))

    @property
    def has_several_models(self) -> bool:
        """Whether one of its vectors is of other models than the others."""
        return len({self.models_of(vector) for vector in self.dense}) > 1

    def with_options_of(self, other: "CollectionConfig") -> "CollectionConfig":
        """The same vectors, of the same models, with the options of one that has the same vectors."""
        dense = {
            name: replace(other.dense[name], size=params.size, distance=params.distance)
            for name, params in self.dense.items()
        }
        kept = {"models": self.models, "named_models": self.named_models}
        return replace(other, vectors=dense.pop("", None), named=dense, **kept)

    def with_models(self, models: Mapping[str, tuple[ModelVersion, ...]]) -> "CollectionConfig":
        """These vectors are of these models from now on, all others of those that they were of."""
        if self.is_single:
            return msgspec.structs.replace(self, models=models.get("", self.models), named_models={})
        kept = {vector: found for vector in self.dense if (found := self.models_of(vector))}
        return msgspec.structs.replace(self, models=(), named_models={**self.named_models, **kept, **models})

    def with_sizes(self, sizes: Mapping[str, int]) -> "CollectionConfig":
        """Dense vectors of so many numbers; all others as they are. Names that it does not have are left out."""
        resized = {
            name: params if sizes.get(name, params.size) == params.size else replace(params, size=sizes[name])
            for name, params in self.dense.items()
        }
        named = {name: resized[name] for name in self.named}
        return replace(self, vectors=None if self.vectors is None else resized[""], named=named)

    def without(self, vector: str) -> "CollectionConfig":
        """Without the vector of this name."""
        named = {name: params for name, params in self.named.items() if name != vector}
        sparse = {name: params for name, params in self.sparse.items() if name != vector}
        models = {name: found for name, found in self.named_models.items() if name != vector}
        return msgspec.structs.replace(self, named=named, sparse=sparse, named_models=models)

    @property
    def dense(self) -> dict[str, VectorParams]:
        """All that are not sparse, by name; the one without a name is ""."""
        return self.named if self.vectors is None else {"": self.vectors, **self.named}


class PointBatch(msgspec.Struct, array_like=True):
    """Points to write, in columns. `payloads` None = none has one.

    vectors: len(ids) × size float32 where a collection has one vector and that has no name, else one entry per point.
    """

    ids: list[PointId]
    vectors: bytes | list[PointVectors]
    payloads: list[Payload | None] | None = None


class Hit(msgspec.Struct, array_like=True):
    """One answer of a search. `vector` is there if it was asked for, `order_value` if the order was by payload."""

    id: PointId
    score: float
    version: int
    payload: Payload | None = None
    vector: PointVectors | None = None
    order_value: int | float | None = None


class Record(msgspec.Struct, array_like=True):
    """One stored point. `vector` is there if it was asked for, `order_value` if the order was by payload."""

    id: PointId
    payload: Payload | None = None
    vector: PointVectors | None = None
    order_value: int | float | None = None


VectorsById = dict[PointId, Vector]


def vectors_by_id(records: Iterable[Record | Hit], name: str) -> VectorsById:
    """The vectors of that name, of those records that have one."""
    found: VectorsById = {}
    for record in records:
        vectors = record.vector if isinstance(record.vector, dict) else {"": record.vector}
        if (vector := vectors.get(name)) is not None:
            found[record.id] = vector
    return found


def vectors_of(batch: PointBatch, name: str) -> list[bytes | None]:
    """Of each point the dense vector of that name, None where it has none."""
    if isinstance(batch.vectors, bytes):
        size = len(batch.vectors) // max(1, len(batch.ids))
        return [None if name else batch.vectors[at * size : (at + 1) * size] for at in range(len(batch.ids))]
    named = (row if isinstance(row, dict) else {"": row} for row in batch.vectors)
    return [found if isinstance(found := row.get(name), bytes) else None for row in named]


class HitGroup(msgspec.Struct, array_like=True):
    """Hits that have the value `id` in common, best first."""

    id: PointId
    hits: list[Hit]


class FacetValue(msgspec.Struct, array_like=True):
    """A value of a payload field, and how many points have it."""

    value: bool | int | str
    count: int


class ScoredPair(msgspec.Struct, array_like=True):
    """Two points and their nearness."""

    a: PointId
    b: PointId
    score: float


class IndexInfo(msgspec.Struct, omit_defaults=True):
    """An index on a payload field. points: how many have a value there. params: as it was made, in Qdrant's JSON."""

    data_type: FieldSchema
    points: int
    params: dict[str, Any] | None = None


class ShardInfo(msgspec.Struct):
    """Counts are those of the store itself: `indexed_vectors_count` lags until the shard is optimised."""

    points_count: int
    indexed_vectors_count: int
    segments_count: int
    payload_schema: dict[str, IndexInfo]
    epoch: int
    is_optimizing: bool = False
