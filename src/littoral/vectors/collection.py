"""One collection, as the node sees it: arrays in, hits out; its points lie in a shard host.

Today a collection has one shard; `CollectionFile.shards` is a list, so that more can come.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, Unpack

import msgspec

from littoral.errors import InputError, RequestError, ShardError
from littoral.vectors import frames
from littoral.vectors.asks import Nearest, OrderBy
from littoral.vectors.checks import check_payload, checked_ids
from littoral.vectors.client import ShardClient
from littoral.vectors.doubt import Doubt
from littoral.vectors.encrypted.shard import SealedShard
from littoral.vectors.filters import Filter, parse_filter
from littoral.vectors.indexes import IndexParams
from littoral.vectors.model_version import ModelVersion, mixed
from littoral.vectors.packing import Vectors, as_array, packed, packed_rows
from littoral.vectors.queries import QUERY_COUNT_MAX, PayloadChange, PayloadSelector, SearchParams, SearchQuery
from littoral.vectors.records import (
    Acknowledge,
    CollectionConfig,
    FacetValue,
    FieldSchema,
    Hit,
    HitGroup,
    Payload,
    PointBatch,
    PointId,
    PointVectors,
    Record,
    ScoredPair,
    ShardInfo,
    UpdateMode,
    VectorParams,
)
from littoral.vectors.tuning import SparseParams

if TYPE_CHECKING:
    from littoral.vectors.quota import StoreQuota

__all__ = ["DEADLINE_S", "Collection", "QueryOptions", "ShardAnswers", "Vectors", "as_array"]

DEADLINE_S = 10.0
OPTIMIZE_DEADLINE_S = 3600.0

_A = TypeVar("_A", bound=frames.Answer)


class ShardAnswers(Protocol):
    """Where the points lie: a shard host, or several of them that answer as one."""

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """Raises what the request, the shard or the way to it is at fault for; never gives a `Failure`."""
        ...


class QueryOptions(TypedDict, total=False):
    """What a query may say beside its vector. `with_payload` is true by default, `limit` 10.

    using: the vector that is compared, by its name.
    """

    limit: int
    offset: int
    matching: Filter | Mapping[str, Any] | None
    score_threshold: float | None
    with_payload: bool | PayloadSelector
    with_vector: bool | list[str]
    params: SearchParams
    using: str


class Collection:
    """Reads and writes of one collection.

    Every call takes a deadline in seconds and raises UnavailableError after it; until then it waits for a host that
    is being restarted, and asks again. InputError, TooLargeError and NotFoundError mean that nothing was changed.
    `epoch` is the highest that any answer carried: it has grown whenever the points have changed.
    other: the same points embedded by another model, during a migration. instead: does the writes, then.
    quota: that each write is held against; None: there is none.
    """

    def __init__(self, name: str, config: CollectionConfig, shard: ShardAnswers) -> None:
        self.name = name
        self.config = config
        self.epoch = 0
        self.doubt = Doubt()
        self.is_strict = False
        self.other: Collection | None = None
        self.instead: Callable[[frames.Write, float], Awaitable[int]] | None = None
        self.quota: StoreQuota | None = None
        self._shard = shard

    @property
    def life(self) -> str:
        """Another once its points were exchanged as a whole (made anew, recovered); empty if it has no one shard."""
        return self._shard.life if isinstance(self._shard, ShardClient | SealedShard) else ""

    @property
    def shard(self) -> ShardAnswers:
        """Where the points lie."""
        return self._shard

    def holds(self, model: ModelVersion, vector: str = "") -> bool:
        """Whether vectors of this model may meet those of that name; true while nobody knows whose they are."""
        models = self.config.models_of(vector)
        return not models or any(model.is_same(one) for one in models)

    def of(self, model: ModelVersion | None, vector: str = "") -> "Collection":
        """As `of_all`, for one vector."""
        return self.of_all({vector: model})

    def of_all(self, models: Mapping[str, ModelVersion | None]) -> "Collection":
        """The generation whose vectors of these names are of these models; itself while nobody knows whose they are.

        Raises ConflictError where neither's are, and for None, which is not told, if it is strict.
        """
        told = {vector: model for vector, model in models.items() if model is not None}
        if self.is_strict and (untold := [vector for vector in models if vector not in told]):
            raise mixed(self.name, self.config.models_of(untold[0]), None, untold[0])
        strange = [vector for vector, model in told.items() if not self.holds(model, vector)]
        if not strange:
            return self
        if self.other is not None and all(self.other.holds(model, vector) for vector, model in told.items()):
            return self.other
        raise mixed(self.name, self.config.models_of(strange[0]), told[strange[0]], strange[0])

    async def upsert(
        self,
        ids: Sequence[PointId],
        vectors: Vectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        vector: str = "",
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """Writes points, replacing those that are there; all of them, or with InputError none. The epoch after it.

        vectors: float[n, size]. vector: their name. At most 16 MiB in one call, else TooLargeError.
        """
        size = self._plain_size(vector)
        rows = packed_rows(vectors, size, ids)
        batch = PointBatch(checked_ids(ids), _named_rows(rows, vector, 4 * size), list(payloads) if payloads else None)
        return await self._write(frames.Upsert(call=0, points=batch, acknowledge=acknowledge), deadline_s)

    def _plain_size(self, vector: str) -> int:
        if (params := self.config.dense.get(vector)) is None or params.multivector_config is not None:
            called = f"`{vector[:80]}`" if vector else "without a name"
            raise InputError(f"collection `{self.name}` has no plain vector {called}")
        return params.size

    async def upsert_points(
        self,
        batch: PointBatch,
        *,
        mode: UpdateMode = "upsert",
        condition: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """`upsert` for points with vectors of any kinds.

        mode, condition: which of the points that are there, or are not, are left as they are.
        """
        request = frames.Upsert(call=0, points=batch, acknowledge=acknowledge, mode=mode, condition=condition)
        return await self._write(request, deadline_s)

    async def update_vectors(
        self,
        ids: Sequence[PointId],
        vectors: list[PointVectors],
        *,
        condition: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """Replaces vectors of points that are there; payloads and other vectors stay. Raises NotFoundError."""
        batch = PointBatch(checked_ids(ids), vectors)
        request = frames.UpdateVectors(call=0, points=batch, acknowledge=acknowledge, condition=condition)
        return await self._write(request, deadline_s)

    async def delete_vectors(
        self,
        names: Sequence[str],
        *,
        ids: Sequence[PointId] | None = None,
        matching: Filter | None = None,
        acknowledge: Acknowledge = "durable",
        deadline_s: float = DEADLINE_S,
    ) -> int:
        """Takes vectors from the points in `ids`, or from those that the filter finds; the points stay."""
        found = None if ids is None else checked_ids(ids)
        request = frames.DeleteVectors(call=0, names=list(names), ids=found, filter=matching, acknowledge=acknowledge)
        return await self._write(request, deadline_s)

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

    async def create_index(
        self, field: str, schema: FieldSchema | IndexParams, *, deadline_s: float = DEADLINE_S
    ) -> int:
        """An index on a payload field makes filters on it fast."""
        return await self._write(frames.CreateIndex(call=0, field=field, schema=schema), deadline_s)

    async def delete_index(self, field: str, *, deadline_s: float = DEADLINE_S) -> int:
        """Drops the index of a payload field."""
        return await self._write(frames.DeleteIndex(call=0, field=field), deadline_s)

    async def add_vector(
        self, name: str, params: VectorParams | SparseParams, *, deadline_s: float = DEADLINE_S
    ) -> int:
        """From now on points may have a vector of this name. The caller keeps it in the collection's file."""
        dense, sparse = (params, None) if isinstance(params, VectorParams) else (None, params)
        return await self._write(frames.AddVector(call=0, name=name, dense=dense, sparse=sparse), deadline_s)

    async def drop_vector(self, name: str, *, deadline_s: float = DEADLINE_S) -> int:
        """No point has a vector of this name any more. The caller takes it out of the collection's file."""
        return await self._write(frames.DropVector(call=0, name=name), deadline_s)

    async def configure(self, config: CollectionConfig, *, deadline_s: float = DEADLINE_S) -> int:
        """The same vectors with other options. The caller keeps them in the collection's file."""
        epoch = await self._write(frames.Configure(call=0, config=config), deadline_s)
        self.config = config
        return epoch

    async def pack(self, target: str, *, deadline_s: float = DEADLINE_S) -> int:
        """Writes a snapshot to a file that is not there yet; writes wait meanwhile, reads go on."""
        return await self._write(frames.Pack(call=0, target=target), deadline_s)

    async def optimize(self, *, deadline_s: float = OPTIMIZE_DEADLINE_S) -> int:
        """Builds the search graph, beside reads and writes (16 s for 100 000 × 128)."""
        return await self._write(frames.Optimize(call=0), deadline_s)

    def query(self, vector: Vectors, **options: Unpack[QueryOptions]) -> SearchQuery:
        """A query for `search_batch`. vector: float[size]."""
        using = options.get("using", "")
        numbers = packed(vector, (self._plain_size(using),), "query")
        return SearchQuery(
            ask=Nearest(numbers) if using else numbers,
            limit=options.get("limit", 10),
            offset=options.get("offset", 0),
            filter=_filter(options.get("matching")),
            score_threshold=options.get("score_threshold"),
            with_payload=options.get("with_payload", True),
            with_vector=options.get("with_vector", False),
            params=options.get("params", SearchParams()),
            using=using,
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

    async def search_told(self, queries: Sequence[SearchQuery], *, deadline_s: float = DEADLINE_S) -> list[bytes]:
        """As `search_batch`, each list as JSON (Qdrant's). Queries that ask for vectors are for `search_batch`."""
        hits: list[bytes] = []
        for start in range(0, len(queries), QUERY_COUNT_MAX):
            request = frames.Search(call=0, queries=list(queries[start : start + QUERY_COUNT_MAX]), as_json=True)
            found = await self._ask(request, frames.Told, deadline_s)
            self._saw(found.epoch)
            hits += found.hits
        return hits

    async def group(
        self, query: SearchQuery, by: str, *, size: int = 3, deadline_s: float = DEADLINE_S
    ) -> list[HitGroup]:
        """The first `query.limit` groups by the payload's value at `by`, each with its `size` best hits."""
        found = await self._ask(frames.Group(call=0, query=query, by=by, size=size), frames.Grouped, deadline_s)
        self._saw(found.epoch)
        return found.groups

    async def facet(
        self,
        key: str,
        *,
        limit: int = 10,
        exact: bool = False,
        matching: Filter | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> list[FacetValue]:
        """How many points have each value of an indexed field, the most frequent first."""
        request = frames.Facet(call=0, key=key, limit=limit, exact=exact, filter=matching)
        found = await self._ask(request, frames.Faceted, deadline_s)
        self._saw(found.epoch)
        return found.values

    async def pairs(
        self,
        *,
        sample: int = 10,
        limit: int = 3,
        using: str = "",
        matching: Filter | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> list[ScoredPair]:
        """For each of `sample` points at random its `limit` nearest among them."""
        request = frames.Pairs(call=0, sample=sample, limit=limit, using=using, filter=matching)
        found = await self._ask(request, frames.Paired, deadline_s)
        self._saw(found.epoch)
        return found.pairs

    async def retrieve(
        self,
        ids: Sequence[PointId],
        *,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
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
        with_vector: bool | list[str] = False,
        order: OrderBy | None = None,
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
            order=order,
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

    def ask(self, request: frames.Request, *, deadline_s: float = DEADLINE_S) -> Awaitable[frames.Answer]:
        """A request as it is, for who has it from elsewhere. A write here is one that caches do not hear of."""
        return self._shard.ask(request, deadline_s)

    async def _write(self, request: frames.Write, deadline_s: float) -> int:
        if self.quota is None:
            return await self._write_now(request, deadline_s)

        async def known(ids: Sequence[PointId]) -> int:
            return len(await self.retrieve(ids, with_payload=False, deadline_s=deadline_s))

        async with self.quota.writing(request, known):
            return await self._write_now(request, deadline_s)

    async def _write_now(self, request: frames.Write, deadline_s: float) -> int:
        if self.instead is not None:
            return await self.instead(request, deadline_s)
        return await self.write_here(request, deadline_s)

    async def write_here(self, request: frames.Write, deadline_s: float = DEADLINE_S) -> int:
        """A write to this generation alone; the epoch after it."""
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


def _named_rows(rows: bytes, name: str, row_bytes: int) -> bytes | list[PointVectors]:
    if not name:
        return rows
    return [{name: rows[at : at + row_bytes]} for at in range(0, len(rows), row_bytes)]


def _filter(matching: Filter | Mapping[str, Any] | None) -> Filter | None:
    return matching if matching is None or isinstance(matching, Filter) else parse_filter(matching)
