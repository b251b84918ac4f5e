"""Where the files of a log lie (`littoral.artifact.disk`)."""

import errno
import os
import stat
from pathlib import Path

from littoral.artifact.disk import Disk, FolderDisk

__all__ = ["Disk", "FolderDisk", "ForeignFolder"]

FILE_BYTES_MAX = 1 << 25
"""More than 256 entries of the longest kind take."""
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class ForeignFolder(FolderDisk):
    """A folder that anybody may have written: reading it waits for nothing and takes no more memory than a log's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._root = folder

    def read(self, path: str) -> bytes | None:
        """None also where a folder, a pipe or a device lies; at most `FILE_BYTES_MAX` + 1 bytes. Raises OSError."""
        try:
            handle = os.open(self._root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in NO_FILE:
                return None
            raise
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return None
        with os.fdopen(handle, "rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
