"""Serves one shard: one thread, turns of reads and writes, one flush for many writes.

A turn takes what the sockets have, answers a bounded batch of reads, works on writes for a bounded time, and makes them
durable if that is due: neither kind of request can starve the other. What does not fit the backlog is refused at once.
A read sees every write that was acknowledged before the read was sent.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from littoral.clock import Clock
from littoral.errors import InputError, LittoralError, ShardError, UnavailableError
from littoral.vectors import frames
from littoral.vectors.building import Building, Job
from littoral.vectors.clients import Clients
from littoral.vectors.connection import Connection
from littoral.vectors.frames import Answer, Optimize, Pack, PointWrite, Search, Write
from littoral.vectors.group_commit import GroupCommit
from littoral.vectors.host_statistics import HostStatistics
from littoral.vectors.log_sync import LogSync
from littoral.vectors.mapped_pages import MappedPages
from littoral.vectors.queries import SearchQuery
from littoral.vectors.requests import answer_to, write_steps
from littoral.vectors.shard import Shard

__all__ = ["ShardServer"]

BACKLOG_COUNT_MAX = 1024
BACKLOG_BYTES_MAX = 32 << 20
READ_BATCH_MAX = 16
WRITE_TURN_S = 0.01
BESIDE_TURN_S = 0.002
"""Of copies, which take long and nobody waits for: a search comes after two of their steps at most."""
LINGER_S = 0.5


class ShardServer:
    """`run` returns after `stop`, with everything applied also flushed.

    Raises ShardError if a flush fails, or the log cannot be made durable: nobody can go on from that.
    """

    def __init__(self, shard: Shard, clients: Clients, clock: Clock, *, optimize_point_count: int = 0) -> None:
        """optimize_point_count: so many points written bring about an optimize; 0 = only when asked."""
        self._shard = shard
        self._clients = clients
        self._clock = clock
        self._reads: deque[Job] = deque()
        self._writes: deque[Job] = deque()
        self._backlog_bytes = 0
        self._writing: tuple[Job | None, Iterator[None]] | None = None
        self._building = Building(shard, optimize_point_count)
        self._commit = GroupCommit()
        self._waiting: list[Job] = []
        self._sync = LogSync(clients.wake_handle)
        self._pages = MappedPages.of(shard.folder, shard.config)
        self._needs_flush = False
        self._is_stopping = False
        self._statistics = HostStatistics(clock.monotonic())

    def stop(self) -> None:
        """May be called from a signal handler."""
        self._is_stopping = True

    def run(self) -> None:
        """Serves until stopped."""
        while not self._is_stopping:
            for client, body in self._clients.take(self._wait_s()):
                self._admit(client, body)
            if self._serve_reads():
                self._clients.send()
                self._pages.tend(self._clock.monotonic())
            self._serve_writes()
            self._make_durable()
            self._clients.send()
        self._finish()

    @property
    def _has_work(self) -> bool:
        return bool(self._reads or self._writes or self._writing or self._building.has_work(self._clock.monotonic()))

    def _wait_s(self) -> float | None:
        if self._has_work:
            return 0.0
        now = self._clock.monotonic()
        deadline = self._commit.deadline(is_syncing=self._sync.is_running)
        waits = [at - now for at in (deadline, self._building.look_again(now)) if at is not None]
        return max(0.0, min(waits)) if waits else None

    def _admit(self, client: Connection, body: bytes) -> None:
        try:
            request = frames.decode_request(body)
        except InputError as error:
            self._turn_away(client, body, error)
            return
        self._statistics.arrived(request)
        self._commit.requested(self._clock.monotonic())
        job = Job(client, request, len(body), self._clock.monotonic())
        if len(self._reads) + len(self._writes) >= BACKLOG_COUNT_MAX or (
            self._backlog_bytes + job.size_bytes > BACKLOG_BYTES_MAX
        ):
            self._refuse(job, "shard host is busy, its backlog is full")
            return
        self._backlog_bytes += job.size_bytes
        (self._writes if isinstance(request, Write) else self._reads).append(job)

    def _turn_away(self, client: Connection, body: bytes, error: InputError) -> None:
        """A request of a known number is wrong; anything else is no request, and what follows it need not be one."""
        self._statistics.counted.failure_count += 1
        if (call := frames.call_of(body)) is None:
            self._clients.hang_up(client, error)
        else:
            client.post(frames.encode(frames.failure(call, error)), self._clock.monotonic())

    def _answer(self, job: Job, answer: Answer) -> None:
        now = self._clock.monotonic()
        self._statistics.answered(job.request, now - job.arrived)
        try:
            frame = frames.encode(answer)
        except LittoralError as error:
            frame = frames.encode(frames.failure(job.request.call, error))
        job.client.post(frame, now)

    def _refuse(self, job: Job, why: str) -> None:
        self._statistics.counted.refused_count += 1
        self._answer(job, frames.failure(job.request.call, UnavailableError(why, hint="try again")))

    def _fail(self, job: Job, error: LittoralError) -> None:
        self._statistics.counted.failure_count += 1
        self._answer(job, frames.failure(job.request.call, error))

    def _serve_reads(self) -> bool:
        """Whether there were any: who asked does not wait for the writes of this turn."""
        jobs = [self._reads.popleft() for _ in range(min(READ_BATCH_MAX, len(self._reads)))]
        self._backlog_bytes -= sum(job.size_bytes for job in jobs)
        jobs = [job for job in jobs if job.client.is_open]
        searches = [job for job in jobs if isinstance(job.request, Search)]
        self._search_together([job for job in searches if job.request.as_json], self._shard.searches.told, frames.Told)
        self._search_together([job for job in searches if not job.request.as_json], self._shard.search, frames.Found)
        for job in jobs:
            if not isinstance(job.request, Search):
                self._read(job)
        return bool(jobs)

    def _search_together(
        self,
        jobs: list[Job],
        search: Callable[[list[SearchQuery]], Sequence[Any]],
        answered: type[frames.Found] | type[frames.Told],
    ) -> None:
        """One pass over the points for all queries at hand; one by one if they are too many or one is refused."""
        if not jobs:
            return
        queries = [query for job in jobs for query in job.request.queries]
        try:
            found = iter(search(queries))
        except LittoralError:
            for job in jobs:
                self._read(job)
            return
        self._statistics.searched(len(queries))
        for job in jobs:
            hits = [next(found) for _ in job.request.queries]
            self._answer_read(job, answered(call=job.request.call, epoch=self._shard.epoch, hits=hits))

    def _read(self, job: Job) -> None:
        try:
            self._answer_read(job, answer_to(job.request, self._shard, self._measure))
        except LittoralError as error:
            self._fail(job, error)

    def _answer_read(self, job: Job, answer: Answer) -> None:
        if self._clients.takes_answers(job.client):
            self._answer(job, answer)
        else:
            self._refuse(job, "shard host is busy, its answers are not taken")

    def _measure(self) -> frames.Statistics:
        statistics = self._statistics.snapshot(self._clock.monotonic())
        statistics.connection_count = len(self._clients)
        statistics.dropped_connection_count = self._clients.dropped_count
        statistics.backlog_count = len(self._reads) + len(self._writes)
        statistics.backlog_bytes = self._backlog_bytes
        return statistics

    def _serve_writes(self) -> None:
        began = now = self._clock.monotonic()
        turn_s = WRITE_TURN_S
        while now - began < turn_s:
            if self._writing is None and not self._begin_write():
                return
            if self._writing is not None:
                job, steps = self._writing
                if job is None or isinstance(job.request, Pack):
                    turn_s = BESIDE_TURN_S
                self._step(job, steps)
            now = self._clock.monotonic()

    def _begin_write(self) -> bool:
        """Takes up what comes next: work on a graph first, so that it is not put off for ever. False if nothing is."""
        if (steps := self._building.next_steps(self._clock.monotonic())) is not None:
            self._writing = (None, steps)
        elif self._writes:
            job = self._writes.popleft()
            if isinstance(job.request, Optimize):
                self._backlog_bytes -= job.size_bytes
                self._building.asked.append(job)
            else:
                self._writing = (job, write_steps(job.request, self._shard))
        else:
            return False
        return True

    def _step(self, job: Job | None, steps: Iterator[None]) -> None:
        """One step of the write at hand; at its end, or at its failure, the answer."""
        try:
            next(steps)
        except StopIteration:
            if job is None:
                self._end_building(None)
                return
            self._statistics.written(job.request)
            self._building.note(job.request, job.size_bytes, self._clock.monotonic())
            self._end_write(job)
            if job.request.acknowledge == "applied":
                self._acknowledge(job)
        except LittoralError as error:
            if job is None:
                self._end_building(error)
                return
            self._end_write(job, failed=True)
            self._fail(job, error)

    def _end_building(self, error: LittoralError | None) -> None:
        """Of one part of the work on a graph; after the last, the answers to those who asked for it."""
        self._writing = None
        for job in self._building.ended(error):
            if error is None:
                self._statistics.written(job.request)
                self._acknowledge(job)
            else:
                self._fail(job, error)

    def _end_write(self, job: Job, *, failed: bool = False) -> None:
        self._writing = None
        self._backlog_bytes -= job.size_bytes
        awaited = job.request.acknowledge == "durable" and not failed
        self._commit.applied(self._clock.monotonic(), job.size_bytes, awaited=awaited)
        if awaited:
            self._waiting.append(job)
            self._needs_flush = self._needs_flush or not isinstance(job.request, PointWrite)

    def _acknowledge(self, job: Job) -> None:
        self._answer(job, frames.Written(call=job.request.call, epoch=self._shard.epoch))

    def _make_durable(self) -> None:
        """Points by their log; what is no matter of points, or has become too much, by a flush of the store."""
        self._take_synced(wait=False)
        now, is_idle = self._clock.monotonic(), not self._has_work
        is_due = self._commit.sync_due(now, is_idle=is_idle)
        if self._commit.flush_due(now) or (is_due and self._needs_flush):
            self._flush()
        elif is_due and not self._sync.is_running:
            self._sync.begin(self._shard.store_folder, self._waiting, now)
            self._waiting = []
            self._commit.syncing()

    def _take_synced(self, *, wait: bool) -> None:
        """Answers those whose writes are in a log that is durable. Raises ShardError if it cannot be made so."""
        if (jobs := self._sync.ended(self._shard.store_folder, wait=wait)) is None:
            return
        self._statistics.flushed(self._clock.monotonic() - self._sync.began, len(jobs))
        for job in jobs:
            self._acknowledge(job)

    def _flush(self) -> None:
        started = self._clock.monotonic()
        waiting, self._waiting = self._waiting, []
        try:
            self._shard.flush()
        except ShardError as error:
            for job in waiting:
                self._fail(job, error)
            self._clients.send()
            raise
        now = self._clock.monotonic()
        self._needs_flush = False
        self._commit.flushed(now, now - started)
        self._statistics.flushed(now - started, len(waiting))
        for job in waiting:
            self._acknowledge(job)

    def _finish(self) -> None:
        """Ends the write at hand, turns the others away, flushes, and gives the clients half a second to listen."""
        while self._writing is not None:
            self._step(*self._writing)
        for job in self._building.stop():
            self._fail(job, UnavailableError("shard host is stopping", hint="try again"))
        for job in (*self._reads, *self._writes):
            self._fail(job, UnavailableError("shard host is stopping", hint="try again"))
        self._take_synced(wait=True)
        self._sync.close()
        if self._commit.deadline() is not None:
            self._flush()
        give_up = self._clock.monotonic() + LINGER_S
        self._clients.send()
        while self._clients.has_output and self._clock.monotonic() < give_up:
            self._clients.take(0.01)
            self._clients.send()
