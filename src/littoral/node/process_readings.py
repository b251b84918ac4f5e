"""What the node's process takes of its machine, under the names that Prometheus' own clients give it."""

import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from littoral import __version__
from littoral.telemetry import Reading

__all__ = ["process_readings"]

PAGE_BYTES = resource.getpagesize()
SELF = Path("/proc/self")
BUILD = (__version__, platform.python_version(), platform.machine(), sys.platform)


def process_readings(started_at: float) -> Iterator[Reading]:
    """started_at: Unix time. What the system does not tell is left out."""
    yield Reading("littoral_build_info", BUILD, 1)
    yield Reading("process_start_time_seconds", (), started_at)
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Reading("process_cpu_seconds_total", (), used.ru_utime + used.ru_stime)
    yield Reading("process_max_fds", (), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    try:
        size, resident = (SELF / "statm").read_text().split()[:2]
        handles = sum(1 for _ in (SELF / "fd").iterdir())
        threads = next(line for line in (SELF / "status").read_text().splitlines() if line.startswith("Threads:"))
    except OSError:
        return
    yield Reading("process_virtual_memory_bytes", (), int(size) * PAGE_BYTES)
    yield Reading("process_resident_memory_bytes", (), int(resident) * PAGE_BYTES)
    yield Reading("process_open_fds", (), handles)
    yield Reading("littoral_process_threads", (), int(threads.split()[1]))
