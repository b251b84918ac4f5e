"""Steps of sites that are exhausted, done by nodes of the data centre: who may ask, how much, and who does it.

A frame is read for its head alone and handed on as it came; nothing of it is kept, and no log has a word of it. A node
of the data centre that names groups works for these alone, and nobody else hears what it has.
"""

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from littoral.clock import Clock
from littoral.errors import (
    DeadlineError,
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    PeerError,
    SandboxError,
    SettingError,
    TooLargeError,
    TooOftenError,
    UnauthorizedError,
    UnavailableError,
)
from littoral.gateway.breaker import Breaker, BreakerOptions
from littoral.orchestrator.file import File, InferenceNodeTable, InferenceTable, read_file
from littoral.steps.door import Door
from littoral.steps.messages import Loads, decode_loads, decode_step, encode_loads
from littoral.steps.offer import Offer
from littoral.steps.tally import Tally

__all__ = ["Inference", "inferring"]

STEPS = "/api/steps"
LOADS_S, LOADS_EVERY_S, FRESH_S = 2.0, 1.0, 5.0
FIRST_S = 0.5
IDLE_S = 10.0
TRIES = 2
REST_S_MAX = 1.0
SLOW_S = 5.0
"""Who does not answer in less was given little time, which says nothing of it."""
BREAKER = BreakerOptions(window=10, failures_min=3, share=0.5, open_s=1.0, open_s_max=30.0)
FILE_BYTES_MAX = 1 << 20
CALLERS_MAX = 10_000
CALLERS_TOLD_MAX = 200
LOOK_S = 1.0

_log = logging.getLogger("littoral.orchestrator")


class Worker:
    """A node of the data centre. loads: as last told; None: it cannot be asked. is_gone: it is asked for no more."""

    def __init__(self, name: str, table: InferenceNodeTable, path_of: Callable[[str], Path], clock: Clock) -> None:
        self.name = name
        self.groups = frozenset(table.groups)
        self.breaker = Breaker(BREAKER, clock)
        self.tally = Tally(clock)
        self.loads: Loads | None = None
        self.taken_s = -1e9
        self.problem = ""
        self.is_gone = False
        self._clock = clock
        self._on_the_way: Counter[str] = Counter()
        self._uses = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self.said = _said(table, path_of)
        token, ca = path_of(table.token), self.said[1]
        self._door = Door(table.url.rstrip("/") + STEPS, f"node `{name}`", lambda: _token(token), ca=ca)

    @property
    def answers(self) -> bool:
        """Whether it did when it was asked last."""
        return self.loads is not None and self.breaker.state == "closed"

    def offer(self, key: str, group: str) -> Offer | None:
        """None where it has it not, is not for this group, or is not asked now."""
        if self.groups and group not in self.groups:
            return None
        is_fresh = self._clock.monotonic() - self.taken_s <= FRESH_S
        if self.loads is None or not is_fresh or self.loads.spent or not self.breaker.allows():
            return None
        return self.loads.offer(key)

    def offers(self, group: str) -> Iterator[tuple[str, Offer]]:
        for key in () if self.loads is None else self.loads.offers:
            if (offer := self.offer(key, group)) is not None:
                yield key, offer

    def ahead_s(self, key: str, offer: Offer) -> float:
        """Until a step that is sent now would be done."""
        return offer.start_s(self._on_the_way[key], offer.service_s) + offer.service_s

    async def refresh(self) -> None:
        """Asks for its loads: who does not tell them is asked for nothing."""
        if self.is_gone:
            return
        try:
            with self._used():
                self.loads = decode_loads(await self._door.loads(LOADS_S), self.name)
        except LittoralError as error:
            self.loads, self.problem = None, error.message
        else:
            self.taken_s, self.problem = self._clock.monotonic(), ""

    async def step(self, key: str, body: bytes, left_s: float) -> bytes:
        """Raises what `Door` raises; no answer counts against it, a step that fails there does not."""
        began_s = self._clock.monotonic()
        self.breaker.begin()
        self._on_the_way[key] += 1
        try:
            with self._used(), self.tally.one():
                self.tally.bytes["sent"] += len(body)
                answer = await self._door.step(body, left_s)
        except BaseException as error:
            self._judge(error, self._clock.monotonic() - began_s, left_s)
            raise
        finally:
            self._on_the_way[key] -= 1
            self._on_the_way += Counter()  # what is at 0 goes
        self.breaker.succeeded()
        self.tally.bytes["received"] += len(answer)
        return answer

    def told(self) -> dict[str, Any]:
        """As `GET /api/fleet/inference` has it."""
        table, _ = self.said
        offers = {} if self.loads is None else self.loads.offers
        return {
            "node": self.name,
            "url": table.url,
            "groups": sorted(self.groups),
            "answers": self.answers,
            "problem": self.problem,
            "is_spent": self.loads is not None and self.loads.spent,
            "offers": len(offers),
            **_told(self.tally),
        }

    async def retire(self) -> None:
        """Asked for nothing more; closed when what it does is done."""
        self.is_gone = True
        await self._unused.wait()
        await self._door.close()

    async def close(self) -> None:
        await self._door.close()

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        self._uses += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._unused.set()

    def _judge(self, error: BaseException, taken_s: float, left_s: float) -> None:
        if isinstance(error, PeerError) and (taken_s < left_s or left_s >= SLOW_S):
            self.breaker.failed()
        elif isinstance(error, UnavailableError | TooOftenError):
            self.breaker.rest(min(REST_S_MAX, error.retry_after_s))
        elif isinstance(error, LittoralError) and not isinstance(error, PeerError):
            self.breaker.succeeded()
        else:
            self.breaker.left()


