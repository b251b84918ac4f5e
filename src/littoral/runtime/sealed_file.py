"""Small files that only this installation can have written: a MAC under its key, then the payload.

The MAC covers what the file is for and its name, so that one file cannot be put in another's place.
"""

import hmac
import os
import stat
from pathlib import Path

from littoral.artifact.model import write_atomically
from littoral.artifact.store import Store
from littoral.errors import SetupError, TrustError
from littoral.runtime.file_identity import open_own_file

__all__ = ["own_folder", "read_sealed", "write_sealed"]

MAC_BYTES = 32


def own_folder(path: Path) -> Path:
    """The folder, made if needed, closed to other users. Raises SetupError where it cannot be ours alone."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise SetupError(f"cache folder `{path}` is no folder", hint="remove it, or set `LITTORAL_CACHE`")
        if status.st_uid != os.geteuid():
            raise SetupError(
                f"cache folder `{path}` belongs to user {status.st_uid}, expected {os.geteuid()}",
                hint="set `LITTORAL_CACHE` to a folder of this user",
            )
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise SetupError(
            f"cache folder `{path}`: {error.strerror}",
            hint="make it writable, or name another folder in `LITTORAL_CACHE`",
        ) from error
    return path


def write_sealed(path: Path, payload: bytes, store: Store, purpose: bytes) -> None:
    """Writes the file as a whole or not at all, mode 0600. Raises OSError."""
    write_atomically(path, store.mac(purpose, path.name.encode(), payload) + payload, mode=0o600)


def read_sealed(path: Path, store: Store, purpose: bytes, *, limit_bytes: int) -> bytes:
    """The payload. Raises OSError where there is no file, TrustError where it is not what this installation wrote."""
    handle, identity = open_own_file(path)
    with os.fdopen(handle, "rb") as file:
        if identity.bytes > limit_bytes:
            raise TrustError(f"`{path}` has {identity.bytes} bytes, at most {limit_bytes}")
        sealed = file.read(limit_bytes)
    mac, payload = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
    if not hmac.compare_digest(mac, store.mac(purpose, path.name.encode(), payload)):
        raise TrustError(f"`{path}` was not written by this installation, or was changed")
    return payload
