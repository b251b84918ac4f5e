"""Whether what a cache holds may still be told: not after a write of which nobody knows whether it happened."""

__all__ = ["Doubt"]


class Doubt:
    """Of one collection. A shard host does writes in the order they come: once one that was sent after the doubtful one
    is acknowledged, that one has happened as well or never will, and the epoch tells.
    """

    def __init__(self) -> None:
        self._started = 0
        self._settled_from = 0

    @property
    def is_settled(self) -> bool:
        return self._settled_from == 0

    def started(self) -> int:
        """A write is sent; its number."""
        self._started += 1
        return self._started

    def lost(self) -> None:
        """A write ended without a word of what became of it."""
        self._settled_from = self._started + 1

    def acknowledged(self, number: int) -> None:
        """A write is done."""
        if number >= self._settled_from:
            self._settled_from = 0
