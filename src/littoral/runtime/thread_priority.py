"""Guests compute on every core; whoever answers requests must not queue behind them for one."""

import contextlib
import os
import sys
import threading

__all__ = ["BESIDE_NICE", "GUEST_NICE", "stand_back"]

GUEST_NICE = 5
"""Above the process's: a third of the share of a thread that has none."""

BESIDE_NICE = 15
"""For what nobody waits for, such as a version that is to take over: a tenth of the share of a guest."""


def stand_back(nice: int = GUEST_NICE) -> None:
    """Lets the calling thread get a core after the others of the process, where the system has a priority a thread."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # not allowed here: it is only slower to refuse
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, os.getpid()) + nice)