class Inference:
    """For one event loop. tally: of what nodes of sites asked for. workers: by name. problem: of the file as it is
    now, where that cannot be followed; what it said before counts on.
    """

    def __init__(self, table: InferenceTable, workers: Mapping[str, Worker], clock: Clock) -> None:
        self.workers = workers
        self.tally = Tally(clock)
        self.problem = ""
        self._table = table
        self._clock = clock
        self._busy: Counter[str] = Counter()
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._asked_s = -1e9
        self._round_s = -1e9
        self._wanted, self._round = asyncio.Event(), asyncio.Event()

    @property
    def step_count_max(self) -> int:
        return self._table.step_count_max

    async def loads(self, group: str) -> bytes:
        """What those who work for this group could run now, as if they were one."""
        await self._fresh()
        summed: dict[str, Offer] = {}
        for worker in self.workers.values():
            for key, offer in worker.offers(group):
                summed[key] = _sum(summed[key], offer) if key in summed else offer
        return encode_loads("", summed, bytes_max=self._table.body_bytes_max)

    @contextlib.contextmanager
    def admitting(self, node: str, size_bytes: int) -> Iterator[None]:
        """Around a step of a node of a site, before its body is read.

        Raises TooLargeError, TooOftenError, UnavailableError.
        """
        caller = self._caller(node)
        with self.tally.one(), caller.tally.one():
            table = self._table
            self.check_size(size_bytes)
            if self._busy[node] >= table.node_step_count_max:
                raise TooOftenError(f"{self._busy[node]} steps of this node are under way", retry_after_s=1.0)
            if self._busy.total() >= table.step_count_max:
                raise UnavailableError(f"{table.step_count_max} steps are under way, which is the most")
            caller.take(table.node_steps_per_s)
            self._busy[node] += 1
            try:
                yield
            finally:
                self._busy[node] -= 1
                self._busy += Counter()  # what is at 0 goes

    def check_size(self, size_bytes: int) -> None:
        """Raises TooLargeError."""
        if size_bytes > self._table.body_bytes_max:
            raise TooLargeError(f"frame has {size_bytes} bytes, at most {self._table.body_bytes_max}")

    async def step(self, node: str, group: str, body: bytes, came_s: float) -> bytes:
        """Done by the one that has it done first, the next where that fails. came_s: when the request came.

        Raises InputError for a frame that is none, NotFoundError where nobody has this very model or agent,
        UnavailableError, DeadlineError, and PeerError where all fail.
        """
        self._moved(node, "received", len(body))
        ask, _ = decode_step(body, f"node `{node}`")
        until_s = came_s + min(ask.left_s, self._table.deadline_ms / 1000)
        await self._fresh()
        failed: LittoralError | None = None
        for worker in self._order(ask.key, group)[:TRIES]:
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0:
                break
            if worker.is_gone:
                continue
            try:
                answer = await worker.step(ask.key, body, left_s)
            except (InputError, TooLargeError, SandboxError):
                raise  # it would be the same elsewhere
            except LittoralError as error:
                failed = error
            else:
                self._moved(node, "sent", len(answer))
                return answer
        if self._clock.monotonic() >= until_s:
            raise DeadlineError("the step was not done in the time that its caller has")
        raise _blameless(failed) or self._lacking(ask.key, group)

    def change(self, table: InferenceTable, workers: Mapping[str, Worker]) -> list[Worker]:
        """From now on as this says. Gives those who are asked for nothing more, to be retired."""
        gone = [worker for worker in self.workers.values() if worker not in workers.values()]
        for worker in gone:
            worker.is_gone = True
        self._table, self.workers = table, workers
        self._round_s = -1e9
        self._wanted.set()
        return gone

    def told(self) -> dict[str, Any]:
        """As `GET /api/fleet/inference` has it: the callers that came last, at most CALLERS_TOLD_MAX."""
        names = [*reversed(self._callers)][:CALLERS_TOLD_MAX]
        return {
            "takes": True,
            "problem": self.problem,
            "busy_max": self._table.step_count_max,
            **_told(self.tally),
            "nodes": [worker.told() for worker in self.workers.values()],
            "sites": [{"node": name, **_told(self._callers[name].tally)} for name in names],
        }

    async def keep_asking(self) -> None:
        """For loads, while anybody wants to know. Until it is cancelled."""
        while True:
            self._wanted.clear()
            workers = self.workers
            await asyncio.gather(*(worker.refresh() for worker in workers.values()))
            if workers is not self.workers:
                continue
            self._round_s = self._clock.monotonic()
            ended, self._round = self._round, asyncio.Event()
            ended.set()
            is_idle = self._round_s - self._asked_s >= IDLE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if is_idle else LOADS_EVERY_S):
                    await self._wanted.wait()

    async def _fresh(self) -> None:
        """Loads that are not old, if they come soon."""
        now_s = self._asked_s = self._clock.monotonic()
        if now_s - self._round_s <= FRESH_S:
            return
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                await self._round.wait()

    def _order(self, key: str, group: str) -> list[Worker]:
        found = [(worker, offer) for worker in self.workers.values() if (offer := worker.offer(key, group))]
        return [worker for worker, offer in sorted(found, key=lambda one: (one[0].ahead_s(key, one[1]), one[0].name))]

    def _lacking(self, key: str, group: str) -> LittoralError:
        own = [worker for worker in self.workers.values() if not worker.groups or group in worker.groups]
        if any(worker.loads is None or worker.loads.offer(key) is not None for worker in own):
            return UnavailableError("nobody can do this step now")
        return NotFoundError(f"nobody here has `{key}`", hint="site and data centre have different versions of it")

    def _moved(self, node: str, direction: str, size_bytes: int) -> None:
        for tally in (self.tally, self._caller(node).tally):
            tally.bytes[direction] += size_bytes

    def _caller(self, node: str) -> "_Caller":
        if (found := self._callers.get(node)) is None:
            found = self._callers[node] = _Caller(self._clock)
        self._callers.move_to_end(node)
        if len(self._callers) > CALLERS_MAX:
            self._callers.popitem(last=False)
        return found


