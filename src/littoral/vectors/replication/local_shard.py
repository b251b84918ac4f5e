"""The shard that a replica writes to: what it needs of a `Collection`, and points read from it in bounded answers."""

from collections.abc import Sequence
from typing import Protocol

from littoral.errors import TooLargeError
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import (
    Acknowledge,
    CollectionConfig,
    PointBatch,
    PointId,
    PointVectors,
    Record,
    UpdateMode,
)
from littoral.vectors.replication.entries import Change

__all__ = ["LocalShard", "found_ids", "read_points"]

DEADLINE_S = 10.0
ANSWER_BYTES = 4 << 20
FLOAT_BYTES = 4
POINT_BYTES = 1024
PAGE_COUNT_MAX = 4096


class LocalShard(Protocol):
    """As `vectors.collection.Collection`."""

    name: str
    config: CollectionConfig

    async def upsert_points(
        self,
        batch: PointBatch,
        *,
        mode: UpdateMode = "upsert",
        condition: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int: ...

    async def delete(
        self, ids: Sequence[PointId], *, acknowledge: Acknowledge = "durable", deadline_s: float = DEADLINE_S
    ) -> int: ...

    async def update_vectors(
        self,
        ids: Sequence[PointId],
        vectors: list[PointVectors],
        *,
        condition: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int: ...

    async def delete_vectors(
        self,
        names: Sequence[str],
        *,
        ids: Sequence[PointId] | None = None,
        matching: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int: ...

    async def change_payload(
        self, change: PayloadChange, *, acknowledge: Acknowledge = "durable", deadline_s: float = DEADLINE_S
    ) -> int: ...

    async def retrieve(
        self,
        ids: Sequence[PointId],
        *,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
        deadline_s: float = DEADLINE_S,
    ) -> list[Record]: ...

    async def scroll(
        self,
        *,
        limit: int = 10,
        offset: PointId | None = None,
        matching: Filter | None = None,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
        deadline_s: float = DEADLINE_S,
    ) -> tuple[list[Record], PointId | None]: ...

    async def pack(self, target: str, *, deadline_s: float = DEADLINE_S) -> int: ...


async def read_points(
    shard: LocalShard, ids: Sequence[PointId], *, deadline_s: float = DEADLINE_S
) -> dict[PointId, Change]:
    """How those points are that are there, in as many answers as it takes."""
    found: dict[PointId, Change] = {}
    at, count = 0, _page_count(shard.config)
    while at < len(ids):
        page = ids[at : at + count]
        try:
            records = await shard.retrieve(page, with_vector=True, deadline_s=deadline_s)
        except TooLargeError:
            if len(page) == 1:
                raise
            count = len(page) // 2
            continue
        for record in records:
            found[record.id] = Change(record.id, {} if record.vector is None else record.vector, record.payload or None)
        at += len(page)
    return found


def _page_count(config: CollectionConfig) -> int:
    numbers = sum(params.size for params in config.dense.values())
    return max(1, min(PAGE_COUNT_MAX, ANSWER_BYTES // (numbers * FLOAT_BYTES + POINT_BYTES)))


async def found_ids(
    shard: LocalShard, matching: Filter | None = None, *, deadline_s: float = DEADLINE_S
) -> list[PointId]:
    """Ids of all points that the filter finds."""
    ids: list[PointId] = []
    offset: PointId | None = None
    while True:
        records, offset = await shard.scroll(
            limit=PAGE_COUNT_MAX, offset=offset, matching=matching, with_payload=False, deadline_s=deadline_s
        )
        ids += [record.id for record in records]
        if offset is None:
            return ids
