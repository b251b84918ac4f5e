"""The machine: processor, memory, clock, and what its limits forbid that a node needs."""

import mmap
import platform
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from littoral import settings
from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.site import Site
from littoral.runtime.thread_stack import STACK_BYTES_MIN, stack_bytes, start_threads
from littoral.telemetry.findings import Finding, Status

__all__ = ["examine_machine"]

MIB = 1 << 20
FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes")
SECOND = ("memory.max", "memory.current")
"""Bound and use of a control group, by the version of these."""
MEMORY_LOW = 256 * MIB
YEAR_2026_S = 1_767_225_600.0
AHEAD_S = 86_400.0
FILES_SPARE = 256
FOLDERS_MAX = 1000
WANTED = {"x86_64": ("ssse3", "sse4_1"), "aarch64": ("asimd",)}
FASTER = {"x86_64": ("avx2", "fma"), "aarch64": ("asimddp",)}
"""Features without which kernels take a slower way."""


def examine_machine(site: Site, clock: Clock, *, root: Path = Path("/")) -> Iterator[Finding]:
    """root: of `proc` and `sys`, for tests."""
    yield _processor(root)
    yield _memory(site, root)
    yield _clock(site, clock)
    yield from _limits(site)
    for subject, folder, reserve in (
        ("data", site.data, settings.number("LITTORAL_DISK_RESERVE_MB") * MIB),
        ("cache", settings.cache_folder(), 0),
    ):
        yield _disk(subject, folder, reserve)


def _processor(root: Path) -> Finding:
    machine = platform.machine()
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError as error:
        return Finding("cpu", machine, Status.WARN, f"the system does not tell its features: {error.strerror}")
    found = next(
        (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    if lacking := [name for name in WANTED.get(machine, ()) if name not in found]:
        words = f"lacks {', '.join(lacking)}: models with SIMD do not run"
        return Finding("cpu", machine, Status.FAIL, words, "build with `--target mvp`, or another machine")
    if slower := [name for name in FASTER.get(machine, ()) if name not in found]:
        words = f"lacks {', '.join(slower)}: models run, slower"
        return Finding("cpu", machine, Status.WARN, words, "is it a virtual machine whose processor is masked?")
    return Finding("cpu", machine, Status.OK, "has all that kernels use")


def _memory(site: Site, root: Path) -> Finding:
    """What is available, or what a control group leaves of it."""
    free = _available(root)
    if free is None:
        return Finding("memory", "machine", Status.WARN, "the system does not tell how much is free")
    wanted = max(MEMORY_LOW, (site.node.memory_mb or 0) * MIB)
    told = f"{free >> 20} MiB are free"
    if free < wanted:
        hint = "smaller `node.memory_mb`, fewer instances, or more memory (MemoryMax of its unit, too)"
        return Finding("memory", "machine", Status.WARN, f"{told}, the node may want {wanted >> 20}", hint)
    return Finding("memory", "machine", Status.OK, told)


def _available(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    if free is None:
        return None
    return min([free, *_left_by_groups(root)])


def _left_by_groups(root: Path) -> Iterator[int]:
    """What each control group that this process is in, and each above it, leaves: of version 2 (`0::/PATH`) or 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        bound, used = FIRST if controllers else SECOND
        own = top / path.lstrip("/")
        for group in (own, *own.parents):
            if not group.is_relative_to(top):
                break
            if (most := _number(group / bound)) is not None:
                yield max(0, most - (_number(group / used) or 0))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _clock(site: Site, clock: Clock) -> Finding:
    now, hint = clock.wall(), "set it, and let NTP keep it: certificates, ages and times of writes go by it"
    if now < YEAR_2026_S:
        return Finding("clock", "machine", Status.FAIL, "is years behind", hint)
    newest = max((path.stat().st_mtime for path in _some(site.data)), default=0.0)
    if newest > now + AHEAD_S:
        days = (newest - now) / 86_400
        return Finding("clock", "machine", Status.WARN, f"data was written {days:.0f} days later than it is now", hint)
    return Finding("clock", "machine", Status.OK, "is not behind what was written")


def _some(folder: Path) -> list[Path]:
    try:
        return [path for _, path in zip(range(FOLDERS_MAX), folder.glob("*"), strict=False)]
    except OSError:
        return []


def _limits(site: Site) -> Iterator[Finding]:
    yield _machine_code()
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        words = "the address space is limited: the Wasm engine reserves gigabytes that it never uses"
        yield Finding("stack", "address space", Status.FAIL, words, "no `ulimit -v`, no LimitAS in its unit")
    found: list[int] = []
    try:
        thread = threading.Thread(target=lambda: found.append(stack_bytes()))
        start_threads([thread])
        thread.join()
    except (LittoralError, RuntimeError) as error:
        yield Finding("stack", "threads", Status.FAIL, str(error), "more threads (TasksMax of its unit, `ulimit -u`)")
    else:
        is_enough = found[0] >= STACK_BYTES_MIN
        status, hint = (Status.OK, None) if is_enough else (Status.FAIL, "a larger `ulimit -s`")
        yield Finding("stack", "threads", status, f"of guests have {found[0] >> 10} KiB", hint)
    most, wanted = resource.getrlimit(resource.RLIMIT_NOFILE)[0], site.limits.connection_count_max + FILES_SPARE
    if most < wanted:
        words = f"at most {most} may be open, with all connections it would be {wanted}"
        yield Finding(
            "files", "machine", Status.WARN, words, "LimitNOFILE of its unit, or `limits.connection_count_max`"
        )
    else:
        yield Finding("files", "machine", Status.OK, f"at most {most} may be open")


def _machine_code() -> Finding:
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError as error:
        words, hint = (
            f"the system lets nobody run what was compiled: {error.strerror}",
            "no MemoryDenyWriteExecute in its unit",
        )
        return Finding("stack", "machine code", Status.FAIL, words, hint)
    return Finding("stack", "machine code", Status.OK, "may be made and run")


def _disk(subject: str, folder: Path, reserve: int) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        use = shutil.disk_usage(there)
    except OSError as error:
        return Finding("disk", f"{folder}", Status.FAIL, f"cannot be looked at: {error.strerror}")
    told, hint = f"{use.free >> 20} MiB are free for {subject}", "make room, or name a folder on another disk"
    if use.free < reserve:
        words = f"{told}: shards refuse writes below {reserve >> 20}"
        return Finding("disk", f"{folder}", Status.FAIL, words, hint)
    status = Status.WARN if use.free < use.total / 20 else Status.OK
    return Finding("disk", f"{folder}", status, told, hint if status is Status.WARN else None)
