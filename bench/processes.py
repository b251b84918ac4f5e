"""A process and all below it, as the kernel accounts for them."""

import contextlib
from pathlib import Path

__all__ = ["pss_bytes", "pss_bytes_by_process", "resident_bytes", "tree_of"]


NAMES = ((b"shard_process", "shard host"), (b"optimize_process", "builder"), (b"node.process", "node"))
"""What stands in a command line, and what that process is."""


def tree_of(pid: int) -> list[int]:
    """The process, then those below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += tree_of(int(child))
    return found


def pss_bytes(pid: int) -> int:
    """Of a process and all below it: what each has alone, and its share of what it has together with others."""
    return sum(_own_pss_bytes(one) for one in tree_of(pid))


def pss_bytes_by_process(pid: int) -> dict[str, int]:
    """The same by what each is: supervisor, node, or shard host."""
    found: dict[str, int] = {}
    for one in tree_of(pid):
        name = _name(one)
        found[name] = found.get(name, 0) + _own_pss_bytes(one)
    return found


def resident_bytes(pid: int) -> dict[str, int]:
    """What lies in memory, by what each process is, and of that what is no file's: `node`, `node, own`."""
    found: dict[str, int] = {}
    for one in tree_of(pid):
        name = _name(one)
        for told, field in ((name, "Rss:"), (f"{name}, own", "Anonymous:")):
            found[told] = found.get(told, 0) + _own_bytes(one, field)
    return found


def _own_pss_bytes(pid: int) -> int:
    return _own_bytes(pid, "Pss:")


def _own_bytes(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    return 0


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        for part, name in NAMES:
            if part in line:
                return name
    return "supervisor"
