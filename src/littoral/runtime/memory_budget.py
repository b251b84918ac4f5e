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
        self._taken: dict[object, int] = {}
        self._names: dict[object, str] = {}
        self._shedders: dict[object, Callable[[], int]] = {}
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        with self._lock:
            return sum(self._taken.values())

    def require(self, owner: object, name: str, size: int) -> None:
        """For what must be there. Raises SettingError naming who takes how much where it does not fit."""
        if not self._take(owner, size):
            with self._lock:
                told = ", ".join(f"`{self._names[who]}` {_mb(much)}" for who, much in self._taken.items())
            raise SettingError(
                f"`{name}` needs {_mb(size)}, of {_mb(self.bytes_max or 0)} are taken: {told or 'none'}",
                hint="raise `node.memory_mb`, or run less",
            )
        with self._lock:
            self._names[owner] = name

    def ask(self, owner: object, size: int) -> bool:
        """For what would be good to have: also what other pools can do without is given up for it."""
        if self._take(owner, size):
            return True
        with self._lock:
            others = [shed for who, shed in self._shedders.items() if who is not owner]
        return any(shed() > 0 and self._take(owner, size) for shed in others)

    def give_back(self, owner: object, size: int) -> None:
        """An instance is gone."""
        with self._lock:
            if owner in self._taken:
                self._taken[owner] = max(0, self._taken[owner] - size)

    def on_shortage(self, owner: object, shed: Callable[[], int]) -> None:
        """shed: gives up what the pool can do without, and says how many instances that were."""
        with self._lock:
            self._shedders[owner] = shed

    def forget(self, owner: object) -> None:
        """A pool is closed."""
        with self._lock:
            for known in (self._taken, self._names, self._shedders):
                known.pop(owner, None)

    def _take(self, owner: object, size: int) -> bool:
        with self._lock:
            if self.bytes_max is not None and sum(self._taken.values()) + size > self.bytes_max:
                return False
            self._taken[owner] = self._taken.get(owner, 0) + size
            return True


def _mb(size: int) -> str:
    return f"{-(-size // (1 << 20))} MiB"
