"""Steps of this node's pipelines, wherever they are done best: decided, asked for, done here where nobody answers."""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple, Protocol

from littoral.clock import Clock
from littoral.errors import LittoralError, PeerError, UnavailableError
from littoral.node.placement.experience import Experience
from littoral.node.placement.explained import explained
from littoral.node.placement.neighbours import Neighbours
from littoral.node.placement.racing import Race, Raced
from littoral.node.placement.scheduler import Candidate, Choice, Job, Ranked, Scheduler
from littoral.node.placement.way import Way
from littoral.node.placement.workplace import Workplace
from littoral.node.placement_tables import PlacementTable
from littoral.node.residency import Residency, Standing, Wish
from littoral.runtime.abi import check_tensors
from littoral.runtime.call import current_call
from littoral.runtime.edges import EdgeType, TensorsType, Value
from littoral.runtime.step import How
from littoral.steps.messages import STEP, StepAsk, decode_told, encode_step
from littoral.telemetry import Endured

__all__ = ["Asker", "MovableStep", "Site"]

ROUND_S = 0.5
IDLE_S = 10.0
OUTSIDE_S = 2.0
"""Who is outside is asked for its loads less often, and only while steps come that may leave the site."""
SELDOM = 16
"""A node that has none of the steps is asked every so many rounds whether it has them now."""
PATIENCE_MIN_S = 0.02
PATIENCE_FACTOR = 1.5
SPARE_SHARE = 0.25
TRIES_AT_ONCE_MAX = 4
KEYS_MAX = 256
HEAD_BYTES = 1024
LEFT_MIN_S = 0.001


class Site(Protocol):
    """This node among others. roster: regions of those of the site, by name."""

    @property
    def name(self) -> str: ...

    @property
    def transport(self) -> Way: ...

    def roster(self) -> Mapping[str, str]: ...


class MovableStep(NamedTuple):
    """name: in `how`. dtypes: of what it is given, by name. take: the outputs of a model that go on."""

    name: str
    key: str
    wish: Wish
    bounds: tuple[Residency, ...]
    take: tuple[str, ...]
    dtypes: Mapping[str, str]
    gives: EdgeType


class _Running(NamedTuple):
    """One step of one request."""

    step: MovableStep
    value: Value
    local: Callable[[], Coroutine[Any, Any, Value]]
    size_bytes: int
    left_s: float | None
    did: dict[str, str]
    """By who was asked: who did it, where that is another."""


