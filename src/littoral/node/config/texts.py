"""Which text of a site file a node runs, and which one served last: copies in this installation's state folder.

The site file itself may be changed by anybody at any time, and may lie where a node cannot write. What a node is
started from, and started again from after a crash, is the copy; so a slip in the file counts when it is taken, not at
the next crash.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from littoral.errors import NotFoundError, SetupError
from littoral.node.site import FILE_BYTES_MAX
from littoral.settings import state_folder
from littoral.vectors.layout import sync_folder

__all__ = ["PREVIOUS", "SiteTexts", "read_text", "replace_text"]

SITES = "sites"
RUNNING = "running.toml"
SERVED = "served.toml"
PREVIOUS = ".previous"


class SiteTexts:
    """Of one site file, by its path."""

    def __init__(self, file: Path) -> None:
        name = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]
        self.folder = state_folder() / SITES / name
        self.running = self.folder / RUNNING
        self._served = self.folder / SERVED

    def make(self) -> None:
        """The folder. Raises SetupError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SetupError(
                f"state folder `{self.folder}`: {error.strerror}",
                hint="make it writable, or name another folder in `LITTORAL_STATE`",
            ) from error

    def run(self, text: bytes) -> None:
        """The node is started from this one. Raises OSError."""
        _replace(self.running, text, 0o600)

    def served(self) -> bytes | None:
        """The one that a node served with last; None if none did."""
        with contextlib.suppress(OSError):
            return self._served.read_bytes()
        return None

    def keep_served(self, text: bytes) -> None:
        """A node serves with it. On a disk that takes nothing the one before stays."""
        if self.served() != text:
            with contextlib.suppress(OSError):
                _replace(self._served, text, 0o600)


def read_text(path: Path) -> bytes:
    """At most a byte more than a site file may have. Raises NotFoundError."""
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"site file `{path}`: {error.strerror}") from error


def replace_text(file: Path, text: bytes) -> Path:
    """The site file says this from now on, whole or not at all; what it said before is in the file that is returned.

    Mode and owner stay. Raises OSError.
    """
    file = file.resolve()
    previous = file.with_name(file.name + PREVIOUS)
    status = file.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    for path, content in ((previous, file.read_bytes()), (file, text)):
        _replace(path, content, status.st_mode & 0o777, owner)
    return previous


def _replace(path: Path, text: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Aside, synced, renamed. What a writer that died has left is written over."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as stream:
        os.fchmod(stream.fileno(), mode)
        if owner is not None:
            os.fchown(stream.fileno(), *owner)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
    sync_folder(path.parent)
