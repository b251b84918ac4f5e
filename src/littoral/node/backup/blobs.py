"""Blobs by content: equal content is kept once, whichever backup it is of.

A plain blob is called by its SHA-256. A sealed one is called by an HMAC of its content, so that its name tells nothing,
and lies in a folder of its key: another key means other blobs.
"""

import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path

from littoral.errors import NotFoundError, TrustError
from littoral.node.backup.manifest import BLOB_BYTES
from littoral.vault import KeyRing
from littoral.vectors.layout import sync_folder

__all__ = ["BLOBS", "Blobs", "all_blobs"]

BLOBS = "blobs"
PLAIN = "plain"
UNFINISHED = ".part"
FILE_BYTES_MAX = BLOB_BYTES + (BLOB_BYTES >> 4)


class Blobs:
    """folder: of the backups. key: id of the key that these are sealed by, '' for plain ones; `ring` has it.

    new_count, new_bytes, kept_count: of what `put` was given.
    """

    def __init__(self, folder: Path, ring: KeyRing | None = None, key: str = "") -> None:
        self._folder = folder / BLOBS / (key or PLAIN)
        self._ring = ring if key else None
        found = None if not key or ring is None else ring.of(bytes.fromhex(key), f"backup in `{folder}`")
        self._names_key = b"" if found is None else found.derived("names of blobs")
        if key and found is None:
            raise TrustError(f"backup in `{folder}` is sealed by key {key}", hint="`--keys FILE` names the keys")
        self._touched: set[Path] = set()
        self.new_count = self.new_bytes = self.kept_count = 0

    def put(self, content: bytes) -> str:
        """Its name. One that is there already stays if it is good, and is replaced if it is not."""
        name = self._name(content)
        path = self._path(name)
        if self._is_there(name, content):
            self.kept_count += 1
            return name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = self._sealed(content, name)
        unfinished = path.with_name(path.name + UNFINISHED)
        with open(unfinished, "wb", opener=_private) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.rename(path)
        self._touched |= {path.parent, path.parent.parent, path.parent.parent.parent}
        self.new_count += 1
        self.new_bytes += len(data)
        return name

    def get(self, name: str) -> bytes:
        """Its content. Raises NotFoundError, TrustError for one that is not what its name says."""
        path = self._path(name)
        try:
            with path.open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX)
        except OSError as error:
            raise NotFoundError(f"blob `{path}`: {error.strerror}") from error
        content = self._opened(data, name, f"blob `{path}`")
        if not hmac.compare_digest(self._name(content), name):
            raise TrustError(f"blob `{path}` is not as it was written: its digest is another")
        return content

    def sync(self) -> None:
        """What was put is there after a power cut."""
        for folder in sorted(self._touched, reverse=True):
            sync_folder(folder)
        self._touched.clear()

    def _is_there(self, name: str, content: bytes) -> bool:
        try:
            return self.get(name) == content
        except (NotFoundError, TrustError):
            return False

    def _name(self, content: bytes) -> str:
        if self._ring is None:
            return hashlib.sha256(content).hexdigest()
        return hmac.new(self._names_key, content, hashlib.sha256).hexdigest()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _sealed(self, content: bytes, name: str) -> bytes:
        if self._ring is None:
            return content
        from littoral.vault.sealed import sealed

        return sealed(content, self._ring, f"blob {name}")

    def _opened(self, data: bytes, name: str, what: str) -> bytes:
        if self._ring is None:
            return data
        from littoral.vault.sealed import opened

        return opened(data, self._ring, f"blob {name}", what)


def all_blobs(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Key id ('' for plain), name and file of each that is there; what a crash left has a name that none has."""
    for path in sorted((folder / BLOBS).glob("*/*/*")):
        key = path.parent.parent.name
        yield "" if key == PLAIN else key, path.name, path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