class Asker:
    """For one event loop; `open` it, `close` it. outside: who is asked where the site is exhausted, by name."""

    def __init__(
        self,
        site: Site,
        workplace: Workplace,
        table: PlacementTable,
        *,
        outside: Sequence[str] = (),
        is_spent: Callable[[], bool],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._site = site
        self._workplace = workplace
        self._table = table
        self._outside = tuple(outside)
        self._is_spent = is_spent
        self._clock = clock
        self.experience = Experience(rng, share=table.tries)
        self.scheduler = Scheduler(self.experience, spill_s=table.spill_ms / 1000)
        self.neighbours = Neighbours(site.transport, self.experience, clock)
        self.keys: dict[str, float] = {}
        """Steps that were asked for, and when last."""
        self._answer_bytes: dict[str, int] = {}
        self._left_at_s = -math.inf
        """When a step that may leave the site was wanted last."""
        self._round = 0
        self._wanted = asyncio.Event()
        self._is_idle = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tries: set[asyncio.Task[Value]] = set()
        self.steps: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.again_count = self.tries_count = self.spilled_count = 0

    async def open(self) -> None:
        """From now on other nodes are looked at, while steps come that may go to them."""
        self._site.transport.watch(self._seen)
        self._tasks.add(asyncio.create_task(self._run(), name="littoral-placement"))

    async def close(self) -> None:
        """Ends what runs here."""
        tasks = [*self._tasks, *self._tries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def informed(self) -> None:
        """Those who are here have told their loads just now, or did not answer."""
        await self.neighbours.refresh(self._others_here())

    def want(self, key: str, bounds: Sequence[Residency] = ()) -> None:
        """A step that may go elsewhere is there, or is asked for. bounds: how far."""
        if len(self.keys) >= KEYS_MAX and key not in self.keys:
            oldest = min(self.keys, key=self.keys.__getitem__)
            del self.keys[oldest]
            self._answer_bytes.pop(oldest, None)
        self.keys[key] = now_s = self._clock.monotonic()
        if all(bound.refusal("orchestrator", "") is None for bound in bounds):
            self._left_at_s = now_s
        if self._is_idle:
            self._wanted.set()

    async def run(
        self, step: MovableStep, value: Value, local: Callable[[], Coroutine[Any, Any, Value]], how: How
    ) -> Value:
        """What the step gives, from whoever was asked; `how` tells. local: does it here.

        Raises what `local` raises, where nobody else had answered before.
        """
        self.want(step.key, step.bounds)
        began_s = self._clock.monotonic()
        deadline_s = current_call().deadline_s
        left_s = None if deadline_s is None else max(0.0, deadline_s - began_s)
        running = _Running(step, value, local, _size_bytes(value), left_s, {})
        job = Job(step.key, step.wish, step.bounds, left_s)
        choice = self.scheduler.choose(job, self.candidates(step.key, running.size_bytes), began_s)
        raced = await self._raced(running, choice)
        taken_s = self._clock.monotonic() - began_s
        self._count(raced)
        how.placement = [*(how.placement or []), explained(step.name, choice, raced, taken_s, running.did)]
        return raced.answer

    def candidates(self, key: str, size_bytes: int) -> list[Candidate]:
        """This node first. size_bytes: of the tensors that would travel."""
        here = Candidate(self._site.name, "here", offer=self._workplace.offer(key), is_spent=self._is_spent())
        alive = self._site.transport.alive()
        roster = self._site.roster()
        found = [here]
        for name, region in roster.items():
            if name not in (self._site.name, *self._outside):
                found.append(self._candidate(name, "site", region, key, size_bytes, alive))
        found += [self._candidate(name, "orchestrator", "", key, size_bytes, alive) for name in self._outside]
        return found

    def _candidate(
        self, name: str, standing: Standing, region: str, key: str, size_bytes: int, alive: frozenset[str]
    ) -> Candidate:
        known = self.neighbours.of(name)
        away = self.neighbours.away(name, alive)
        told_max = None if known.loads is None else known.loads.bytes_max
        if size_bytes + HEAD_BYTES > (told_max or self._site.transport.body_bytes_max):
            away = f"{size_bytes} bytes are too many for a message"
        both_bytes = size_bytes + self._answer_bytes.get(key, 0)
        return Candidate(
            name,
            standing,
            region,
            away,
            known.offers.get(key),
            known.transfer.expected_s(both_bytes),
            known.on_the_way.get(key, 0),
            known.is_spent,
        )

    async def _raced(self, running: _Running, choice: Choice) -> Raced[Ranked, Value]:
        first, *others = choice.order
        beside = self._try(running, choice)
        if first.standing != "here" or beside is not None:
            return await self._race(running, choice.order, beside)
        try:
            return Raced(first, await self._here(running, first), [], [])
        except UnavailableError as error:
            if not others:
                raise
            try:
                raced = await self._race(running, others)
            except LittoralError:
                raise error from None
            return raced._replace(failures=[(first, error), *raced.failures])

    async def _race(
        self,
        running: _Running,
        order: Sequence[Ranked],
        beside: "tuple[Ranked, asyncio.Task[Value]] | None" = None,
    ) -> Raced[Ranked, Value]:
        here_s = next((one.expected.high_s for one in order if one.standing == "here"), 0.0)
        race: Race[Ranked, Value] = Race(
            order,
            partial(self._start, running),
            patience_s=lambda ranked: _patience_s(ranked, running.left_s, here_s),
            is_own=lambda ranked: ranked.standing == "here",
        )
        return await race.run(beside)

    def _try(self, running: _Running, choice: Choice) -> "tuple[Ranked, asyncio.Task[Value]] | None":
        """Begun beside; what comes of it after the answer is only learned from."""
        if choice.tried is None or len(self._tries) >= TRIES_AT_ONCE_MAX:
            return None
        task = self._start(running, choice.tried)
        self._tries.add(task)
        task.add_done_callback(self._end_try)
        self.tries_count += 1
        return choice.tried, task

    def _end_try(self, task: "asyncio.Task[Value]") -> None:
        self._tries.discard(task)
        if not task.cancelled():
            task.exception()  # it was counted where it happened

    def _start(self, running: _Running, ranked: Ranked) -> "asyncio.Task[Value]":
        """Counted from now on, so that who chooses in the same moment knows of it."""
        if ranked.standing == "here":
            return asyncio.create_task(self._here(running, ranked))
        on_the_way, key = self.neighbours.of(ranked.node).on_the_way, running.step.key
        on_the_way[key] = on_the_way.get(key, 0) + 1
        task = asyncio.create_task(self._there(running, ranked))
        task.add_done_callback(lambda _: _count_down(on_the_way, key))
        return task

    async def _here(self, running: _Running, ranked: Ranked) -> Value:
        began_s = self._clock.monotonic()
        value = await running.local()
        now_s = self._clock.monotonic()
        self.experience.note((ranked.node, running.step.key), ranked.predicted_s, now_s - began_s, now_s)
        return value

    async def _there(self, running: _Running, ranked: Ranked) -> Value:
        """Raises PeerError and the like; then, or if it is overtaken, it took at least so long as that took."""
        key, began_s = running.step.key, self._clock.monotonic()
        try:
            return await self._answer_of(running, ranked)
        except BaseException as error:
            now_s = self._clock.monotonic()
            if (passed_s := now_s - began_s) > ranked.predicted_s:
                self.experience.note((ranked.node, key), ranked.predicted_s, passed_s, now_s)
            if isinstance(error, LittoralError):
                self.neighbours.failed(ranked.node, error)
                self.failures[ranked.node] += 1
            raise

    async def _answer_of(self, running: _Running, ranked: Ranked) -> Value:
        step, call = running.step, current_call()
        most_s = self._table.deadline_ms / 1000
        left_s = most_s if running.left_s is None else min(most_s, max(running.left_s, LEFT_MIN_S))
        body = encode_step(StepAsk(step.key, left_s, list(step.take), call.priority), running.value, step.dtypes)
        began_s = self._clock.monotonic()
        answer = await self._site.transport.request(ranked.node, STEP, body, deadline_s=left_s)
        now_s = self._clock.monotonic()
        told, value = decode_told(answer, ranked.node)
        _check(value, step.gives, ranked.node)
        if told.node:
            running.did[ranked.node] = told.node
        way_s = max(0.0, now_s - began_s - told.inside_s)
        self.neighbours.answered(ranked.node, step.key, told, len(body) + len(answer), way_s)
        self.experience.note((ranked.node, step.key), ranked.predicted_s, now_s - began_s, now_s)
        self._answer_bytes[step.key] = len(answer)
        call.waited(told.waited_s)
        return value

    async def _run(self) -> None:
        """Loads of the others, again and again while somebody needs them."""
        endured = Endured()
        while True:
            self._wanted.clear()
            with endured.round("placement"):
                await self.neighbours.refresh(self._to_refresh())
            self._round += 1
            self._is_idle = self._clock.monotonic() - max(self.keys.values(), default=-math.inf) >= IDLE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_idle else ROUND_S):
                    await self._wanted.wait()

    def _to_refresh(self) -> list[str]:
        """Who is here and may have something; the others seldom."""
        here = [name for name in self._others_here() if not self.neighbours.is_resting(name) and self._is_due(name)]
        if self._round % SELDOM == 0:
            return here
        known = {name: self.neighbours.of(name) for name in here}
        return [name for name, found in known.items() if found.loads is None or self.keys.keys() & found.offers.keys()]

    def _others_here(self) -> list[str]:
        names = {*self._site.roster(), *self._outside} - {self._site.name}
        return sorted(names & self._site.transport.alive())

    def _is_due(self, name: str) -> bool:
        """Whether its loads are of use now."""
        if name not in self._outside:
            return True
        now_s = self._clock.monotonic()
        return now_s - self._left_at_s < IDLE_S and now_s - self.neighbours.of(name).taken_s >= OUTSIDE_S - ROUND_S

    def _seen(self, name: str, is_here: bool) -> None:
        if is_here:
            self.neighbours.returned(name)
            self._wanted.set()

    def _count(self, raced: Raced[Ranked, Value]) -> None:
        self.steps[raced.winner.node] += 1
        self.again_count += len(raced.slow) + len(raced.failures)
        self.spilled_count += raced.winner.standing == "orchestrator"


def _patience_s(ranked: Ranked, left_s: float | None, here_s: float) -> float | None:
    """How long a node is waited for before the next is asked too: as few of its answers take, and never so long that
    this node could not do it any more.
    """
    if ranked.standing == "here":
        return None
    usual_s = max(PATIENCE_MIN_S, PATIENCE_FACTOR * ranked.expected.high_s)
    return usual_s if left_s is None else min(usual_s, max(SPARE_SHARE * left_s, left_s - PATIENCE_FACTOR * here_s))


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _size_bytes(value: Value) -> int:
    if isinstance(value, Mapping):
        return sum(array.nbytes for array in value.values())
    return len(value)


def _check(value: Value, gives: EdgeType, node: str) -> None:
    """Raises PeerError for an answer that is not what the step gives."""
    if not isinstance(gives, TensorsType):
        if not isinstance(value, bytes):
            raise PeerError(f"peer `{node}`: answered a step with tensors, expected {gives}")
        return
    if not isinstance(value, Mapping):
        raise PeerError(f"peer `{node}`: answered a step with bytes, expected {gives}")
    check_tensors(value, gives.ports, f"peer `{node}`: answer of a step", PeerError)
