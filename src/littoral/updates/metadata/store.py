"""Where metadata lies: names with slashes, small files, each there whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from littoral.artifact.model import write_atomically

__all__ = ["FolderStore", "MetadataStore"]

FOLDER_MODE = 0o700
FILE_MODE = 0o600
BESIDE = ".new"
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


class FolderStore:
    """Files below a folder, for their owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
            if found.is_file():
                yield found.relative_to(self._folder).as_posix()
