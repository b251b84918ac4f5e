"""A bound on the memory of processes, by the kernel: a control group below the one that the test is in."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A folder of the kernel's. Of version 1 or 2."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_first = (folder / "memory.limit_in_bytes").exists()

    def add(self, pid: int) -> None:
        """What it starts from then on is in it, too."""
        (self._folder / "cgroup.procs").write_text(f"{pid}\n")

    def limit(self, size: int) -> None:
        if not self._is_first:  # else it swaps instead
            with contextlib.suppress(OSError):
                (self._folder / "memory.swap.max").write_text("0\n")
        (self._folder / ("memory.limit_in_bytes" if self._is_first else "memory.max")).write_text(f"{size}\n")

    def used(self) -> int:
        return int((self._folder / ("memory.usage_in_bytes" if self._is_first else "memory.current")).read_text())

    def kills(self) -> int:
        """Processes that the kernel has killed in it for want of memory."""
        text = (self._folder / ("memory.oom_control" if self._is_first else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.split()[0] == "oom_kill")


@contextlib.contextmanager
def memory_group() -> Iterator[MemoryGroup | None]:
    """None where this user may make none. Who is in it must have ended when the block does."""
    made = next(filter(None, map(_made, _parents())), None)
    if made is None:
        yield None
        return
    try:
        yield MemoryGroup(made)
    finally:
        with contextlib.suppress(OSError):  # where a test failed, somebody is still in it
            made.rmdir()


def _parents() -> list[Path]:
    """Of version 2 also those above: a group that has processes of its own gives its groups no memory controller."""
    found: list[Path] = []
    for line in GROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append(ROOT / "memory" / path.lstrip("/"))
        elif not controllers:
            own = ROOT / path.lstrip("/")
            found += [one for one in (own, *own.parents) if one.is_relative_to(ROOT)]
    return found


def _made(parent: Path) -> Path | None:
    folder = parent / f"littoral-test-{os.getpid()}"
    try:
        folder.mkdir()
        if not (folder / "memory.max").exists() and (parent / "cgroup.subtree_control").exists():
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text("+memory\n")
    except OSError:
        return None
    if (folder / "memory.limit_in_bytes").exists() or (folder / "memory.max").exists():
        return folder
    folder.rmdir()
    return None
