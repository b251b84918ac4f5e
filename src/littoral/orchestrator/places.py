"""Where an orchestrator's rows and objects are, as its file says, and whether they are its to use.

A fleet is kept at one place. One that a fleet was moved away from says so, and one where a move has not ended too: on
neither does an orchestrator start, or nodes would be told two different things under the same numbers.
"""

from typing import Any

import msgspec

from littoral.errors import SetupError
from littoral.orchestrator.file import File
from littoral.orchestrator.objects import FolderObjects, Objects
from littoral.orchestrator.store.interface import Delete, Put, Store
from littoral.orchestrator.store.rows import MoveRow, MoveState
from littoral.orchestrator.store.sql import SqlStore

__all__ = [
    "MARK",
    "SQLITE",
    "has_same_objects",
    "has_same_store",
    "mark_objects",
    "mark_of_objects",
    "mark_of_store",
    "mark_store",
    "open_objects",
    "open_store",
    "refuse_moved",
]

SQLITE, FOLDER = "fleet.sqlite", "objects"
MARK = "move.json"
"""The object that says of objects what a `MoveRow` says of rows."""

ONLY = "fleet"


def open_store(file: File) -> Store:
    """Raises UnavailableError, SetupError."""
    if file.store is None:
        from littoral.orchestrator.store.sqlite import SqliteDatabase

        return SqlStore.open(SqliteDatabase(file.data / SQLITE))
    from littoral.orchestrator.store.postgres import PostgresDatabase

    return SqlStore.open(PostgresDatabase(file.store.postgres))


def open_objects(file: File) -> Objects:
    """Raises SettingError, SetupError."""
    if file.objects is None:
        return FolderObjects(file.data / FOLDER)
    from littoral.orchestrator.objects_s3 import S3Objects

    return S3Objects(file.objects.url, endpoint=file.objects.endpoint, region=file.objects.region)


def has_same_store(one: File, other: File) -> bool:
    """Whether both files mean the same rows."""
    return one.store == other.store and (one.store is not None or _has_same_data(one, other))


def has_same_objects(one: File, other: File) -> bool:
    """Whether both files mean the same objects."""
    return one.objects == other.objects and (one.objects is not None or _has_same_data(one, other))


def mark_of_store(store: Store) -> MoveRow | None:
    return store.get(MoveRow, id=ONLY)


def mark_of_objects(objects: Objects) -> MoveRow | None:
    """Raises SetupError for a mark that cannot be read."""
    data = objects.get(MARK)
    try:
        return None if data is None else msgspec.json.decode(data, type=MoveRow)
    except msgspec.DecodeError as error:
        raise SetupError(f"object `{MARK}` is damaged: {error}", hint="restore a backup, or move again") from error


def mark_store(store: Store, state: MoveState | None, **more: Any) -> None:
    """state: None for one that is the fleet's place, as any other."""
    store.write([Delete(MoveRow, {"id": ONLY}) if state is None else Put(MoveRow(id=ONLY, state=state, **more))])


def mark_objects(objects: Objects, state: MoveState | None, **more: Any) -> None:
    """As `mark_store`."""
    if state is None:
        objects.delete(MARK)
    else:
        objects.put(MARK, msgspec.json.encode(MoveRow(id=ONLY, state=state, **more)))


def refuse_moved(store: Store, objects: Objects) -> None:
    """Raises SetupError where the fleet is no more, or not yet."""
    for what, mark in (("store", mark_of_store(store)), ("objects", mark_of_objects(objects))):
        if mark is None:
            continue
        if mark.state == "left":
            raise SetupError(
                f"{what}: the fleet was moved away from here",
                hint=f"start it with the file it was moved to: {mark.other}",
            )
        raise SetupError(
            f"{what}: a move to here has not ended",
            hint=f"`littoral orchestrator move {mark.other} --to …` once more, with this file",
        )


def _has_same_data(one: File, other: File) -> bool:
    return one.data.resolve() == other.data.resolve()
