"""What a supervised process owes its supervisor: it ends when the supervisor does, and says when it is ready.

The supervisor holds one end of a pipe; its death, of whatever kind, closes it, and then the kernel kills the child.
The kernel does it (`F_SETSIG`), because a child inside a native call that holds the GIL could not notice for seconds.
A killed child loses nothing that it acknowledged: whoever uses this must be able to say so.
"""

import fcntl
import os
import select
import signal
import sys

from littoral.settings import number, text

__all__ = ["ALIVE", "FAILED", "LIFELINE_VARIABLE", "LOOKED", "READY", "STATUS_VARIABLE", "Lifeline"]

LIFELINE_VARIABLE = "LITTORAL_LIFELINE_FD"
STATUS_VARIABLE = "LITTORAL_STATUS_FD"
READY = "ready"
FAILED = "failed"
ALIVE = "alive"
LOOKED = "looked"
LINE_BYTES_MAX = 2048


class Lifeline:
    """The child's ends of its two pipes: one to live by, one to report on."""

    def __init__(self, lifeline: int | None, status: int | None) -> None:
        self._lifeline = lifeline
        self._status = status

    @classmethod
    def attach(cls) -> "Lifeline":
        """From the environment; from then on Ctrl-C is the supervisor's business. Without a supervisor: does nothing.

        Exits at once if the supervisor is already gone.
        """
        if not text(LIFELINE_VARIABLE):
            return cls(None, None)
        lifeline, status = number(LIFELINE_VARIABLE), number(STATUS_VARIABLE)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for handle in (lifeline, status):
            os.set_inheritable(handle, False)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if _is_closed(lifeline):
            sys.exit("littoral: the supervisor is gone")
        return cls(lifeline, status)

    def ready(self, address: str = "") -> None:
        """Tells the supervisor that this process serves, and where."""
        self._report(f"{READY} {address}".rstrip())

    def alive(self) -> None:
        """Tells the supervisor that this process still gets round."""
        self._report(ALIVE)

    def looked(self, problem: str = "") -> None:
        """Tells the supervisor that this process has read its settings again. problem: why it goes on as it was."""
        self._report(f"{LOOKED} {problem}".replace("\n", " ").rstrip())

    def failed(self, reason: str) -> None:
        """Tells the supervisor why this process ends."""
        self._report(f"{FAILED} {reason}".replace("\n", " "))

    def _report(self, line: str) -> None:
        if self._status is not None:
            os.write(self._status, line.encode()[: LINE_BYTES_MAX - 1] + b"\n")


def _is_closed(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLHUP)
    return bool(poll.poll(0))