@contextlib.asynccontextmanager
async def inferring(file: File, clock: Clock) -> AsyncIterator[Inference | None]:
    """None without the table. Raises SettingError for files that cannot be read."""
    if file.inference is None:
        yield None
        return
    found = Inference(file.inference, _workers(file, file.inference, {}, clock), clock)
    asking = asyncio.create_task(found.keep_asking(), name="littoral-inference")
    looking = asyncio.create_task(_follow(file, found, clock), name="littoral-inference-file")
    try:
        yield found
    finally:
        for task in (asking, looking):
            task.cancel()
        await asyncio.gather(asking, looking, return_exceptions=True)
        for worker in found.workers.values():
            await worker.close()


async def _follow(file: File, found: Inference, clock: Clock) -> None:
    """The table `inference` as the file has it now. Until it is cancelled; who retires then is closed at once."""
    seen = await asyncio.to_thread(_identities, file)
    async with asyncio.TaskGroup() as retiring:
        while True:
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(_identities, file)
            if now == seen:
                continue
            seen = now
            try:
                file = await asyncio.to_thread(read_file, file.path)
                if file.inference is None:
                    raise SettingError(f"{file.path}: `inference` is gone, which takes a restart")
                workers = _workers(file, file.inference, found.workers, clock)
            except LittoralError as error:
                found.problem = error.message
                _log.error("inference goes on as it was: %s", error)
                continue
            found.problem = ""
            for worker in found.change(file.inference, workers):
                retiring.create_task(worker.retire(), name=f"littoral-retires-{worker.name}")
            _log.warning("inference is done by %s now", ", ".join(workers))


