"""What the answers need of a collection, and how theirs is made."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Unpack

from littoral.vectors.collection import QueryOptions
from littoral.vectors.filters import Filter
from littoral.vectors.indexes import IndexParams
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.packing import Vectors
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import (
    CollectionConfig,
    FieldSchema,
    Hit,
    Payload,
    PointId,
    PointVectors,
    Record,
    VectorParams,
)
from littoral.vectors.tuning import HnswTuning, Placement, Quantization, Scalar

__all__ = ["Points", "collection_config", "names_of"]


class Points(Protocol):
    """What of a `vectors.collection.Collection` is used: a plain one, or one that is spread over nodes."""

    async def upsert(
        self, ids: Sequence[PointId], vectors: Vectors, payloads: Sequence[Payload | None] | None = None
    ) -> int: ...
    async def update_vectors(self, ids: Sequence[PointId], vectors: list[PointVectors]) -> int: ...
    async def delete(self, ids: Sequence[PointId]) -> int: ...
    async def delete_matching(self, matching: Filter | Mapping[str, Any]) -> int: ...
    async def change_payload(self, change: PayloadChange) -> int: ...
    async def create_index(self, field: str, schema: FieldSchema | IndexParams) -> int: ...
    async def search(self, vector: Vectors, **options: Unpack[QueryOptions]) -> list[Hit]: ...
    async def retrieve(
        self, ids: Sequence[PointId], *, with_payload: bool | PayloadSelector = True, with_vector: bool = False
    ) -> list[Record]: ...
    async def scroll(
        self,
        *,
        limit: int = 10,
        offset: PointId | None = None,
        matching: Filter | Mapping[str, Any] | None = None,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
    ) -> tuple[list[Record], PointId | None]: ...
    async def count(self, matching: Filter | Mapping[str, Any] | None = None) -> int: ...


def names_of(name: str) -> tuple[str, str]:
    """Where answers may lie: in turn, from one embedder to the next."""
    return name, f"{name}-next"


def collection_config(size: int, models: tuple[ModelVersion, ...] = ()) -> CollectionConfig:
    """Of entries whose questions have so many numbers. In memory: bytes for a first look, and the graphs, one for each
    partition; on the disk: half-precision vectors, for the last look, and payloads.
    """
    return CollectionConfig(
        VectorParams(size, "Cosine", memory="cold", datatype="float16"),
        hnsw=HnswTuning(m=0, payload_m=16, max_indexing_threads=1, memory="cached"),
        quantization=Quantization(scalar=Scalar(type="int8", memory="pinned")),
        payload=Placement(memory="cold"),
        models=models,
    )
