"""The door to Qdrant Edge: one shard in one folder, opened by one process.

Every call of the store holds the GIL, so a shard has a process of its own (`shard_process`). A write is *applied* when
the call returns (in the write-ahead log, survives the death of the process) and *durable* after `flush`.
Folder: `.owner.lock`, `boots` (one byte per opening), `reserve` (room for a last flush), `edge/` (the store's own
files) or, after it was rebuilt, another folder that `current` names.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.clock import SYSTEM, Clock
from littoral.errors import FullDiskError, InputError, LittoralError, NotFoundError, ShardError
from littoral.vectors import edge_classes, edge_config
from littoral.vectors.asks import OrderBy
from littoral.vectors.checks import check_columns, check_points, checked_id, checked_ids
from littoral.vectors.copying import pack_steps, stored_bytes, stored_files
from littoral.vectors.disk_reserve import DiskReserve
from littoral.vectors.edge_classes import errors_of_store
from littoral.vectors.edge_filters import filter_
from littoral.vectors.edge_queries import order_by
from littoral.vectors.filters import Filter
from littoral.vectors.indexes import IndexParams, check_schema
from littoral.vectors.layout import COLLECTION_FILE, count_boot
from littoral.vectors.owner_lock import OwnerLock
from littoral.vectors.queries import (
    PayloadChange,
    PayloadSelector,
    SearchQuery,
    check_change,
    check_page,
)
from littoral.vectors.records import (
    CollectionConfig,
    FieldSchema,
    Hit,
    PointBatch,
    PointId,
    Record,
    ShardInfo,
    UpdateMode,
    VectorParams,
)
from littoral.vectors.search import Searches
from littoral.vectors.store_folder import (
    COPY,
    check_stored_config,
    current_store,
    load_store,
    make_store,
    set_current_store,
    without,
)
from littoral.vectors.tuning import SparseParams

__all__ = ["Shard"]

STEP_POINTS = 256
STEP_BYTES = 1 << 20
NAME_COUNT_MAX = 256
EPOCH_BOOT_SHIFT = 40


class Shard:
    """An open shard. Not for threads: the store would serialise them anyway.

    Cosine vectors are normalised when written. `searches` finds points by nearness and the like.
    Errors: InputError and TooLargeError before anything is changed, NotFoundError, ShardError for the store's own.
    `epoch` grows with every write and with every opening.
    """

    def __init__(
        self,
        folder: Path,
        config: CollectionConfig,
        lock: OwnerLock,
        store: Any,
        epoch: int,
        disk_reserve_bytes: int,
        store_folder: Path,
    ) -> None:
        self.folder = folder
        self.store_folder = store_folder
        self.config = config
        self.epoch = epoch
        self._lock = lock
        self._store = store
        self._disk_reserve_bytes = disk_reserve_bytes
        self._reserve = DiskReserve(folder, disk_reserve_bytes)
        self.is_optimizing = False
        self.searches = Searches(config, self._opened)

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

        wait_s: how long another owner may take to end. disk_reserve_bytes: writes are refused when less is free, and
        room for a last flush is kept.
        Raises NotFoundError if there is no shard, UnavailableError if another process owns it, ShardError if the
        store refuses, or holds other vectors than `config` says.
        """
        lock = OwnerLock.take(folder, clock, wait_s=wait_s)
        try:
            DiskReserve(folder, disk_reserve_bytes).give_back()
            stored = current_store(folder)
            if not stored.exists():
                if not create:
                    raise NotFoundError(f"`{folder}` holds no shard")
                make_store(folder, config)
            missing = check_stored_config(stored, config)
            epoch = count_boot(folder) << EPOCH_BOOT_SHIFT
            store = load_store(stored, without(config, missing), clock)
        except BaseException:
            lock.release()
            raise
        shard = cls(folder, without(config, missing), lock, store, epoch, disk_reserve_bytes, stored)
        for name in missing:
            shard.add_vector(name, config.sparse.get(name) or config.dense[name])
        shard._reserve.keep()
        return shard

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

    def upsert_steps(
        self, batch: PointBatch, *, mode: UpdateMode = "upsert", condition: Filter | None = None
    ) -> Iterator[None]:
        """`upsert` in steps of a few milliseconds: first every check, then the writes; a pause after each step.

        mode: whether points that are there, or that are not, are left alone. condition: points that are there and that
        it does not find are left alone too.
        """
        size = self._checked_columns(batch)
        steps = _steps(len(batch.ids), size)
        yield from self._checked_points(batch, steps)
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("upsert"):
            terms = (filter_(condition), _UPDATE_MODES[mode])
        for rows in steps:
            with errors_of_store("upsert"):
                operation = edge.UpdateOperation.upsert_points(edge_classes.points(batch, size, rows), *terms)
            self._update("upsert", operation)
            yield

    def vector_steps(self, batch: PointBatch, *, condition: Filter | None = None) -> Iterator[None]:
        """Replaces vectors of points that are there, payloads and other vectors stay. Raises NotFoundError."""
        size = self._checked_columns(batch)
        steps = _steps(len(batch.ids), size)
        yield from self._checked_points(batch, steps)
        self._require_points(batch.ids)
        self._require_disk(self._disk_reserve_bytes)
        for rows in steps:
            with errors_of_store("vectors"):
                changed = [edge.PointVectors(p.id, p.vector) for p in edge_classes.points(batch, size, rows)]
                operation = edge.UpdateOperation.update_vectors(changed, filter_(condition))
            self._update("vectors", operation)
            yield

    def _checked_columns(self, batch: PointBatch) -> int:
        """Numbers of the one vector, for columns."""
        check_columns(batch, self.config)
        batch.ids = checked_ids(batch.ids)
        dense = self.config.dense.values()
        return sum(params.size for params in dense) or 1

    def _checked_points(self, batch: PointBatch, steps: list[range]) -> Iterator[None]:
        for rows in steps:
            check_points(batch, self.config, rows)
            yield

    def delete_vectors(self, ids: Sequence[PointId] | None, matching: Filter | None, names: Sequence[str]) -> None:
        """Takes vectors from points; the points stay. Raises NotFoundError for an id, InputError for a name."""
        if (ids is None) == (matching is None):
            raise InputError("vectors: needs exactly one of points, filter")
        if not names or len(names) > NAME_COUNT_MAX:
            raise InputError(f"vectors: {len(names)} names, must be 1..{NAME_COUNT_MAX}")
        self._require_disk(self._disk_reserve_bytes // 4)
        with errors_of_store("vectors"):
            if ids is not None:
                doomed: list[Any] = checked_ids(ids)
                self._require_points(doomed)
                operation = edge.UpdateOperation.delete_vectors(doomed, list(names))
            else:
                operation = edge.UpdateOperation.delete_vectors_by_filter(filter_(matching), list(names))
        self._update("vectors", operation)

    def delete(self, ids: Sequence[PointId]) -> None:
        """Deletes the points; an id that is not there is no error."""
        self._require_disk(self._disk_reserve_bytes // 4)
        doomed: list[Any] = checked_ids(ids)
        self._update("delete", edge.UpdateOperation.delete_points(doomed))

    def delete_matching(self, matching: Filter) -> None:
        """Deletes every point the filter finds."""
        self._require_disk(self._disk_reserve_bytes // 4)
        with errors_of_store("delete"):
            operation = edge.UpdateOperation.delete_points_by_filter(filter_(matching))
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

    def create_index(self, field: str, schema: FieldSchema | IndexParams) -> None:
        """An index on a payload field makes filters on it fast; the same again does nothing."""
        if isinstance(schema, IndexParams):
            check_schema(schema)
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("index"):
            operation = edge.UpdateOperation.create_field_index(field, edge_config.index(schema))
        self._update("index", operation)

    def delete_index(self, field: str) -> None:
        """Drops the index of a payload field; one that is not there is no error."""
        with errors_of_store("index"):
            operation = edge.UpdateOperation.delete_field_index(field)
        self._update("index", operation)

    def add_vector(self, name: str, params: VectorParams | SparseParams) -> None:
        """From now on points may have a vector of this name."""
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("vectors"):
            operation = edge_config.vector_creation(name, params)
        self._update("vectors", operation)
        if isinstance(params, VectorParams):
            self._take(msgspec.structs.replace(self.config, named={**self.config.named, name: params}))
        else:
            self._take(msgspec.structs.replace(self.config, sparse={**self.config.sparse, name: params}))

    def drop_vector(self, name: str) -> None:
        """No point has a vector of this name any more."""
        with errors_of_store("vectors"):
            operation = edge.UpdateOperation.delete_vector_name(name)
        self._update("vectors", operation)
        self._take(without(self.config, [name]))

    def configure(self, config: CollectionConfig) -> None:
        """Takes over another configuration of the same vectors: closes the store, and opens it again with that.

        What it changes for points that are indexed already comes with the next `optimize`. Raises InputError for one
        that the store does not take; then it goes on with the former.
        """
        self.flush()
        with errors_of_store("configure"):
            self._opened().close()
        self._store = None
        try:
            self._store = load_store(self.store_folder, config, SYSTEM)
        except LittoralError as error:
            self._store = load_store(self.store_folder, self.config, SYSTEM)
            raise InputError(f"configure: {error.message}") from error
        self._take(config)

    def _take(self, config: CollectionConfig) -> None:
        self.config = self.searches.config = config

    def search(self, queries: Sequence[SearchQuery]) -> list[list[Hit]]:
        """One list of hits per query, see `Searches.search`."""
        return self.searches.search(queries)

    def retrieve(
        self,
        ids: Sequence[PointId],
        *,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
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
        with_vector: bool | list[str] = False,
        order: OrderBy | None = None,
    ) -> tuple[list[Record], PointId | None]:
        """Points in the order of ids from `offset` on, and the id to go on from (None at the end).

        order: by a payload field that has an index for ranges; then there is no going on.
        """
        check_page(limit)
        if order is not None and offset is not None:
            raise InputError("scroll: `offset` has no meaning beside `order_by`")
        with errors_of_store("scroll"):
            request = edge.ScrollRequest(
                offset=None if offset is None else checked_id(offset),
                limit=limit,
                filter=filter_(matching),
                with_payload=edge_classes.selector(with_payload),
                with_vector=with_vector,
                order_by=None if order is None else order_by(order),
            )
            found, following = self._opened().scroll(request)
        is_end = following is None or order is not None
        return [edge_classes.record(p) for p in found], None if is_end else edge_classes.plain_id(following)

    def count(self, matching: Filter | None = None, *, exact: bool = True) -> int:
        """How many points the filter finds."""
        with errors_of_store("count"):
            return int(self._opened().count(edge.CountRequest(exact=exact, filter=filter_(matching))))

    def info(self) -> ShardInfo:
        """Counts, as the store reports them."""
        with errors_of_store("info"):
            info = self._opened().info()
            schema = {name: edge_config.index_info(index) for name, index in info.payload_schema.items()}
        return ShardInfo(
            points_count=info.points_count,
            indexed_vectors_count=info.indexed_vectors_count,
            segments_count=info.segments_count,
            payload_schema=schema,
            epoch=self.epoch,
            is_optimizing=self.is_optimizing,
        )

    def flush(self) -> None:
        """Makes every applied write durable, also where somebody has filled the disk."""
        self._reserve.give_back()
        with errors_of_store("flush"):
            self._opened().flush()
        self._reserve.keep()

    def optimize(self) -> bool:
        """Builds the search graph and drops what was deleted; True if there was something to do.

        Blocks the whole process: about 16 s for 100 000 × 128.
        """
        self._require_disk(self._disk_reserve_bytes)
        with errors_of_store("optimize"):
            return bool(self._opened().optimize())

    def pack_steps(self, target: Path) -> Iterator[None]:
        """Writes a snapshot to a file that is not there yet, in steps of a few milliseconds."""
        self._require_disk(
            self._disk_reserve_bytes + sum(file.stat().st_size for file in stored_files(self.store_folder))
        )
        self.flush()
        yield from pack_steps(self.store_folder, target, self.folder.parent / COLLECTION_FILE)

    def place_for_copy(self) -> Path:
        """A folder for a copy of the store, not there yet. Raises FullDiskError if the disk has no room for one."""
        self._require_disk(self._disk_reserve_bytes + stored_bytes(self.store_folder))
        return self.folder / f"{COPY}{secrets.token_hex(4)}"

    def opened_copy(self, copy: Path) -> "Shard":
        """The copy as a shard of its own, which this one can be exchanged with; `exchange` or `abandon` it."""
        store = load_store(copy, self.config, SYSTEM)
        return Shard(self.folder, self.config, self._lock, store, self.epoch, self._disk_reserve_bytes, copy)

    def exchange(self, copy: "Shard") -> None:
        """Goes on with a flushed copy that holds the same points; the store it had is removed."""
        set_current_store(copy.store_folder)
        former, former_folder = self._opened(), self.store_folder
        self._store, self.store_folder, copy._store = copy._opened(), copy.store_folder, None
        self._take(copy.config)
        self.epoch += 1
        with contextlib.suppress(Exception):  # it is not needed any more, whatever it says
            former.close()
        shutil.rmtree(former_folder, ignore_errors=True)

    def abandon(self) -> None:
        """Lets go of a copy that takes nobody's place. The files stay."""
        with contextlib.suppress(Exception):
            self._opened().close()
        self._store = None

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
            raise FullDiskError(
                f"disk of `{self.folder}` has {free >> 20} MiB free, a write needs {reserve_bytes >> 20} MiB",
                hint="make room; searches go on meanwhile",
            )


def _steps(count: int, size: int) -> list[range]:
    """Rows in portions that take a few milliseconds. size: numbers of a point."""
    step = max(1, min(STEP_POINTS, STEP_BYTES // (size * 4)))
    return [range(start, min(start + step, count)) for start in range(0, count, step)]


_UPDATE_MODES: dict[UpdateMode, Any] = {
    "upsert": None,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}