def _workers(file: File, table: InferenceTable, known: Mapping[str, Worker], clock: Clock) -> dict[str, Worker]:
    """Those that are known as they are said to be go on with what they do. Raises SettingError."""
    found = {}
    for name, one in table.nodes.items():
        former = known.get(name)
        is_same = former is not None and former.said == _said(one, file.path_of)
        found[name] = former if former is not None and is_same else Worker(name, one, file.path_of, clock)
    return found


def _said(table: InferenceNodeTable, path_of: Callable[[str], Path]) -> tuple[InferenceNodeTable, str | None]:
    """With the authority, whose file may be another by the same name."""
    return table, None if table.ca is None else _text(path_of(table.ca))


def _identities(file: File) -> list[tuple[int, int, int] | None]:
    """What changes when the file does, or a file of authorities that it names."""
    tables = [] if file.inference is None else file.inference.nodes.values()
    return [_identity(path) for path in (file.path, *(file.path_of(one.ca) for one in tables if one.ca is not None))]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _told(tally: Tally) -> dict[str, Any]:
    return {"busy": tally.busy, "steps": dict(tally.outcomes), "bytes": dict(tally.bytes)}


class _Caller:
    """A node of a site: what it asked for, and how many steps it may, a second's worth at once."""

    def __init__(self, clock: Clock) -> None:
        self.tally = Tally(clock)
        self._clock = clock
        self._left: float | None = None
        self._at_s = clock.monotonic()

    def take(self, per_s: float) -> None:
        """Raises TooOftenError."""
        now_s, most = self._clock.monotonic(), max(1.0, per_s)
        left = most if self._left is None else min(most, self._left + (now_s - self._at_s) * per_s)
        self._at_s = now_s
        self._left = left
        if left < 1:
            raise TooOftenError(f"more than {per_s:g} steps a second", retry_after_s=(1 - left) / per_s)
        self._left = left - 1


def _sum(one: Offer, other: Offer) -> Offer:
    """Of two nodes as if they were one: the mean of their times, by slots."""
    slots = max(1, one.slots + other.slots)
    service_s = (one.service_s * one.slots + other.service_s * other.slots) / slots
    return Offer(one.waiting + other.waiting, one.busy + other.busy, one.slots + other.slots, service_s)


def _blameless(error: LittoralError | None) -> LittoralError | None:
    """What a node of a site is told: that the orchestrator's own token was refused is none of its business."""
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return PeerError("the data centre refuses the orchestrator")
    return error


def _token(file: Path) -> str:
    try:
        return _text(file)
    except SettingError as error:
        raise PeerError(error.message) from error


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"`{file}`: {error}") from error
