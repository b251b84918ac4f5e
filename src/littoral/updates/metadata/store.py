"""Where metadata lies: names with slashes, small files, each there whole or not at all."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from littoral.artifact.model import write_atomically

__all__ = ["FolderLock", "FolderStore", "Lock", "MetadataStore", "Writing"]

FOLDER_MODE = 0o700
FILE_MODE = 0o600
BESIDE = ".new"
LOCK = ".lock"
MANY = 32
"""Files from which on the whole disk is flushed twice, rather than each file and its folder."""


class MetadataStore(Protocol):
    """All raise OSError when the store itself fails."""

    def read(self, path: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def write_all(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Each atomically, one after the other: a reader that sees one sees those before it. Durable on return."""
        ...

    def remove(self, path: str) -> None:
        """Nothing where there is no such file."""
        ...

    def list(self, folder: str) -> Iterator[str]:
        """Paths of all files below, in no order."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else writes until the block ends, in this process or another. One in another of one thread is fine.

        What is read before it may have changed.
        """
        ...


class Lock(Protocol):
    """Among processes. For one thread at a time."""

    def take(self) -> None:
        """Waits for whoever has it."""
        ...

    def keep(self) -> None:
        """Before each write. Raises UnavailableError where it was lost."""
        ...

    def release(self) -> None: ...


class FolderLock:
    """A `Lock`, by `flock` of a file in the folder, which is made: the kernel frees it when its process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None

    def take(self) -> None:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def keep(self) -> None:
        """The kernel does."""

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class Writing:
    """A lock among processes, for several threads, each of which may take it again."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._threads = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `MetadataStore.exclusive`."""
        with self._threads:
            if not self._depth:
                self._lock.take()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._lock.release()

    @contextlib.contextmanager
    def each(self) -> Iterator[Lock]:
        """As `exclusive`; what it gives is asked to `keep` before each write."""
        with self.exclusive():
            yield self._lock


class FolderStore:
    """Files below a folder, for their owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = Writing(FolderLock(folder))

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_all(self, files: Sequence[tuple[str, bytes]]) -> None:
        for path, _ in files:
            (self._folder / path).parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if len(files) < MANY:
            for path, data in files:
                write_atomically(self._folder / path, data, FILE_MODE)
            return
        beside = [(self._folder / f"{path}{BESIDE}", self._folder / path) for path, _ in files]
        for (new, _), (_, data) in zip(beside, files, strict=True):
            new.write_bytes(data)
            new.chmod(FILE_MODE)
        os.sync()
        for new, target in beside:
            new.replace(target)
        os.sync()

    def remove(self, path: str) -> None:
        (self._folder / path).unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[str]:
        for found in (self._folder / folder).rglob("*"):
            if found.is_file() and found.name != LOCK:
                yield found.relative_to(self._folder).as_posix()

    def exclusive(self) -> AbstractContextManager[None]:
        return self._writing.exclusive()
