"""One collection, as the node sees it: arrays in, hits out; its points lie in a shard host.

Today a collection has one shard; `CollectionFile.shards` is a list, so that more can come.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import InputError, RequestError, ShardError
from littoral.vectors import frames
from littoral.vectors.checks import check_payload, checked_ids
from littoral.vectors.client import ShardClient
from littoral.vectors.doubt import Doubt
from littoral.vectors.filters import Filter, parse_filter
from littoral.vectors.queries import QUERY_COUNT_MAX, PayloadChange, PayloadSelector, SearchParams, SearchQuery
from littoral.vectors.records import (
    Acknowledge,
    CollectionConfig,
    FieldSchema,
    Hit,
    Payload,
    PointBatch,
    PointId,
    Record,
    ShardInfo,
)

__all__ = ["DEADLINE_S", "Collection", "QueryOptions", "Vectors", "as_array"]

DEADLINE_S = 10.0
OPTIMIZE_DEADLINE_S = 3600.0

Vectors = npt.NDArray[Any] | Sequence[Any]
"""Real numbers: an array, or (nested) lists."""

_A = TypeVar("_A", bound=frames.Answer)


class QueryOptions(TypedDict, total=False):
    """What a query may say beside its vector. `with_payload` is true by default, `limit` 10."""

    limit: int
    offset: int
    matching: Filter | Mapping[str, Any] | None
    score_threshold: float | None
    with_payload: bool | PayloadSelector
    with_vector: bool
    params: SearchParams


class Collection:
    """Reads and writes of one collection.

    Every call takes a deadline in seconds and raises UnavailableError after it; until then it waits for a host that
    is being restarted, and asks again. InputError, TooLargeError and NotFoundError mean that nothing was changed.
    `epoch` is the highest that any answer carried: it has grown whenever the points have changed.
    """

    def __init__(self, name: str, config: CollectionConfig, shard: ShardClient) -> None:
        self.name = name
        self.config = config
        self.epoch = 0
        self.doubt = Doubt()
        self._shard = shard

    async def upsert(
        self,
        ids: Sequence[PointId],
        vectors: Vectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """Writes points, replacing those that are there; all of them, or with InputError none. The epoch after it.

        vectors: float[n, size]. At most 16 MiB in one call, else TooLargeError.
        """
        batch = PointBatch(
            checked_ids(ids), _packed_rows(vectors, self.config.vectors.size, ids), list(payloads) if payloads else None
        )
        return await self._write(frames.Upsert(call=0, points=batch, acknowledge=acknowledge), deadline_s)

    async def delete(
        self, ids: Sequence[PointId], *, acknowledge: Acknowledge = "durable", deadline_s: float = DEADLINE_S
    ) -> int:
        """Deletes points; an id that is not there is no error."""
        return await self._write(frames.Delete(call=0, ids=checked_ids(ids), acknowledge=acknowledge), deadline_s)

    async def delete_matching(
        self,
        matching: Filter | Mapping[str, Any],
        *,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """Deletes every point the filter finds."""
        request = frames.Delete(call=0, filter=_filter(matching), acknowledge=acknowledge)
        return await self._write(request, deadline_s)

    async def change_payload(
        self, change: PayloadChange, *, acknowledge: Acknowledge = "durable", deadline_s: float = DEADLINE_S
    ) -> int:
        """Raises NotFoundError if one of `change.ids` is not there; then nothing is changed."""
        if change.ids is not None:
            change = msgspec.structs.replace(change, ids=checked_ids(change.ids))
        if change.payload is not None:
            check_payload(change.payload, "payload")
        return await self._write(frames.ChangePayload(call=0, change=change, acknowledge=acknowledge), deadline_s)

    async def create_index(self, field: str, schema: FieldSchema, *, deadline_s: float = DEADLINE_S) -> int:
        """An index on a payload field makes filters on it fast."""
        return await self._write(frames.CreateIndex(call=0, field=field, schema=schema), deadline_s)

    async def delete_index(self, field: str, *, deadline_s: float = DEADLINE_S) -> int:
        """Drops the index of a payload field."""
        return await self._write(frames.DeleteIndex(call=0, field=field), deadline_s)

    async def optimize(self, *, deadline_s: float = OPTIMIZE_DEADLINE_S) -> int:
        """Builds the search graph. The collection answers nothing else meanwhile (16 s for 100 000 × 128)."""
        return await self._write(frames.Optimize(call=0), deadline_s)

    def query(self, vector: Vectors, **options: Unpack[QueryOptions]) -> SearchQuery:
        """A query for `search_batch`. vector: float[size]."""
        return SearchQuery(
            vector=_packed(vector, (self.config.vectors.size,), "query"),
            limit=options.get("limit", 10),
            offset=options.get("offset", 0),
            filter=_filter(options.get("matching")),
            score_threshold=options.get("score_threshold"),
            with_payload=options.get("with_payload", True),
            with_vector=options.get("with_vector", False),
            params=options.get("params", SearchParams()),
        )

    async def search(
        self, vector: Vectors, *, deadline_s: float = DEADLINE_S, **options: Unpack[QueryOptions]
    ) -> list[Hit]:
        """The nearest points, best first. vector: float[size]."""
        return (await self.search_batch([self.query(vector, **options)], deadline_s=deadline_s))[0]

    async def search_batch(self, queries: Sequence[SearchQuery], *, deadline_s: float = DEADLINE_S) -> list[list[Hit]]:
        """One list of hits per query; cheaper than one by one."""
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), QUERY_COUNT_MAX):
            request = frames.Search(call=0, queries=list(queries[start : start + QUERY_COUNT_MAX]))
            found = await self._ask(request, frames.Found, deadline_s)
            self._saw(found.epoch)
            hits += found.hits
        return hits

    async def retrieve(
        self,
        ids: Sequence[PointId],
        *,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> list[Record]:
        """The points that are there, in the order asked for, each once."""
        request = frames.Retrieve(call=0, ids=checked_ids(ids), with_payload=with_payload, with_vector=with_vector)
        found = await self._ask(request, frames.Records, deadline_s)
        self._saw(found.epoch)
        return found.records

    async def scroll(
        self,
        *,
        limit: int = 10,
        offset: PointId | None = None,
        matching: Filter | Mapping[str, Any] | None = None,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> tuple[list[Record], PointId | None]:
        """Points in the order of ids from `offset` on, and the id to go on from (None at the end)."""
        request = frames.Scroll(
            call=0,
            limit=limit,
            offset=None if offset is None else checked_ids([offset])[0],
            filter=_filter(matching),
            with_payload=with_payload,
            with_vector=with_vector,
        )
        found = await self._ask(request, frames.Records, deadline_s)
        self._saw(found.epoch)
        return found.records, found.following

    async def count(
        self,
        matching: Filter | Mapping[str, Any] | None = None,
        *,
        exact: bool = True,
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """How many points the filter finds."""
        found = await self._ask(frames.Count(call=0, filter=_filter(matching), exact=exact), frames.Counted, deadline_s)
        self._saw(found.epoch)
        return found.count

    async def info(self, *, deadline_s: float = DEADLINE_S) -> ShardInfo:
        """Counts, as the store reports them."""
        info = (await self._ask(frames.Info(call=0), frames.Informed, deadline_s)).info
        self._saw(info.epoch)
        return info

    async def statistics(self, *, deadline_s: float = DEADLINE_S) -> frames.Statistics:
        """Counters of the shard host since its start."""
        return (await self._ask(frames.AskStatistics(call=0), frames.Measured, deadline_s)).statistics

    async def _write(self, request: frames.Write, deadline_s: float) -> int:
        number = self.doubt.started()
        try:
            written = await self._ask(request, frames.Written, deadline_s)
        except RequestError:
            raise
        except BaseException:
            self.doubt.lost()
            raise
        self._saw(written.epoch)
        self.doubt.acknowledged(number)
        return written.epoch

    async def _ask(self, request: frames.Request, wanted: type[_A], deadline_s: float) -> _A:
        answer = await self._shard.ask(request, deadline_s)
        if not isinstance(answer, wanted):
            raise ShardError(f"collection `{self.name}`: host answered {type(answer).__name__}, not {wanted.__name__}")
        return answer

    def _saw(self, epoch: int) -> None:
        self.epoch = max(self.epoch, epoch)


def as_array(vector: bytes) -> npt.NDArray[np.float32]:
    """The vector of a Hit or Record as float32[size]; a read-only view."""
    return np.frombuffer(vector, "<f4")


def _filter(matching: Filter | Mapping[str, Any] | None) -> Filter | None:
    return matching if matching is None or isinstance(matching, Filter) else parse_filter(matching)


def _packed_rows(vectors: Vectors, size: int, ids: Sequence[PointId]) -> bytes:
    """float32 bytes of all rows; looks at them one by one only to say which is wrong."""
    if len(vectors) != len(ids):
        raise InputError(f"{len(ids)} ids, {len(vectors)} vectors")
    if not len(ids):
        return b""
    try:
        return _packed(vectors, (len(ids), size), "points")
    except InputError:
        for point_id, vector in zip(ids, vectors, strict=True):
            _packed(vector, (size,), f"point `{point_id}`")
        raise


def _packed(numbers: Vectors, shape: tuple[int, ...], what: str) -> bytes:
    try:
        array = np.asarray(numbers)
    except ValueError as error:
        raise InputError(f"{what}: vector is no list of numbers") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what}: vector is no list of real numbers")
    if array.shape != shape:
        found = f"{array.shape[0]} numbers" if array.ndim == 1 else f"shape {list(array.shape)}"
        raise InputError(f"{what}: vector has {found}, expected {shape[-1]}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as that
        return array.astype("<f4").tobytes()
