"""What the answers need of a collection."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from littoral.vectors.filters import Filter
from littoral.vectors.indexes import IndexParams
from littoral.vectors.packing import Vectors
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import FieldSchema, Hit, Payload, PointId, Record

__all__ = ["Points"]


class Points(Protocol):
    """What of a `vectors.collection.Collection` is used: a plain one, or one that is spread over nodes."""

    async def upsert(
        self, ids: Sequence[PointId], vectors: Vectors, payloads: Sequence[Payload | None] | None = None
    ) -> int: ...
    async def delete(self, ids: Sequence[PointId]) -> int: ...
    async def delete_matching(self, matching: Filter | Mapping[str, Any]) -> int: ...
    async def change_payload(self, change: PayloadChange) -> int: ...
    async def create_index(self, field: str, schema: FieldSchema | IndexParams) -> int: ...
    async def search(self, vector: Vectors, **options: Any) -> list[Hit]: ...
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
