"""A fleet from one place to another: from SQLite and a folder to PostgreSQL and S3, when they are outgrown, or back.

Both places are held as an orchestrator holds them, so neither serves meanwhile. What was interrupted is begun again,
and writes only what is not there yet. Each row and each object is read back from where it went and compared by its
digest before the place that it came from is left.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import ConflictError, InputError, SetupError, UnavailableError
from littoral.orchestrator.acts import opened_acts
from littoral.orchestrator.file import File
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.places import (
    MARK,
    SQLITE,
    has_same_objects,
    has_same_store,
    mark_objects,
    mark_of_objects,
    mark_of_store,
    mark_store,
    open_objects,
    open_store,
)
from littoral.orchestrator.store.interface import Delete, Put, Store
from littoral.orchestrator.store.rows import KEYS, EventRow, MoveRow, Row
from littoral.updates import tree
from littoral.vectors.owner_lock import FILE_NAME, OwnerLock

__all__ = ["Moved", "move"]

ROW_COUNT = 1000
CHUNK_BYTES = 8 << 20
THREADS = 8
TELL_EVERY = 500
WHO = "littoral orchestrator move"
ROOT = f"metadata/{tree.image_metadata('1.root.json')}"
OWN = {SQLITE, f"{SQLITE}-wal", f"{SQLITE}-shm", "objects", "coming", "builds", FILE_NAME}
"""In a data folder, what is no part of keys and logs."""

Tell = Callable[[str], None]


class Moved(NamedTuple):
    """rows: by table. written: of the rows and objects, those that were not there yet."""

    rows: dict[str, int]
    object_count: int
    object_bytes: int
    written: int
    file_count: int


class _Place(NamedTuple):
    file: File
    store: Store
    objects: Objects


def move(source: File, target: File, clock: Clock, tell: Tell) -> Moved:
    """Everything that an orchestrator keeps goes where `target` says, and is left where `source` says.

    Raises UnavailableError where an orchestrator serves or a place is away, InputError, ConflictError, SetupError for
    places that this fleet cannot go to or is not at.
    """
    if source.orchestrator.name != target.orchestrator.name:
        names = f"`{source.orchestrator.name}` and `{target.orchestrator.name}`"
        raise InputError(f"the files name the fleets {names}", hint="a fleet keeps its name")
    new_store, new_objects = not has_same_store(source, target), not has_same_objects(source, target)
    if not (new_store or new_objects):
        raise InputError("both files mean the same rows and objects", hint="`[store]` or `[objects]` must differ")
    with ExitStack() as stack:
        here, there = _opened(source, target, clock, stack)
        _check(here, there, new_store=new_store, new_objects=new_objects)
        about = {"other": str(source.path.absolute()), "at_s": clock.wall()}
        if new_store:
            mark_store(there.store, "coming", **about)
        if new_objects:
            mark_objects(there.objects, "coming", **about)
        rows, row_count = _rows(here.store, there.store, tell) if new_store else ({}, 0)
        objects = _objects(here.objects, there.objects, target.data / "coming", tell) if new_objects else (0, 0, 0)
        files = _files(source.data, target.data) if source.data.resolve() != target.data.resolve() else 0
        about = {"other": str(target.path.absolute()), "at_s": clock.wall()}
        if new_store:
            mark_store(here.store, "left", **about)
        if new_objects:
            mark_objects(here.objects, "left", **about)
        moved = Moved(rows, objects[0], objects[1], row_count + objects[2], files)
        asyncio.run(_tell(target, moved, clock))
        if new_store:
            mark_store(there.store, None)
        if new_objects:
            mark_objects(there.objects, None)
    return moved


def _opened(source: File, target: File, clock: Clock, stack: ExitStack) -> tuple[_Place, _Place]:
    """With the locks that orchestrators at both would hold."""
    if not source.data.is_dir():
        raise SetupError(f"{source.path}: there is no data folder `{source.data}`", hint="move from where a fleet is")
    target.data.mkdir(parents=True, exist_ok=True)
    for folder in sorted({source.data.resolve(), target.data.resolve()}):
        stack.callback(OwnerLock.take(folder, clock).release)
    store = open_store(source)
    stack.callback(store.close)
    other = store
    if not has_same_store(source, target):
        other = open_store(target)
        stack.callback(other.close)
    return _Place(source, store, open_objects(source)), _Place(target, other, open_objects(target))


def _check(here: _Place, there: _Place, *, new_store: bool, new_objects: bool) -> None:
    """Whether the one is the fleet's place, and the other may become it."""
    came, aim = str(here.file.path.absolute()), str(there.file.path.absolute())
    left = [mark for mark in (mark_of_store(here.store), mark_of_objects(here.objects)) if mark is not None]
    for mark in left:
        if mark.state == "coming":
            raise SetupError(f"a move to `{here.file.path}` has not ended", hint=f"move {mark.other} to there again")
        if mark.other != aim:
            raise ConflictError(f"the fleet was moved away from here, to {mark.other}", hint="move it from there")
    store_mark = mark_of_store(there.store) if new_store else None
    objects_mark = mark_of_objects(there.objects) if new_objects else None
    coming = [mark for mark in (store_mark, objects_mark) if mark is not None and mark.state == "coming"]
    for mark in coming:
        if mark.other != came:
            raise ConflictError(f"a move from {mark.other} to `{there.file.path}` has not ended", hint="end that first")
    if left and not coming:
        raise ConflictError(f"`{there.file.path}` has the fleet already", hint="`littoral orchestrator up` with it")
    if left or (objects_mark is not None and objects_mark.state == "coming"):
        return
    is_other = there.objects.get(ROOT) not in (None, here.objects.get(ROOT))
    has_rows = new_store and store_mark is None and _has_rows(there.store)
    if is_other or has_rows or (new_objects and objects_mark is None and any(there.objects.names(""))):
        raise ConflictError(
            f"`{there.file.path}` names a place that is not empty", hint="take an empty database and an empty prefix"
        )


