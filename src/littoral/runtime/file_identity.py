"""Which file this is, and that nobody wrote to it since: device, inode, size, and the times of its last changes.

`changed_ns` (ctime) is set by the kernel at every write, rename and change of mode, and cannot be set by a program.
Kernels stamp files with a clock that ticks; a file changed twice within one tick looks unchanged. So an identity proves
something only if it was `is_settled` before its content was read.
"""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from littoral.errors import TrustError

__all__ = ["FileIdentity", "open_own_file"]

TICK_NS = 50_000_000
COARSE_TICK_NS = 2_000_000_000  # file systems that keep whole seconds
SECOND_NS = 1_000_000_000


class FileIdentity(NamedTuple):
    """Equal identities of one path: the same bytes, as far as the kernel's own book-keeping goes."""

    device: int
    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now_ns: int) -> bool:
        """Whether a later write would show: the last change is more than a tick of the file's clock ago."""
        tick = TICK_NS if self.changed_ns % SECOND_NS else COARSE_TICK_NS
        return self.changed_ns + tick < now_ns


def open_own_file(path: Path) -> tuple[int, FileIdentity]:
    """A descriptor (the caller closes it) and the identity of a file that only this user can have written.

    Raises TrustError for a link, another owner, or a mode that lets others write; OSError where there is no such file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise TrustError(f"`{path}` is no ordinary file")
        if status.st_uid != os.geteuid():
            raise TrustError(f"`{path}` belongs to user {status.st_uid}, expected {os.geteuid()}")
        if status.st_mode & 0o077:
            raise TrustError(f"`{path}` has mode {stat.S_IMODE(status.st_mode):04o}, expected 0600")
        return handle, FileIdentity.of(status)
    except BaseException:
        os.close(handle)
        raise
