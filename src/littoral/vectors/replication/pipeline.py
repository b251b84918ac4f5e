"""From a write to its acknowledgement: a transaction of the journal, a message to the shard, then the answer.

Writes are taken in groups, all that came while the last group was written; the next transaction runs while the shard
takes the last one. The shard gets changes in the order of the journal, one message at a time, so that of two writes to
a point it ends with the one that won. What the shard lacks after a crash it gets before anything new.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from littoral.errors import LittoralError, RequestError, ShardError, UnavailableError
from littoral.vectors.records import PointId
from littoral.vectors.replication.entries import Change, batch_of, latest, parts
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import DEADLINE_S, LocalShard
from littoral.vectors.replication.repair import Knowledge

__all__ = ["InOrder", "Pipeline", "Work"]

GROUP_BYTES = 4 << 20
STAGED_GROUPS = 2
MESSAGE_PARTS = 16
PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0

_log = logging.getLogger("littoral.replication")
_T = TypeVar("_T")

Work = Callable[[Journal], tuple[Sequence[Change], _T]]
"""Done inside a transaction: what the shard is to get, and what the caller is told. A RequestError changes nothing."""


class InOrder(Protocol):
    """Does calls one after the other, somewhere else: a thread of its own."""

    async def __call__(self, call: Callable[[], _T]) -> _T: ...


class _Job(NamedTuple):
    work: Work[Any]
    size_bytes: int
    done: "asyncio.Future[Any]"


class _Group(NamedTuple):
    """What one transaction wrote: up to `seq`; who waits for it, and for which points."""

    seq: int
    knowledge: Knowledge
    changes: list[Change]
    waiting: list[tuple["asyncio.Future[Any]", Any, frozenset[PointId]]]


class Pipeline:
    """For one event loop. committed: told what is known after each transaction that is on the disk.

    applied_seq: the shard has everything up to this entry of the journal (until a power cut: see `keep`).
    refused: points that the shard would not take though they were checked; the last of them are kept for people.
    """

    def __init__(
        self,
        journal: Journal,
        shard: LocalShard,
        in_order: InOrder,
        queue_bytes_max: int,
        committed: Callable[[Knowledge], None],
    ) -> None:
        self._journal = journal
        self._shard = shard
        self._in_order = in_order
        self._queue_bytes_max = queue_bytes_max
        self._committed = committed
        self._jobs: list[_Job] = []
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._staged: asyncio.Queue[_Group] = asyncio.Queue(STAGED_GROUPS)
        self._open = asyncio.Event()
        self._alone = asyncio.Lock()
        self._looking: dict[asyncio.Future[None], None] = {}  # in the order in which they came, as `_awaited`
        self._under_way = 0
        self._kept_seq = journal.applied_seq
        self.applied_seq = journal.applied_seq
        self.committed_seq = journal.last_seq
        self.refused_count = 0
        self._awaited: dict[asyncio.Future[Any], None] = {}
        self._ended: LittoralError | None = None
        self._is_closed = False
        self._tasks = [asyncio.create_task(self._write_down()), asyncio.create_task(self._apply())]
        for task in self._tasks:
            task.add_done_callback(self._see_end)

    async def close(self) -> None:
        """Ends, the journal too; what waits is told so, and is done after the next opening if it is in the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.end(UnavailableError(f"replica of `{self._shard.name}` is closed here"))
        self._is_closed = True
        await self._in_order(self._journal.close)

    def _see_end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("replica of `%s` takes no more writes", self._shard.name, exc_info=error)
            self.end(ShardError(f"replica of `{self._shard.name}` takes no more writes: {error}"))

    def end(self, reason: LittoralError) -> None:
        """Takes nothing more; what waits is told so."""
        self._ended = self._ended or reason
        for done in self._awaited:
            _fail(done, reason)
        self._open.set()
        self._tell()

    async def submit(self, work: Work[_T], size_bytes: int) -> _T:
        """Returns when the shard has it. Raises UnavailableError if too much waits, RequestError from the work."""
        while not self._open.is_set():  # it may close again before all who waited have run
            await self._open.wait()
        return await self._enqueue(work, size_bytes)

    async def _enqueue(self, work: Work[_T], size_bytes: int) -> _T:
        if self._ended is not None:
            raise self._ended
        if self._jobs and self._queued_bytes + size_bytes > self._queue_bytes_max:
            raise UnavailableError(
                f"replica of `{self._shard.name}`: {self._queued_bytes} bytes of writes wait, "
                f"at most {self._queue_bytes_max}",
                hint="write more slowly",
            )
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(work, size_bytes, done))
        self._queued_bytes += size_bytes
        self._under_way += 1
        self._arrived.set()
        self._awaited[done] = None
        try:
            answer: _T = await done
        finally:
            self._awaited.pop(done, None)
        return answer

    async def read(self, call: Callable[[Journal], _T]) -> _T:
        """Asks the journal, between two transactions. Raises ShardError, UnavailableError once this is closed."""
        if self._is_closed:
            raise UnavailableError(f"replica of `{self._shard.name}` is closed here")

        def asked() -> _T:
            with self._journal.errors():
                return call(self._journal)

        return await self._in_order(asked)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Callable[[Work[Any], int], Any]]:
        """Nothing else is written meanwhile, and the shard has all that was; yields what writes."""
        async with self._alone:
            await self.until_open()
            self._open.clear()
            try:
                await self.until(lambda: self._under_way == 0)
                yield self._enqueue
            finally:
                self._open.set()

    async def until_applied(self, seq: int) -> None:
        """Returns when the shard has everything up to this entry."""
        await self.until(lambda: self.applied_seq >= seq)

    async def until_open(self) -> None:
        """Returns when the shard has what was in the journal at the start."""
        await self._open.wait()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Looked at whenever the shard has got something. Raises why this ended, where that is before it holds."""
        while not holds():
            if self._ended is not None:
                raise self._ended
            moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._looking[moved] = None
            try:
                await moved
            finally:
                self._looking.pop(moved, None)

    def _tell(self) -> None:
        for moved in self._looking:
            if not moved.done():
                moved.set_result(None)

    async def _write_down(self) -> None:
        while True:
            await self._arrived.wait()
            jobs = self._taken()
            try:
                group = await self._in_order(lambda jobs=jobs: self._transaction(jobs))  # type: ignore[misc]
            except LittoralError as error:
                _log.error("replica of `%s`: %s", self._shard.name, error)
                self._under_way -= len(jobs)
                for job in jobs:
                    _fail(job.done, error)
                self._tell()
                continue
            self.committed_seq = group.seq
            self._committed(group.knowledge)
            await self._staged.put(group)

    def _taken(self) -> list[_Job]:
        count = size = 0
        for job in self._jobs:
            if count and size + job.size_bytes > GROUP_BYTES:
                break
            count += 1
            size += job.size_bytes
        taken, self._jobs = self._jobs[:count], self._jobs[count:]
        self._queued_bytes -= size
        if not self._jobs:
            self._arrived.clear()
        return taken

    def _transaction(self, jobs: Sequence[_Job]) -> _Group:
        changes: list[Change] = []
        waiting: list[tuple[asyncio.Future[Any], Any, frozenset[PointId]]] = []
        with self._journal.transaction():
            for job in jobs:
                try:
                    found, answer = job.work(self._journal)
                except RequestError as error:
                    waiting.append((job.done, error, frozenset()))
                    continue
                changes += found
                waiting.append((job.done, answer, frozenset(change.id for change in found)))
        return _Group(self._journal.last_seq, self._journal.knowledge, changes, waiting)

    async def _apply(self) -> None:
        for seq, changes in await self._unapplied():
            await self._apply_all(changes)
            self.applied_seq = seq
        self.applied_seq = self.committed_seq = max(self.applied_seq, self.committed_seq)
        self._open.set()
        self._tell()
        while True:
            groups = [await self._staged.get()]
            while not self._staged.empty():
                groups.append(self._staged.get_nowait())
            refused = await self._apply_all([change for group in groups for change in group.changes])
            self.applied_seq = groups[-1].seq
            for group in groups:
                self._under_way -= len(group.waiting)
                for done, answer, ids in group.waiting:
                    wrong = next((refused[point] for point in ids & refused.keys()), None)
                    _settle(done, wrong or answer)
            self._tell()

    async def _unapplied(self) -> list[tuple[int, list[Change]]]:
        """What the journal had at the start, as soon as its disk can be read."""
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                return await self._in_order(lambda: list(self._journal.unapplied()))
            except ShardError as error:
                _log.warning("replica of `%s`: %s", self._shard.name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _apply_all(self, changes: Sequence[Change]) -> dict[PointId, LittoralError]:
        """Gives them to the shard, however long that takes; those that it refuses, and why."""
        left = latest(changes)
        refused: dict[PointId, LittoralError] = {}
        message: list[Change] = []
        pieces = list(parts(left))
        for at in range(0, len(pieces), MESSAGE_PARTS):
            message = [change for piece in pieces[at : at + MESSAGE_PARTS] for change in piece]
            try:
                await self._patiently(message)
            except RequestError:
                for change in message:
                    try:
                        await self._patiently([change])
                    except RequestError as error:
                        refused[change.id] = error
                        self.refused_count += 1
                        _log.error("replica of `%s`: point `%s`: %s", self._shard.name, change.id, error)
        return refused

    async def _patiently(self, changes: Sequence[Change]) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                await _give(self._shard, changes)
                return
            except (UnavailableError, ShardError) as error:
                _log.warning("replica of `%s` waits for its shard: %s", self._shard.name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def keep(self) -> bool:
        """The shard keeps what it has even in a power cut; notes that. False if there was nothing new.

        Raises UnavailableError, ShardError.
        """
        if (seq := self.applied_seq) == self._kept_seq:
            return False
        await self._shard.delete([], acknowledge="durable")
        await self._in_order(lambda: self._journal.applied(seq))
        self._kept_seq = seq
        return True


async def _give(shard: LocalShard, changes: Sequence[Change]) -> None:
    written = [change for change in changes if change.vectors is not None]
    gone = [change.id for change in changes if change.vectors is None]
    if written:
        await shard.upsert_points(batch_of(written), acknowledge="applied", deadline_s=DEADLINE_S)
    if gone:
        await shard.delete(gone, acknowledge="applied", deadline_s=DEADLINE_S)


def _settle(done: "asyncio.Future[Any]", answer: Any) -> None:
    if isinstance(answer, LittoralError):
        _fail(done, answer)
    elif not done.done():
        done.set_result(answer)


def _fail(done: "asyncio.Future[Any]", error: LittoralError) -> None:
    if not done.done():
        done.set_exception(error)
