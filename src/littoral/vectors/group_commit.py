"""When to flush: one flush answers for every write before it."""

__all__ = ["GroupCommit"]

WINDOW_S = 0.005
IDLE_S = 0.5
UNFLUSHED_BYTES_MAX = 8 << 20
"""After a crash the store replays what was not flushed, at about 60 MB/s: this bounds the time to the first answer."""


class GroupCommit:
    """Counts what is applied and not flushed. Pure: times come in, decisions go out.

    A write that waits for `durable` is flushed when nothing else is to be done, at the latest 5 ms after it was
    applied. What nobody waits for is flushed after half a second, or from 8 MiB on.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._since: float | None = None
        self._awaited_since: float | None = None

    def applied(self, now: float, size_bytes: int, *, awaited: bool) -> None:
        """Notes a write. awaited: someone waits for the flush."""
        self._bytes += size_bytes
        if self._since is None:
            self._since = now
        if awaited and self._awaited_since is None:
            self._awaited_since = now

    def due(self, now: float, *, is_idle: bool) -> bool:
        """Whether to flush now. is_idle: no other request is at hand."""
        if (deadline := self.deadline()) is None:
            return False
        return now >= deadline or self._bytes >= UNFLUSHED_BYTES_MAX or (is_idle and self._awaited_since is not None)

    def deadline(self) -> float | None:
        """When the next flush is due at the latest; None if everything is flushed."""
        if self._since is None:
            return None
        idle_end = self._since + IDLE_S
        return idle_end if self._awaited_since is None else min(idle_end, self._awaited_since + WINDOW_S)

    def flushed(self) -> None:
        """Everything applied is durable now."""
        self._bytes = 0
        self._since = self._awaited_since = None
