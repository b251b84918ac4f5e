"""The door to Qdrant Edge: one shard in one folder, opened by one process.

Every call of the store holds the GIL, so a shard has a process of its own (`shard_process`). A write is *applied* when
the call returns (in the write-ahead log, survives the death of the process) and *durable* after `flush`.
Folder: `.owner.lock`, `boots` (one byte per opening), `edge/` (the store's own files).
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.clock import SYSTEM, Clock
from littoral.errors import NotFoundError, ShardError, TooLargeError
from littoral.vectors import edge_classes
from littoral.vectors.checks import check_columns, check_points, checked_id, checked_ids
from littoral.vectors.edge_classes import errors_of_store
from littoral.vectors.filters import Filter
from littoral.vectors.layout import count_boot, sync_folder
from littoral.vectors.owner_lock import OwnerLock
from littoral.vectors.queries import (
    QUERY_COUNT_MAX,
    PayloadChange,
    PayloadSelector,
    SearchQuery,
    check_change,
    check_page,
)
from littoral.vectors.records import (
    LOW_FIRST,
    CollectionConfig,
    FieldSchema,
    Hit,
    PointBatch,
    PointId,
    Record,
    ShardInfo,
)

__all__ = ["Shard"]

STORE = "edge"
STEP_POINTS = 256
STEP_BYTES = 1 << 20
TIED_COUNT_MAX = 4096
LOAD_WAIT_S = 2.0
EPOCH_BOOT_SHIFT = 40


class Shard:
    """An open shard. Not for threads: the store would serialise them anyway.

    Scores and order as in Qdrant: Cosine and Dot high first, Euclid and Manhattan (distances, not squared) low first;
    equal scores in the order of ids, numbers before UUIDs. Cosine vectors are normalised when written. A hit is better
    than the score threshold, not equal to it.
    Errors: InputError and TooLargeError before anything is changed, NotFoundError, ShardError for the store's own.
    `epoch` grows with every write and with every opening.
    """

    def __init__(
        self, folder: Path, config: CollectionConfig, lock: OwnerLock, store: Any, epoch: int, disk_reserve_bytes: int
    ) -> None:
        self.folder = folder
        self.config = config
        self.epoch = epoch
        self._lock = lock
        self._store = store
        self._disk_reserve_bytes = disk_reserve_bytes

    @classmethod
    def open(
        cls,
        folder: Path,
        config: CollectionConfig,
        *,
        create: bool = False,
        clock: Clock = SYSTEM,
        wait_s: float = 0.0,
        disk_reserve_bytes: int = 0,
    ) -> "Shard":
        """The shard in the folder, every applied write included; with `create`, an empty one if there is none.

        wait_s: how long another owner may take to end. disk_reserve_bytes: writes are refused when less is free.
        Raises NotFoundError if there is no shard, UnavailableError if another process owns it, ShardError if the
        store refuses, or holds other vectors than `config` says.
        """
        lock = OwnerLock.take(folder, clock, wait_s=wait_s)
        try:
            if not (folder / STORE).exists():
                if not create:
                    raise NotFoundError(f"`{folder}` holds no shard")
                _make_store(folder, config)
            _check_stored_config(folder, config)
            epoch = count_boot(folder) << EPOCH_BOOT_SHIFT
            store = _load_store(folder, clock)
        except BaseException:
            lock.release()
            raise
        return cls(folder, config, lock, store, epoch, disk_reserve_bytes)

    def close(self) -> None:
        """Flushes and lets go; may be called twice. After it every other call raises ShardError."""
        if self._store is None:
            return
        try:
            self.flush()
            with errors_of_store("close"):
                self._store.close()
        finally:
            self._store = None
            self._lock.release()

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def upsert(self, batch: PointBatch) -> None:
        """Writes the points, replacing those that are there, payload included. Refused as a whole or not at all."""
        for _ in self.upsert_steps(batch):
            pass

    def upsert_steps(self, batch: PointBatch) -> Iterator[None]:
        """`upsert` in steps of a few milliseconds: first every check, then the writes; a pause after each step."""
        params = self.config.vectors
        check_columns(batch, params)
        batch.ids = checked_ids(batch.ids)
        count = len(batch.ids)
        step = max(1, min(STEP_POINTS, STEP_BYTES // (params.size * 4)))
        steps = [range(start, min(start + step, count)) for start in range(0, count, step)]
        for rows in steps:
            check_points(batch, params, rows)
            yield
        self._require_disk(self._disk_reserve_bytes)
        for rows in steps:
            with errors_of_store("upsert"):
                operation = edge.UpdateOperation.upsert_points(edge_classes.points(batch, params.size, rows))
            self._update("upsert", operation)
            yield

    def delete(self, ids: Sequence[PointId]) -> None:
        """Deletes the points; an id that is not there is no error."""
        self._require_disk(self._disk_reserve_bytes // 4)
        doomed: list[Any] = checked_ids(ids)
        self._update("delete", edge.UpdateOperation.delete_points(doomed))

    def delete_matching(self, matching: Filter) -> None:
        """Deletes every point the filter finds."""
        self._require_disk(self._disk_reserve_bytes // 4)
        with errors_of_store("delete"):
            operation = edge.UpdateOperation.delete_points_by_filter(edge_classes.filter_(matching))
        self._update("delete", operation)

    def change_payload(self, change: PayloadChange) -> None:
        """Raises NotFoundError if one of `change.ids` is not there; then nothing is changed."""
        check_change(change)
        self._require_disk(self._disk_reserve_bytes)
        if change.ids is not None:
            change.ids = checked_ids(change.ids)
            self._require_points(change.ids)
        with errors_of_store("payload"):
            operation = edge_classes.payload_update(change)
        self._update("payload", operation)

    def create_index(self, field: str, schema: FieldSchema) -> None:
        """An index on a payload field makes filters on it fast; the same again does nothing."""
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("index"):
            operation = edge_classes.index_creation(field, schema)
        self._update("index", operation)

    def delete_index(self, field: str) -> None:
        """Drops the index of a payload field; one that is not there is no error."""
        with errors_of_store("index"):
            operation = edge.UpdateOperation.delete_field_index(field)
        self._update("index", operation)

    def search(self, queries: Sequence[SearchQuery]) -> list[list[Hit]]:
        """One list of hits per query. Several in one call share a pass over the points.

        Raises TooLargeError for more than 64 queries or a page beyond 16384.
        """
        if len(queries) > QUERY_COUNT_MAX:
            raise TooLargeError(f"{len(queries)} queries in one request, at most {QUERY_COUNT_MAX}")
        params = self.config.vectors
        with errors_of_store("search"):
            requests = [edge_classes.query_request(query, params, query.offset + query.limit + 1) for query in queries]
            found = self._opened().query_batch(edge.QueryBatchRequest(requests))
        return [self._page(query, list(points)) for query, points in zip(queries, found, strict=True)]

    def _page(self, query: SearchQuery, points: list[Any]) -> list[Hit]:
        """The store cuts through equal scores at random: look past them, up to 4096, then order them by id."""
        end = query.offset + query.limit
        fetched = end + 1
        while len(points) == fetched < end + TIED_COUNT_MAX and points[end - 1].score == points[-1].score:
            fetched = min(fetched * 4, end + TIED_COUNT_MAX)
            with errors_of_store("search"):
                points = self._opened().query(edge_classes.query_request(query, self.config.vectors, fetched))
        sign = 1 if self.config.vectors.distance in LOW_FIRST else -1
        points.sort(key=lambda point: (sign * point.score, edge_classes.id_order(point.id)))
        return [edge_classes.hit(point) for point in points[query.offset : end]]

    def retrieve(
        self, ids: Sequence[PointId], *, with_payload: bool | PayloadSelector = True, with_vector: bool = False
    ) -> list[Record]:
        """The points that are there, in the order asked for, each once."""
        wanted = list(dict.fromkeys(checked_ids(ids)))
        check_page(max(len(wanted), 1))
        with errors_of_store("retrieve"):
            found = self._opened().retrieve(wanted, edge_classes.selector(with_payload), with_vector)
        records = {record.id: record for record in map(edge_classes.record, found)}
        return [records[point_id] for point_id in wanted if point_id in records]

    def scroll(
        self,
        *,
        limit: int = 10,
        offset: PointId | None = None,
        matching: Filter | None = None,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool = False,
    ) -> tuple[list[Record], PointId | None]:
        """Points in the order of ids from `offset` on, and the id to go on from (None at the end)."""
        check_page(limit)
        with errors_of_store("scroll"):
            request = edge.ScrollRequest(
                offset=None if offset is None else checked_id(offset),
                limit=limit,
                filter=edge_classes.filter_(matching),
                with_payload=edge_classes.selector(with_payload),
                with_vector=with_vector,
            )
            found, following = self._opened().scroll(request)
        return [edge_classes.record(p) for p in found], None if following is None else edge_classes.plain_id(following)

    def count(self, matching: Filter | None = None, *, exact: bool = True) -> int:
        """How many points the filter finds."""
        with errors_of_store("count"):
            return int(self._opened().count(edge.CountRequest(exact=exact, filter=edge_classes.filter_(matching))))

    def info(self) -> ShardInfo:
        """Counts, as the store reports them."""
        with errors_of_store("info"):
            info = self._opened().info()
        return ShardInfo(
            points_count=info.points_count,
            indexed_vectors_count=info.indexed_vectors_count,
            segments_count=info.segments_count,
            payload_schema={name: edge_classes.schema_name(index) for name, index in info.payload_schema.items()},
            epoch=self.epoch,
        )

    def flush(self) -> None:
        """Makes every applied write durable."""
        with errors_of_store("flush"):
            self._opened().flush()

    def optimize(self) -> bool:
        """Builds the search graph and drops what was deleted; True if there was something to do.

        Blocks the whole process: about 16 s for 100 000 × 128.
        """
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("optimize"):
            return bool(self._opened().optimize())

    def _opened(self) -> Any:
        if self._store is None:
            raise ShardError(f"shard `{self.folder}` is closed")
        return self._store

    def _update(self, what: str, operation: Any) -> None:
        self.epoch += 1
        with errors_of_store(what):
            self._opened().update(operation)

    def _require_points(self, ids: Sequence[PointId]) -> None:
        there = {record.id for record in self.retrieve(ids, with_payload=False)}
        if missing := [point_id for point_id in ids if point_id not in there]:
            raise NotFoundError(f"no point has the id `{missing[0]}` ({len(missing)} of {len(ids)} ids are missing)")

    def _require_disk(self, reserve_bytes: int) -> None:
        """The store maps its files: a write to a full disk would kill the process with SIGBUS instead of failing."""
        disk = os.statvfs(self.folder)
        if (free := disk.f_bavail * disk.f_frsize) < reserve_bytes:
            raise ShardError(
                f"disk of `{self.folder}` has {free >> 20} MiB free, a write needs {reserve_bytes >> 20} MiB",
                hint="make room; searches go on meanwhile",
            )


def _make_store(folder: Path, config: CollectionConfig) -> None:
    """Beside its place first, so that a crash leaves no half-made store."""
    fresh = folder / f"{STORE}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    with errors_of_store(f"shard `{folder}`"):
        store = edge.EdgeShard.create(str(fresh), edge_classes.config(config))
        store.flush()
        store.close()
    fresh.rename(folder / STORE)
    sync_folder(folder)


def _load_store(folder: Path, clock: Clock) -> edge.EdgeShard:
    """A killed owner's handles close one by one: our lock may be free an instant before the store's own."""
    give_up = clock.monotonic() + LOAD_WAIT_S
    while True:
        try:
            with errors_of_store(f"shard `{folder}`"):
                return edge.EdgeShard.load(str(folder / STORE))
        except ShardError as error:
            if "WouldBlock" not in error.message or clock.monotonic() > give_up:
                raise


def _check_stored_config(folder: Path, config: CollectionConfig) -> None:
    file = folder / STORE / "edge_config.json"
    try:
        stored = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])["vectors"][""]
        found = (stored["size"], stored["distance"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise ShardError(f"`{file}` is no configuration of a shard: {error!r}") from error
    if found != (wanted := (config.vectors.size, config.vectors.distance)):
        raise ShardError(f"`{folder}` holds vectors of {found[0]} {found[1]}, configured are {wanted[0]} {wanted[1]}")
