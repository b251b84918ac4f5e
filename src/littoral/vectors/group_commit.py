"""When to make writes durable: a sync of the log answers for every write before it, a flush ends the log."""

__all__ = ["GroupCommit"]

WINDOW_S = 0.005
IDLE_S = 0.5
FLUSH_PAUSES = 128
UNFLUSHED_BYTES_MAX = 16 << 20
"""After a crash the store replays what was not flushed, at about 60 MB/s: this bounds the time to the first answer."""


class GroupCommit:
    """Counts what is applied and not flushed. Pure: times come in, decisions go out.

    A write that waits for `durable` gets a sync of the log when nothing else is to be done, at the latest 5 ms after it
    was applied; one that nobody waits for within half a second. A flush stops everything, so that it comes when half a
    second was quiet; in a stream of requests so rarely that it takes less than a hundredth of the time; and from 16 MiB
    on.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._since: float | None = None
        self._awaited_since: float | None = None
        self._unsynced_since: float | None = None
        self._requested = 0.0
        self._next_flush = 0.0

    def requested(self, now: float) -> None:
        """Notes that a request came: it is not quiet."""
        self._requested = now

    def applied(self, now: float, size_bytes: int, *, awaited: bool) -> None:
        """Notes a write. awaited: someone waits for it to be durable."""
        self._bytes += size_bytes
        if self._since is None:
            self._since = now
        if self._unsynced_since is None:
            self._unsynced_since = now
        if awaited and self._awaited_since is None:
            self._awaited_since = now

    def sync_due(self, now: float, *, is_idle: bool) -> bool:
        """Whether to sync the log now. is_idle: no other request is at hand."""
        at = self._sync_at()
        return at is not None and (now >= at or (is_idle and self._awaited_since is not None))

    def _sync_at(self) -> float | None:
        """What nobody waits for may wait half a second."""
        if self._unsynced_since is None:
            return None
        late = self._unsynced_since + IDLE_S
        return late if self._awaited_since is None else min(late, self._awaited_since + WINDOW_S)

    def flush_due(self, now: float) -> bool:
        """Whether to flush now."""
        at = self._flush_at()
        return at is not None and (now >= at or self._bytes >= UNFLUSHED_BYTES_MAX)

    def _flush_at(self) -> float | None:
        """When it was quiet for long enough, or the last flush is long enough ago."""
        if self._since is None:
            return None
        return min(max(self._since, self._requested) + IDLE_S, max(self._since + IDLE_S, self._next_flush))

    def deadline(self, *, is_syncing: bool = False) -> float | None:
        """When something is due at the latest; None if everything is flushed."""
        flush_at, sync_at = self._flush_at(), self._sync_at()
        if flush_at is None or sync_at is None or is_syncing:
            return flush_at
        return min(flush_at, sync_at)

    def syncing(self) -> None:
        """What was applied is being synced."""
        self._awaited_since = self._unsynced_since = None

    def flushed(self, now: float, took_s: float) -> None:
        """Everything applied is durable now."""
        self._bytes = 0
        self._since = self._awaited_since = self._unsynced_since = None
        self._next_flush = now + took_s * FLUSH_PAUSES
