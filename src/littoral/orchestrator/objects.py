"""Bytes of artifacts by their name: in a folder, or in storage that speaks S3 (`objects_s3`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from littoral.artifact.model import write_atomically
from littoral.errors import NotFoundError, UnavailableError
from littoral.updates.metadata.store import FolderLock, Lock

__all__ = ["FolderObjects", "Objects"]


class Objects(Protocol):
    """Names are relative, with slashes. An object is there whole or not at all. Thread-safe.

    Everything raises UnavailableError while the storage is away.
    """

    def put(self, name: str, data: bytes) -> None:
        """In the place of what has this name."""
        ...

    def put_file(self, name: str, file: Path) -> None:
        """As `put`; the file is taken away."""
        ...

    def get(self, name: str) -> bytes | None:
        """All of a small one; None where there is none."""
        ...

    def length(self, name: str) -> int | None:
        """In bytes; None where there is none."""
        ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """A part, shorter at the end. Raises NotFoundError."""
        ...

    def delete(self, name: str) -> None:
        """Nothing where there is none."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Of the objects whose names begin so, in no order."""
        ...

    def lock(self, name: str) -> Lock:
        """Among all processes that have these objects. `names` does not tell of it."""
        ...


class FolderObjects:
    """Files below a folder, synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        try:
            write_atomically(self._made(name), data, 0o600)
        except OSError as error:
            raise self._away(error) from error

    def put_file(self, name: str, file: Path) -> None:
        try:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            target = self._made(name)
            file.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise self._away(error) from error

    def get(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._away(error) from error

    def length(self, name: str) -> int | None:
        try:
            return (self._folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._away(error) from error

    def read(self, name: str, start: int, length: int) -> bytes:
        try:
            with (self._folder / name).open("rb") as stream:
                stream.seek(start)
                return stream.read(length)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"no object `{name}`") from error
        except OSError as error:
            raise self._away(error) from error

    def delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._away(error) from error

    def names(self, prefix: str) -> Iterator[str]:
        below = self._folder / prefix.rpartition("/")[0]
        for found in below.rglob("*"):
            name = found.relative_to(self._folder).as_posix()
            if found.is_file() and name.startswith(prefix) and not found.name.startswith("."):
                yield name

    def lock(self, name: str) -> Lock:
        return FolderLock(self._folder / name)

    def _made(self, name: str) -> Path:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _away(self, error: OSError) -> UnavailableError:
        return UnavailableError(f"objects `{self._folder}`: {error.strerror}")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
