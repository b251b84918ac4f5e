"""This installation's own store: a secret key, the digests of the modules it compiled itself, and whose signatures
others were found to carry.

Only what it compiled, or what a trusted key signed, may run in the engine without epochs. An entry is a MAC under the
key, so a file that another user drops into the folder is worth nothing.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from littoral.artifact.model import write_atomically
from littoral.errors import SetupError
from littoral.settings import state_folder

__all__ = ["Store"]

KEY_BYTES = 32
ENTRIES_MAX = 4096
BEING_WRITTEN_S = 3600  # at most; what is older was left by a process that died


class Store:
    """Key and digests under one folder (0700)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder()
        self._entries = self.folder / "compiled"
        self._signed = self.folder / "signed"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._entries.mkdir(exist_ok=True, mode=0o700)
            self._signed.mkdir(exist_ok=True, mode=0o700)
            self.key = self._read_or_make_key()
        except OSError as error:
            raise SetupError(
                f"state folder `{self.folder}`: {error.strerror}",
                hint="make it writable, or name another folder in `LITTORAL_STATE`",
            ) from error

    def _read_or_make_key(self) -> bytes:
        path = self.folder / "key"
        if path.exists() and len(key := path.read_bytes()) == KEY_BYTES:
            return key
        fresh = self.folder / f".key.{os.getpid()}.{secrets.token_hex(4)}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(fresh, path)  # fails where another process was first: its key is the key
        except FileExistsError:
            if len(path.read_bytes()) != KEY_BYTES:
                fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return path.read_bytes()

    def mac(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 under the installation's key over length-prefixed parts."""
        message = b"".join(len(p).to_bytes(8, "little") + p for p in parts)
        return hmac.new(self.key, message, hashlib.sha256).digest()

    def record(self, digest: str) -> None:
        """Notes that this installation compiled the module with this digest; the oldest of 4096 make room."""
        self._note(self._entries / digest, self.mac(b"compiled", digest.encode()))

    def holds(self, digest: str) -> bool:
        """Whether this installation compiled the module with this digest."""
        return _has(self._entries / digest, self.mac(b"compiled", digest.encode()))

    def record_signed(self, digest: str, key: bytes) -> None:
        """Notes that the module with this digest carries a signature of this public key, of all of it; bounded as
        `record`."""
        self._note(self._signed / f"{digest}.{key.hex()}", self.mac(b"signed", digest.encode(), key))

    def is_signed(self, digest: str, key: bytes) -> bool:
        """Whether that was noted."""
        return _has(self._signed / f"{digest}.{key.hex()}", self.mac(b"signed", digest.encode(), key))

    def _note(self, path: Path, mac: bytes) -> None:
        if _has(path, mac):
            with contextlib.suppress(FileNotFoundError):  # another process made room
                os.utime(path)
                return
        write_atomically(path, mac, mode=0o600)
        self._make_room(path.parent)

    def _make_room(self, folder: Path) -> None:
        """Removes the oldest entries. Files that others write, or remove at the same time, are theirs."""
        changed_at: dict[str, float] = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    changed_at[entry.name] = entry.stat().st_mtime
        digests = sorted((n for n in changed_at if not n.startswith(".")), key=changed_at.__getitem__)
        abandoned_at = max(changed_at.values()) - BEING_WRITTEN_S
        abandoned = [n for n, changed in changed_at.items() if n.startswith(".") and changed < abandoned_at]
        for name in (*digests[: max(0, len(digests) - ENTRIES_MAX)], *abandoned):
            (folder / name).unlink(missing_ok=True)


def _has(path: Path, mac: bytes) -> bool:
    try:
        found = path.read_bytes()
    except OSError:
        return False
    return hmac.compare_digest(found, mac)
