"""A model that was made takes its place: first in the running node, then on the disk, for the next start.

A folder gets the next number; one file gets the new content, and what it held stays beside it. The way back does the
same in reverse. A version that the node refuses leaves no trace.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.sections import digest
from littoral.errors import ConflictError, NotFoundError, NotOfferedError, UnavailableError
from littoral.node.model_files import MODEL_FILE, NUMBER_MAX
from littoral.node.model_repository import ModelRepository
from littoral.node.node import Node
from littoral.node.site_tables import ModelTable
from littoral.runtime.file_identity import FileIdentity

__all__ = ["Taken", "file_with", "go_back", "take"]

WITHDRAWN = "withdrawn.wasm"
BEFORE = ".before"


class Taken(NamedTuple):
    """number: of the version that serves now. is_kept: it serves after a start, too."""

    model: str
    number: int
    is_kept: bool = True


class _Place(NamedTuple):
    """Where a model lies."""

    table: ModelTable
    path: Path
    repository: ModelRepository


async def take(node: Node, name: str, module: Path) -> Taken:
    """The next version of a model. Raises ConflictError where the site file pins what serves, and what
    `ModelRepository.load` raises; everything is as it was then.
    """
    place = _place(node, name)
    if place.table.sha256 is not None:
        raise ConflictError(f"model `{name}`: the site file pins its digest", hint="change `sha256` there")
    if not isinstance(place.table.versions, str):
        raise ConflictError(f"model `{name}`: the site file names its versions", hint='`versions = "latest"` takes new')
    number = await asyncio.to_thread(_next, place.path) if place.path.is_dir() else 0
    await place.repository.load(name, uploads={number: module}, are_added=True)
    number = node.models[name].serving.number
    try:
        await asyncio.to_thread(_put, module, place.path, number)
    except OSError as error:
        with contextlib.suppress(ConflictError):  # the version was there already
            await place.repository.roll_back(name)
        raise UnavailableError(f"model `{name}`: {error.strerror}: the version before goes on") from error
    await place.repository.load(name)
    return Taken(name, node.models[name].serving.number)


async def go_back(node: Node, name: str) -> Taken:
    """The version that served before. Raises ConflictError if there is none."""
    place = _place(node, name)
    await place.repository.roll_back(name)
    serving = node.models[name].serving
    is_kept = isinstance(place.table.versions, str)
    if is_kept:
        try:
            is_kept = await asyncio.to_thread(_put_back, place.path, serving.number, serving.model.digest)
        except OSError as error:
            raise UnavailableError(f"model `{name}`: {error.strerror}: it is back until the next start") from error
    return Taken(name, serving.number, is_kept)


def file_with(path: Path, wanted: str) -> Path | None:
    """The file of a model's versions that has this digest."""
    for file in _candidates(path):
        with contextlib.suppress(OSError):
            if _digest(file, FileIdentity.of(file.stat())) == wanted:
                return file
    return None


def _place(node: Node, name: str) -> _Place:
    if name not in node.models:
        raise NotFoundError(f"model `{name[:80]}` is unknown", hint="a node serves the models of its site file")
    if node.repository is None:
        raise UnavailableError("the node is starting or stopping")
    if node.site is None or name not in node.site.models:
        raise NotOfferedError(f"model `{name}` stands in no site file")
    table = node.site.models[name]
    return _Place(table, node.site.path_of(table.path), node.repository)


def _candidates(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield from (path, path.with_name(path.name + BEFORE))
        return
    for number in sorted(_numbers(path), reverse=True):
        yield from (path / str(number) / name for name in (MODEL_FILE, WITHDRAWN))


def _numbers(folder: Path) -> list[int]:
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    return [int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= len(str(NUMBER_MAX))]


def _next(folder: Path) -> int:
    return max(_numbers(folder), default=0) + 1


_digests: dict[Path, tuple[FileIdentity, str]] = {}


def _digest(file: Path, identity: FileIdentity) -> str:
    known = _digests.get(file)
    if known is None or known[0] != identity:
        known = _digests[file] = (identity, digest(file.read_bytes()))
    return known[1]


def _put(module: Path, path: Path, number: int) -> None:
    if not path.is_dir():
        _copy(path, path.with_name(path.name + BEFORE))
        _copy(module, path)
        return
    folder = path / str(number)
    folder.mkdir(exist_ok=True)
    _copy(module, folder / MODEL_FILE)
    _sync(path)


def _put_back(path: Path, number: int, wanted: str) -> bool:
    """Whether a start finds this version."""
    if not path.is_dir():
        before = path.with_name(path.name + BEFORE)
        if file_with(path, wanted) == before:
            swapped = path.with_name(path.name + ".swapped")
            _copy(path, swapped)
            before.replace(path)
            swapped.replace(before)
            _sync(path.parent)
        return file_with(path, wanted) == path
    own = path / str(number)
    if not (own / MODEL_FILE).exists() and (own / WITHDRAWN).exists():
        (own / WITHDRAWN).replace(own / MODEL_FILE)
        _sync(own)
    for later in (path / str(one) for one in _numbers(path) if one > number):
        if (later / MODEL_FILE).exists():
            (later / MODEL_FILE).replace(later / WITHDRAWN)
            _sync(later)
    return (own / MODEL_FILE).exists()


def _copy(source: Path, target: Path) -> None:
    """As a whole or not at all, also when the power fails."""
    fresh = target.with_name(f".{target.name}.new")
    try:
        with source.open("rb") as data, fresh.open("wb") as file:
            shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
