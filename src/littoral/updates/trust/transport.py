"""How bytes come to a node: nothing that arrives is believed, so it may come from anywhere."""

import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from littoral.errors import InputError, NotFoundError, PeerError
from littoral.updates import tree

__all__ = ["CHUNK_BYTES", "FirstOf", "FolderTransport", "Transport", "file_chunks"]

CHUNK_BYTES = 1 << 16


class Transport(Protocol):
    """Of one fleet's tree (`littoral.updates.tree`)."""

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes from `offset` up to `end`, or to the last; may give fewer than there are, and more than were asked for.

        Raises NotFoundError where there is no such file, PeerError where it cannot be had now (also while iterating),
        WrongRangeError for an answer that is of another range.
        """
        ...


class FolderTransport:
    """A folder with the tree in it: a stick, a share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        if not tree.is_public(path):
            raise InputError(f"`{path[:120]}` is no file of a fleet")
        try:
            file = open(self._folder / path, "rb", opener=_unwaited)  # noqa: SIM115 - closed by file_chunks
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"`{self._folder / path}` is not there") from error
        except OSError as error:
            raise PeerError(f"`{self._folder / path}`: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise PeerError(f"`{self._folder / path}` is a pipe or a device, expected a file: export the fleet again")
        return file_chunks(file, offset, end)


class FirstOf:
    """The first that has it: peers first, the orchestrator last. Metadata is asked of the last alone, which is the one
    that knows what is new.
    """

    def __init__(self, transports: Sequence[Transport]) -> None:
        self._transports = tuple(transports)
        self.last = self._transports[-1]

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        if path.startswith(tree.TARGETS):
            for transport in self._transports[:-1]:
                try:
                    return transport.read(path, offset=offset, end=end)
                except (NotFoundError, PeerError):
                    continue
        return self.last.read(path, offset=offset, end=end)


def _unwaited(path: str, flags: int) -> int:
    """Opening a pipe would wait for who writes it."""
    return os.open(path, flags | os.O_NONBLOCK)


def file_chunks(file: io.BufferedReader, offset: int, end: int | None) -> Iterator[bytes]:
    """Of an open file, which is closed at the end. Raises PeerError."""
    left = None if end is None else max(0, end - offset)
    with file:
        try:
            file.seek(offset)
            while left is None or left > 0:
                chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk
        except OSError as error:
            raise PeerError(f"`{file.name}`: {error.strerror}") from error
