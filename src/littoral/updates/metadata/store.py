"""Where metadata lies: names with slashes, small files, each there whole or not at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from littoral.artifact.model import write_atomically

__all__ = ["FolderStore", "MetadataStore"]

FOLDER_MODE = 0o700
FILE_MODE = 0o600


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
        for path, data in files:
            target = self._folder / path
            target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            write_atomically(target, data, FILE_MODE)

    def remove(self, path: str) -> None:
        (self._folder / path).unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[str]:
        for found in (self._folder / folder).rglob("*"):
            if found.is_file():
                yield found.relative_to(self._folder).as_posix()
