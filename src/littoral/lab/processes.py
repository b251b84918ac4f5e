"""A node's processes, all at once: its supervisor, the node, its shard hosts. Ended and stopped as by a power cut."""

import contextlib
import os
import signal
from pathlib import Path

__all__ = ["family", "freeze", "kill", "thaw"]


def family(pid: int) -> list[int]:
    """This process and all that descend from it, parents first. What is gone meanwhile is left out."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def freeze(pid: int) -> None:
    """None of them does anything until `thaw`; the kernel goes on acknowledging what they are sent."""
    stopped: set[int] = set()
    while fresh := [one for one in family(pid) if one not in stopped]:
        _signal(fresh, signal.SIGSTOP)
        stopped.update(fresh)


def thaw(pid: int) -> None:
    """They go on."""
    _signal(family(pid), signal.SIGCONT)


def kill(pid: int) -> None:
    """Ends them without a word. Stopped first: none starts another meanwhile."""
    freeze(pid)
    _signal(family(pid), signal.SIGKILL)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
