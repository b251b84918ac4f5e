"""Files that somebody brought, sealed while they lie on the disk, by a key that only this process has.

The key is on no disk and ends with the process, as the files do: each start is a rotation, and what a process that was
killed has left opens for nobody. A worker is handed the key, and has what it reads in memory.
"""

import contextlib
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from littoral.making.orders import FEEDS, MODEL, ORDER, SOURCE
from littoral.vault import KeyRing, parse_keys
from littoral.vault.keys import new_key
from littoral.vault.layout import MAGIC

if TYPE_CHECKING:
    from littoral.vault.sealed import SealedWriter

__all__ = ["PLAIN", "FileKey", "unsealed"]

PLAIN = "plain-"
"""A worker's folder begins so."""


class FileKey:
    """line: for a worker."""

    def __init__(self) -> None:
        key, line = new_key()
        self._ring = KeyRing([key])
        self.line = line.encode()

    def writer(self, path: Path, stream: BinaryIO) -> "SealedWriter":
        """What seals that file; `close` makes it whole."""
        from littoral.vault.sealed import SealedWriter

        return SealedWriter(stream, self._ring, _purpose(path))

    def unseal(self, path: Path) -> None:
        """From now on it is plain. Raises OSError, and TrustError for one that was changed."""
        fresh = path.with_name(f".{path.name}.plain")
        with fresh.open("wb") as stream:
            _open_into(stream, path, self._ring)
        fresh.replace(path)


@contextlib.contextmanager
def unsealed(folder: Path, line: bytes) -> Iterator[Path]:
    """A folder of a build in which a worker reads and leaves its model; what lies sealed is in memory.

    line: of the key; empty: nothing is sealed. Raises TrustError for a file that was changed.
    """
    if not line:
        yield folder
        return
    ring = parse_keys(line, "key of a build")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        plain = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PLAIN, dir=folder)))
        for file in _brought(folder):
            seen = plain / file.relative_to(folder)
            seen.parent.mkdir(exist_ok=True)
            seen.symlink_to(_in_memory(stack, file, ring) if _is_sealed(file) else file.absolute())
        yield plain
        if (made := plain / MODEL).exists():
            made.replace(folder / MODEL)


def _brought(folder: Path) -> list[Path]:
    feeds = folder / FEEDS
    files = [folder / SOURCE, folder / ORDER, *(feeds.iterdir() if feeds.is_dir() else ())]
    return [file for file in files if file.is_file()]


def _in_memory(stack: contextlib.ExitStack, file: Path, ring: KeyRing) -> str:
    handle = os.memfd_create(file.name)
    stack.callback(os.close, handle)
    with os.fdopen(os.dup(handle), "wb") as stream:
        _open_into(stream, file, ring)
    return f"/proc/{os.getpid()}/fd/{handle}"


def _open_into(stream: BinaryIO, file: Path, ring: KeyRing) -> None:
    from littoral.vault.sealed import SealedReader

    with file.open("rb") as sealed:
        stream.writelines(SealedReader(sealed, ring, _purpose(file), f"`{file.name}`").chunks())


def _is_sealed(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _purpose(file: Path) -> str:
    return f"build {file.name}"
