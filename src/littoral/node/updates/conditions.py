"""What must hold on this machine before a deployment goes on: its windows, its memory, its release of Littoral."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import littoral
from littoral.node.updates_tables import WindowTable
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.windows import is_open, opens_in_s
from littoral.updates.wire import Window

__all__ = ["free_memory_mb", "machine_boot", "needs_later_release", "opens_after_s"]


def needs_later_release(item: Item) -> bool:
    """Whether its publisher says that this release is too old for it."""
    return item.littoral_min is not None and _release(item.littoral_min) > _release(littoral.__version__)


def opens_after_s(plan: Plan, tables: Sequence[WindowTable], now: float) -> float:
    """Until a window of the deployment and one of the site file are open; 0 where both are."""
    own = [_window(one) for one in tables]
    if is_open(plan.windows, now) and is_open(own, now):
        return 0.0
    return max(1.0, opens_in_s(plan.windows, now), opens_in_s(own, now))


def free_memory_mb() -> float:
    """Of the machine, as the kernel estimates it; no bound where it does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    return float("inf")


def machine_boot() -> str:
    """What tells this boot of the machine from others; '' where the kernel does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def _window(table: WindowTable) -> Window:
    return Window(days=tuple(table.days), from_minute=_minutes(table.begins), to_minute=_minutes(table.ends))


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return 60 * int(hours) + int(minutes)
