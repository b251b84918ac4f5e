"""One owner per shard: a lock file of our own, taken before the store is touched.

The store notices a second owner only after it has damaged the first one (its next flushes fail), and without a
write-ahead log not at all. So nobody loads a shard to find out whether it is free.
"""

import fcntl
import os
import time
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import NotFoundError, SetupError, UnavailableError

__all__ = ["FILE_NAME", "OwnerLock"]

FILE_NAME = ".owner.lock"
PAUSE_S = 0.01


class OwnerLock:
    """An exclusive `flock` on one file. The kernel frees it when its process ends, however it ends."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle: int | None = handle

    @classmethod
    def take(cls, folder: Path, clock: Clock, *, wait_s: float = 0.0, name: str = FILE_NAME) -> "OwnerLock":
        """Waits up to `wait_s` for the current owner to end.

        Raises UnavailableError, naming the owner's process, if it does not; NotFoundError, SetupError for the folder.
        """
        path = folder / name
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise NotFoundError(f"`{folder}`: no such folder") from error
        except OSError as error:
            raise SetupError(f"`{path}`: {error.strerror}") from error
        give_up = clock.monotonic() + wait_s
        try:
            while not _try_lock(handle):
                if clock.monotonic() >= give_up:
                    owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
                    raise UnavailableError(
                        f"`{folder}` is in use by process {owner or 'unknown'} (waited {wait_s:g} s)",
                        hint="end that process, or wait for it",
                    )
                time.sleep(PAUSE_S)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(handle)
            raise
        return cls(path, handle)

    def release(self) -> None:
        """May be called twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
