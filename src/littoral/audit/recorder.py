"""What a node tells its log, gathered: many entries in one batch, written by a thread while the next one gathers.

Telling costs the teller an append to a list; searches are hashed and encoded a few hundred at a time, which takes half
as long as one by one. The list is bounded; what finds no room, or comes while
the disk takes nothing, is counted, and the log says how many as soon as it can. With `refuses` whoever is about to
change something is refused instead, before it is done.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import CLOSED, DROPPED, OPENED, PRUNED, Entry, Searched, encode_entry, encode_searched
from littoral.audit.log import TreeLog
from littoral.audit.retention import Keep, Kept, prune, pruned_to
from littoral.audit.tiles import ENTRY_BYTES_MAX, WIDTH
from littoral.clock import Clock
from littoral.errors import LittoralError, UnavailableError

__all__ = ["REASONS", "Recorder", "Terms"]

BATCH_COUNT_MAX = 8192
QUEUE_BYTES_MAX = 64 << 20
SEARCHED_COUNT_MAX, SEARCHED_BYTES_MAX = 256, 128 << 10
"""Of what is encoded together: a fraction of a millisecond."""

RETRY_S = 1.0
PRUNE_S = 60.0
REASONS = ("full", "disk", "long")
"""Why an entry was dropped: too many wait, the disk takes nothing, or it is longer than 65,535 bytes."""

NODE = "node"

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Terms(NamedTuple):
    """commit_s: longest an entry waits for others. queue: that may wait. refuses: changes that could not be logged are
    refused. waits: a change is answered once its entry is on the disk.
    """

    commit_s: float = 1.0
    queue: int = 65_536
    refuses: bool = False
    waits: bool = False
    keep: Keep = Keep()


class _Doubt(NamedTuple):
    """A batch on its way. size: of the log with it. taken: of those that wait; untold: drops that it tells."""

    size: int
    taken: int
    untold: Counter[str]


class Recorder:
    """Of one node, for one event loop. open_disk: called again after a failure: only the disk knows what it has.

    Made by `open`, ended by `close`.
    """

    def __init__(
        self, open_disk: Callable[[], FolderDisk], origin: str, key: SecretKey, terms: Terms, clock: Clock
    ) -> None:
        self._open_disk = open_disk
        self._origin = origin
        self._key = key
        self._clock = clock
        self._disk: FolderDisk | None = None
        self._log: TreeLog | None = None
        self._kept = Kept(0, 0)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._searched: list[Searched] = []
        self._searched_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._untold: Counter[str] = Counter()
        self._doubt: _Doubt | None = None
        self._is_closing = False
        self._prune_at_s = 0.0
        self.terms = terms
        self.failure = ""
        """Why the log takes nothing now; empty while it does."""
        self.told = 0
        self.batches = 0
        self.batch_s = 0.0
        self.failures = 0
        self.pruned = 0
        self.dropped: Counter[str] = Counter()

    async def open(self, settings: Mapping[str, Any], firsts: Sequence[Entry] = ()) -> None:
        """Begins with an entry that says how it is set; `firsts` before it, where the log is empty.

        One that cannot be opened is tried again later.
        """
        try:
            await asyncio.to_thread(self._reopen)
        except (OSError, LittoralError) as error:
            self._failed(error)
        for entry in firsts if not self.size else ():
            self.tell(entry)
        self.tell(Entry(self._clock.wall(), OPENED, NODE, detail=dict(settings)))
        self._task = asyncio.get_running_loop().create_task(self._commit_all())

    async def close(self) -> None:
        """What waits is written, if the disk takes it."""
        if self._task is None:
            return
        self.tell(Entry(self._clock.wall(), CLOSED, NODE, count=self.told))
        self._is_closing = True
        self._news.set()
        self._hurry.set()
        await self._task
        self._task = None
        if self._disk is not None:
            self._disk.close()

    @property
    def log(self) -> TreeLog:
        """For reading, in a thread. Raises UnavailableError while it is not open."""
        if self._log is None:
            raise UnavailableError(f"audit log: is not open: {self.failure}")
        return self._log

    @property
    def size(self) -> int:
        """Entries in the last checkpoint."""
        return 0 if self._log is None else self._log.size

    @property
    def waiting_count(self) -> int:
        """Entries that are not on the disk."""
        return len(self._waiting) + len(self._searched)

    @property
    def kept(self) -> Kept:
        return self._kept

    def check(self) -> None:
        """Before something is changed. Raises UnavailableError where that could not be logged, and must be."""
        if not self.terms.refuses or (not self.failure and self._has_room):
            return
        why = self.failure or f"{self.waiting_count} entries wait for the disk"
        raise UnavailableError(f"audit log: {why}: nothing is changed that is not logged", hint="make room on its disk")

    @property
    def _has_room(self) -> bool:
        return len(self._waiting) < self.terms.queue and self._waiting_bytes < QUEUE_BYTES_MAX

    def tell(self, entry: Entry) -> None:
        """Will be in the log, or is counted as dropped."""
        self._encode_searched()
        self._wait(encode_entry(entry))
        self._news.set()

    def tell_searched(self, searched: Searched) -> None:
        """As `tell`."""
        if not self._searched:
            self._news.set()
        self._searched.append(searched)
        self._searched_bytes += len(searched.vector)
        if len(self._searched) >= SEARCHED_COUNT_MAX or self._searched_bytes >= SEARCHED_BYTES_MAX:
            self._encode_searched()

    def _encode_searched(self) -> None:
        if self._searched:
            found, self._searched, self._searched_bytes = self._searched, [], 0
            for one in found:
                self._wait(encode_searched(one))

    def _wait(self, data: bytes) -> None:
        if len(data) > ENTRY_BYTES_MAX:
            self._drop("long", 1)
        elif self._has_room:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if len(self._waiting) >= BATCH_COUNT_MAX:
                self._hurry.set()
        else:
            self._drop("disk" if self.failure else "full", 1)

    async def settle(self) -> None:
        """Returns when all that was told is on the disk. Raises UnavailableError where it cannot be."""
        if not self.waiting_count:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiters.append(done)
        self._news.set()
        self._hurry.set()
        await done

    async def changed(self, entry: Entry) -> None:
        """After a change: told, and waited for where the terms say so."""
        self.tell(entry)
        if self.terms.waits:
            await self.settle()

    async def reading(self, read: Callable[[TreeLog], _T]) -> _T:
        """What `read` gives, in a thread; once more if files were replaced under it."""
        log = self.log
        reader = log.reader
        try:
            return await asyncio.to_thread(read, log)
        except LittoralError:
            if self._log is log and log.reader is reader:
                raise
            return await asyncio.to_thread(read, self.log)

    async def writing(self, write: Callable[[TreeLog], _T]) -> _T:
        """As `reading`, but between two batches."""
        return await asyncio.to_thread(self._locked, write)

    def _locked(self, write: Callable[[TreeLog], _T]) -> _T:
        with self._lock:
            return write(self.log)

    async def _commit_all(self) -> None:
        while not (self._is_closing and not self.waiting_count):
            await self._news.wait()
            await self._gather()
            self._news.clear()
            self._hurry.clear()
            if not await self._commit_batch():
                self._fail_waiters()
                if self._is_closing:
                    break
                await self._pause()

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.terms.commit_s):
                await self._hurry.wait()

    async def _pause(self) -> None:
        """After a failure; nobody waits in vain."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                while not self._is_closing:
                    await self._hurry.wait()
                    self._hurry.clear()
                    self._fail_waiters()
        self._news.set()
        self._hurry.set()

    async def _commit_batch(self) -> bool:
        try:
            if self._log is None:
                self._forget_written(await asyncio.to_thread(self._reopen))
            self._encode_searched()
            batch = self._waiting[:BATCH_COUNT_MAX]
            is_all = len(batch) == len(self._waiting)
            waited = len(self._waiters) if is_all else 0
            await self._write(batch)
        except (OSError, LittoralError) as error:
            self._failed(error)
            return False
        self.failure = ""
        if not is_all:
            self._news.set()
            self._hurry.set()
        waiters, self._waiters = self._waiters[:waited], self._waiters[waited:]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return True

    async def _write(self, batch: list[bytes]) -> None:
        """It waits no longer if this raises nothing."""
        untold = self._untold.copy()
        entries = [*batch, *self._of_dropped(untold)]
        self._doubt = _Doubt(self.size + len(entries), len(batch), untold)
        await asyncio.to_thread(self._append, entries)
        self._done(self._doubt)
        await asyncio.to_thread(self._prune)

    def _forget_written(self, log: TreeLog) -> None:
        """Of a batch that failed, which is on the disk nevertheless."""
        if self._doubt is not None and log.size == self._doubt.size:
            self._done(self._doubt)
        self._doubt = None

    def _done(self, doubt: "_Doubt") -> None:
        self.told += doubt.taken
        self._waiting_bytes -= sum(map(len, self._waiting[: doubt.taken]))
        del self._waiting[: doubt.taken]
        self._untold -= doubt.untold
        self._doubt = None

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self.failure:
            _log.error("audit log: %s", error)
        self.failure = str(error)

    def _fail_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                told = f"audit log: {self.failure}: the change was made, and is not logged yet"
                waiter.set_exception(UnavailableError(told))

    def _append(self, entries: Sequence[bytes]) -> None:
        with self._lock:
            began = self._clock.monotonic()
            try:
                self.log.append(entries)
            except OSError:
                self._log = None
                raise
            self.batches += 1
            self.batch_s += self._clock.monotonic() - began

    def _of_dropped(self, untold: Mapping[str, int]) -> Iterable[bytes]:
        if count := sum(untold.values()):
            yield encode_entry(Entry(self._clock.wall(), DROPPED, NODE, count=count, detail=dict(untold)))

    def _prune(self) -> None:
        keep, began = self.terms.keep, self._clock.monotonic()
        if keep == Keep() or began < self._prune_at_s:
            return
        with self._lock:
            self._prune_at_s = began + PRUNE_S
            assert self._disk is not None
            kept = Kept.of(self._disk, self.size)
            to = pruned_to(self._disk, kept, self.log, keep, self._clock.wall())
            if to > kept.first * WIDTH:
                try:
                    self.log.append([encode_entry(Entry(self._clock.wall(), PRUNED, NODE, count=to))])
                except OSError:
                    self._log = None
                    raise
                left = prune(self._disk, kept, to)
                self.pruned += (left.first - kept.first) * WIDTH
                kept = left
            self._kept = kept

    def _reopen(self) -> TreeLog:
        if self._disk is not None:
            self._disk.close()
        self._disk = self._open_disk()
        self._log = TreeLog.begin(self._disk, self._origin, self._key)
        return self._log

    def _drop(self, reason: str, count: int) -> None:
        self.dropped[reason] += count
        self._untold[reason] += count
