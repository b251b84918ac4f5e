"""Digests of files that were hashed once, remembered by the file's identity.

Hashing 19 MB takes longer (15 ms) than everything else in `load` together, so a file is hashed only when it is new or
changed.
A stale record could at worst make `load` run the module that this file held before: the machine code and the manifest
that run come from the digest, never from the file.
"""

from pathlib import Path

import msgspec

from littoral.artifact.store import Store
from littoral.errors import TrustError
from littoral.runtime.file_identity import FileIdentity
from littoral.runtime.sealed_file import own_folder, read_sealed, write_sealed

__all__ = ["VerifiedDigests"]

PURPOSE = b"verified digest"
RECORD_BYTES_MAX = 1024
RECORDS_MAX = 4096


class _Record(msgspec.Struct, array_like=True):
    identity: FileIdentity
    digest: str


class VerifiedDigests:
    """Records in one folder (0700), one per file; the oldest of 4096 make room."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = own_folder(folder)
        self._store = store

    def find(self, identity: FileIdentity) -> str | None:
        """The digest found when this very file was hashed, or None."""
        try:
            payload = read_sealed(self._path(identity), self._store, PURPOSE, limit_bytes=RECORD_BYTES_MAX)
            record = msgspec.msgpack.decode(payload, type=_Record)
        except (OSError, TrustError, msgspec.DecodeError):
            return None
        return record.digest if record.identity == identity else None

    def record(self, identity: FileIdentity, digest: str) -> bool:
        """Remembers a digest; False where the disk does not take it: the file is then hashed again.

        The identity must have been settled before the file was read.
        """
        payload = msgspec.msgpack.encode(_Record(identity, digest))
        try:
            write_sealed(self._path(identity), payload, self._store, PURPOSE)
            self._drop_oldest()
        except OSError:
            return False
        return True

    def _drop_oldest(self) -> None:
        records = list(self._folder.iterdir())
        if len(records) > RECORDS_MAX:
            for old in sorted(records, key=lambda p: p.stat().st_mtime)[: len(records) - RECORDS_MAX]:
                old.unlink(missing_ok=True)

    def _path(self, identity: FileIdentity) -> Path:
        return self._folder / f"{identity.device:x}-{identity.inode:x}"