def _has_rows(store: Store) -> bool:
    return any(store.rows(kind) for kind in KEYS if kind is not EventRow) or bool(store.rows(EventRow, newest=1))


def _rows(source: Store, target: Store, tell: Tell) -> tuple[dict[str, int], int]:
    """Rows by table, and how many had to be written."""
    counts, written = {}, 0
    for kind, key in KEYS.items():
        if kind is MoveRow:
            continue
        name = kind.__name__.removesuffix("Row").lower() + "s"
        count, digest = _sum(source, kind)
        if _sum(target, kind) != (count, digest):
            _copy(source, target, kind, key)
            written += count
        if _sum(target, kind) != (count, digest):
            raise UnavailableError(f"{name} were written and are read as others", hint="look after the database")
        counts[name] = count
        tell(f"{name}: {count}")
    return counts, written


def _copy(source: Store, target: Store, kind: type[Row], key: tuple[str, ...]) -> None:
    known = set()
    for some in _batches(source, kind):
        known |= {_key(row, key) for row in some}
        target.write([Put(row) for row in some])
    stale = [_key(row, key) for some in _batches(target, kind) for row in some]
    target.write([Delete(kind, dict(zip(key, one, strict=True))) for one in stale if one not in known])


def _sum(store: Store, kind: type[Row]) -> tuple[int, int]:
    """How many, and their digests added up: databases order texts in ways of their own."""
    count = total = 0
    for row in itertools.chain.from_iterable(_batches(store, kind)):
        count += 1
        total += int.from_bytes(sha256(msgspec.json.encode(row, order="deterministic")).digest())
    return count, total % (1 << 256)


def _batches(store: Store, kind: type[Row]) -> Iterator[list[Row]]:
    """Events, of which there may be millions, by pages."""
    if kind is not EventRow:
        found = store.rows(kind)
        yield from (found[start : start + ROW_COUNT] for start in range(0, len(found), ROW_COUNT))
        return
    before = None
    while events := store.rows(EventRow, newest=ROW_COUNT, before=before):
        yield list(events)
        before = events[-1].number


def _key(row: Row, key: tuple[str, ...]) -> tuple[str | int, ...]:
    return tuple(getattr(row, name) for name in key)


def _objects(source: Objects, target: Objects, scratch: Path, tell: Tell) -> tuple[int, int, int]:
    """How many, their bytes, and how many had to be written."""
    scratch.mkdir(parents=True, exist_ok=True)
    names = sorted(name for name in source.names("") if name != MARK)
    total = written = 0

    def brought(name: str) -> tuple[int, bool]:
        return _object(source, target, name, scratch)

    with ThreadPoolExecutor(THREADS, "littoral-move") as pool:
        for number, (length, is_new) in enumerate(pool.map(brought, names), 1):
            total, written = total + length, written + is_new
            if number % TELL_EVERY == 0 or number == len(names):
                tell(f"objects: {number} of {len(names)}, {total} bytes")
    for stale in {*target.names("")} - {*names, MARK}:
        target.delete(stale)
    return len(names), total, written


def _object(source: Objects, target: Objects, name: str, scratch: Path) -> tuple[int, bool]:
    """Its length, and whether it had to be written."""
    length = source.length(name)
    if length is None:
        raise UnavailableError(f"object `{name}` is gone", hint="does somebody else write there?")
    wanted = None
    if target.length(name) == length:
        wanted = _digest(_parts(source, name, length))
        if _digest(_parts(target, name, length)) == wanted:
            return length, False
    file = scratch / f"move-{sha256(name.encode()).hexdigest()}"
    try:
        file.touch(0o600)
        with file.open("wb") as stream:
            wanted = _digest(_written(_parts(source, name, length), stream.write))
        target.put_file(name, file)
    finally:
        file.unlink(missing_ok=True)
    if target.length(name) != length or _digest(_parts(target, name, length)) != wanted:
        raise UnavailableError(f"object `{name}` was written and is read as another", hint="look after the storage")
    return length, True


def _parts(objects: Objects, name: str, length: int) -> Iterator[bytes]:
    for start in range(0, length, CHUNK_BYTES):
        yield objects.read(name, start, min(CHUNK_BYTES, length - start))


def _written(parts: Iterable[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    for part in parts:
        write(part)
        yield part


def _digest(parts: Iterable[bytes]) -> str:
    found = sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _files(source: Path, target: Path) -> int:
    """Keys and logs, of which a folder that was begun may have earlier ones."""
    names = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    names = {name for name in names if name.parts[0] not in OWN}
    for name in sorted(names):
        mode = (source / name).stat().st_mode & 0o777
        (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(target / name, (source / name).read_bytes(), mode)
    for folder in {name.parts[0] for name in names if len(name.parts) > 1}:
        for path in [*(target / folder).rglob("*")]:
            if path.is_file() and path.relative_to(target) not in names:
                path.unlink()
    return len(names)


async def _tell(target: File, moved: Moved, clock: Clock) -> None:
    """The fleet's log goes on where it is now."""
    async with opened_acts(target.data, target.orchestrator.name, clock) as acts:
        detail = {"rows": sum(moved.rows.values()), "objects": moved.object_count, "files": moved.file_count}
        await acts.told("move", str(target.path), WHO, detail=detail)
