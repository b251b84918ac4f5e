"""One child process of the supervisor: its command, its two pipes, its end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from littoral import lifeline, settings

__all__ = ["Child"]

READ_BYTES = 1 << 16
VMSTAT = Path("/proc/vmstat")


class Child:
    """A running process. It dies when `lifeline` closes, so also when this process does."""

    def __init__(self, command: Sequence[str], handles: Mapping[str, int]) -> None:
        """handles: environment variables that name inherited file descriptors. Raises OSError if it cannot start."""
        theirs, self._lifeline = os.pipe()
        self.status, status = os.pipe()
        variables = {lifeline.LIFELINE_VARIABLE: theirs, lifeline.STATUS_VARIABLE: status, **handles}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=settings.environment(
                    **{name: str(handle) for name, handle in variables.items()},
                    OPENBLAS_NUM_THREADS=settings.text("OPENBLAS_NUM_THREADS"),
                ),
                pass_fds=tuple(variables.values()),
                process_group=0,  # Ctrl-C at the terminal is the supervisor's alone
            )
        except OSError:
            os.close(self._lifeline)
            os.close(self.status)
            raise
        finally:
            os.close(theirs)
            os.close(status)
        self._memory_kills = memory_kills()
        self.ended = self._end_handle()
        os.set_blocking(self.status, False)
        self._unread = b""

    def _end_handle(self) -> int:
        try:
            return os.pidfd_open(self._process.pid)
        except OSError:
            self._process.kill()
            self._process.wait()
            os.close(self._lifeline)
            os.close(self.status)
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, what: Literal["look", "refresh"]) -> None:
        """Asks it to read its settings again, or to look for new versions of its files."""
        self._process.send_signal(signal.SIGUSR1 if what == "look" else signal.SIGHUP)

    def terminate(self) -> None:
        """Asks it to end in order."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._process.kill()

    def reports(self) -> list[str]:
        """Lines it has written on its status pipe since the last call; a long one loses its beginning."""
        with contextlib.suppress(BlockingIOError):
            self._unread += os.read(self.status, READ_BYTES)
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest[-lifeline.LINE_BYTES_MAX :]
        return [line.decode(errors="replace") for line in lines]

    def reap(self) -> str:
        """After `ended` became readable: how it ended, in words. Closes everything."""
        code = self._process.wait()
        for handle in (self._lifeline, self.status, self.ended):
            os.close(handle)
        return _in_words(code, is_short=memory_kills() > self._memory_kills)


def _in_words(code: int, *, is_short: bool) -> str:
    """is_short: the kernel has killed something for want of memory meanwhile."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    why = {"SIGBUS": ", is the disk full?", "SIGKILL": ", was there too little memory?" if is_short else ""}
    return f"killed by {name}" + why.get(name, "")


def memory_kills() -> int:
    """Processes that the kernel has killed for want of memory since it started; 0 where it does not tell."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = VMSTAT.read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("oom_kill ")).split()[1])
    return 0
