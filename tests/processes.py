"""Processes below a supervisor, as the kernel lists them."""

import contextlib
from pathlib import Path

from littoral.vectors import layout
from waiting import until


def children_of(pid: int) -> dict[int, str]:
    """Child processes of all its threads, with their command lines. Threads and children may end meanwhile."""
    pids: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            pids += (task / "children").read_text().split()
    found = {}
    for child in map(int, pids):
        with contextlib.suppress(OSError):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def host_of(supervisor: int, name: str) -> int:
    """Process of the shard host of a collection, once it runs."""
    hosts: list[int] = []

    def is_there() -> bool:
        hosts[:] = [pid for pid, line in children_of(supervisor).items() if f"/{layout.COLLECTIONS}/{name}/" in line]
        return bool(hosts)

    until(is_there)
    return hosts[0]
