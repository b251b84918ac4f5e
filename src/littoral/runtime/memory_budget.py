"""The memory that all instances of a node may take together: pools ask before they make one more.

Of a model the first instance counts whole and each further one without its weights, which they share until they write.
Of an agent each counts with its cap, which it may reach.
"""

import threading
from collections.abc import Callable

from littoral.errors import SettingError

__all__ = ["MemoryBudget"]


class MemoryBudget:
    """bytes_max: None = no bound, only counted. From any thread."""

    def __init__(self, bytes_max: int | None = None) -> None:
        self.bytes_max = bytes_max
        self._taken: dict[str, int] = {}
        self._shedders: dict[str, Callable[[], int]] = {}
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        with self._lock:
            return sum(self._taken.values())

    def require(self, name: str, size: int) -> None:
        """For what must be there. Raises SettingError naming who takes how much where it does not fit."""
        if not self._take(name, size):
            with self._lock:
                told = ", ".join(f"`{who}` {_mb(much)}" for who, much in self._taken.items())
            raise SettingError(
                f"`{name}` needs {_mb(size)}, of {_mb(self.bytes_max or 0)} are taken: {told or 'none'}",
                hint="raise `node.memory_mb`, or run less",
            )

    def ask(self, name: str, size: int) -> bool:
        """For what would be good to have: also what other pools can do without is given up for it."""
        if self._take(name, size):
            return True
        with self._lock:
            others = [shed for who, shed in self._shedders.items() if who != name]
        return any(shed() > 0 and self._take(name, size) for shed in others)

    def give_back(self, name: str, size: int) -> None:
        """An instance is gone."""
        with self._lock:
            self._taken[name] = max(0, self._taken.get(name, 0) - size)

    def on_shortage(self, name: str, shed: Callable[[], int]) -> None:
        """shed: gives up what the pool can do without, and says how many instances that were."""
        with self._lock:
            self._shedders[name] = shed

    def forget(self, name: str) -> None:
        """A pool is closed."""
        with self._lock:
            self._taken.pop(name, None)
            self._shedders.pop(name, None)

    def _take(self, name: str, size: int) -> bool:
        with self._lock:
            if self.bytes_max is not None and sum(self._taken.values()) + size > self.bytes_max:
                return False
            self._taken[name] = self._taken.get(name, 0) + size
            return True


def _mb(size: int) -> str:
    return f"{-(-size // (1 << 20))} MiB"
