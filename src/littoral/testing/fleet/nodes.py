"""A node of a simulated fleet: the real state machine on a simulated disk, behind a network that is away or loses."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import NamedTuple, Protocol

from littoral.clock import Clock
from littoral.testing.disk import PowerCutError, SimulatedDisk
from littoral.testing.fleet.versions import Nature, Version, judged
from littoral.updates.deployment.deployments import Deployments
from littoral.updates.deployment.machine import Do, Refused, Step, Told
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.windows import opens_in_s
from littoral.updates.wire import CheckedIn, CheckIn, Desired

__all__ = ["Habits", "Orchestrated", "SimulatedNode"]

TAKES_S = {Do.VERIFY: 1.0, Do.STAGE: 0.5, Do.WARM: 4.0, Do.FLIP: 0.2}
RESTART_S = (2.0, 20.0)
CRASH_AFTER_S = (1.0, 15.0)


class Habits(NamedTuple):
    """away: [from, to) in simulated seconds, when it hears nobody. lost_share: of what it says. cuts_every_s: between
    power cuts, 0: none. tires: how versions fail that a rollout brings back.
    """

    bytes_per_s: float
    away: tuple[tuple[float, float], ...] = ()
    lost_share: float = 0.0
    cuts_every_s: float = 0.0
    tires: Nature = Nature.GOOD


class Orchestrated(Protocol):
    """Who it asks: as the orchestrator's HTTP side, without HTTP."""

    def checkin(self, node: str, said: CheckIn) -> CheckedIn | None:
        """None: nobody answers."""
        ...

    def desired(self, node: str) -> Desired | None: ...

    def version(self, target: str) -> Version: ...


class SimulatedNode:
    """For a `SimulatedLoop`. starts: of its process. ran: deployments that served, in order. has_settled: one of
    them was watched long enough. changed: called after each thing that it did.
    """

    def __init__(
        self,
        name: str,
        habits: Habits,
        orchestrator: Orchestrated,
        clock: Clock,
        poll_s: float,
        seed: int,
        changed: "Callable[[SimulatedNode], None]",
    ) -> None:
        self.name = name
        self.habits = habits
        self.starts = 0
        self.has_settled = False
        self.ran: list[int] = []
        self.told: list[int] = []
        self._orchestrator = orchestrator
        self._clock = clock
        self._poll_s = poll_s
        self._changed = changed
        self._random = Random(seed)  # noqa: S311
        self._disk = SimulatedDisk(seed)
        self._life = 0
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.TimerHandle | None = None
        self._loop.call_later(self._random.uniform(0, poll_s), self._poll)
        self._start()
        if habits.cuts_every_s:
            self._loop.call_later(self._random.expovariate(1 / habits.cuts_every_s), self._cut)

    @property
    def is_heard(self) -> bool:
        now_s = self._loop.time()
        return not any(begin <= now_s < end for begin, end in self.habits.away)

    @property
    def running(self) -> dict[str, str]:
        found = self.deployments.running
        return {} if found is None else found.running()

    @property
    def is_at_rest(self) -> bool:
        return self.deployments.due is Do.NOTHING

    def _start(self) -> None:
        self.starts += 1
        self._life += 1
        self.deployments = Deployments(self._disk, self._clock, lambda _: True)
        self.deployments.begin()
        self._note()
        self._go_on()

    def _end(self) -> None:
        """Its process is gone, and is started again a little later."""
        self._life += 1
        if self._work is not None:
            self._work.cancel()
        life = self._life
        self._loop.call_later(self._random.uniform(*RESTART_S), lambda: self._start() if life == self._life else None)

    def _cut(self) -> None:
        """The power goes, at a step of writing if there is one soon."""
        if not self.habits.cuts_every_s:
            return
        self._disk.cut_at = self._disk.steps + self._random.randint(1, 3)
        self._loop.call_later(self._random.expovariate(1 / self.habits.cuts_every_s), self._cut)

    def _poll(self) -> None:
        self._loop.call_later(self._poll_s * self._random.uniform(0.9, 1.1), self._poll)
        if not self.is_heard or self._random.random() < self.habits.lost_share:
            return
        journal = self.deployments.journal
        said = CheckIn(
            deployment=journal.deployment,
            state=journal.state,
            problem=journal.problem,
            gate=journal.gate,
            running=self.running,
            time=self._clock.wall(),
        )
        answer = self._orchestrator.checkin(self.name, said)
        if answer is None or self._random.random() < self.habits.lost_share:
            return
        if answer.deployment > journal.deployment:
            self._take()

    def _take(self) -> None:
        """The director's word, verified; a fall of the number would be refused by it, not here."""
        wanted = self._orchestrator.desired(self.name)
        if wanted is None or wanted.is_frozen or wanted.deployment <= self.deployments.journal.deployment:
            return
        self.told.append(wanted.deployment)
        self._safely(lambda: self.deployments.take(Told(self._plan(wanted))))
        self._go_on()

    def _plan(self, wanted: Desired) -> Plan:
        named = {f"models/{name}": target for name, target in wanted.models.items()}
        versions = {role: self._orchestrator.version(target) for role, target in named.items()}
        items = {role: Item(one.target, one.sha256, len(one.data) << 12) for role, one in versions.items()}
        return Plan(wanted.deployment, items, wanted.gates, wanted.windows, wanted.bytes_per_s_max)

    def _go_on(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = None
        if (takes_s := self._takes_s()) is not None:
            life = self._life
            self._work = self._loop.call_later(takes_s, lambda: self._done() if life == self._life else None)

    def _takes_s(self) -> float | None:
        """Until what is due is done; None: nothing is."""
        plan, due = self.deployments.journal.plan, self.deployments.due
        if plan is None or due is Do.NOTHING:
            return None
        if due is Do.FETCH and not self.is_heard:
            return self._poll_s
        if due is Do.FETCH:
            per_s = min(self.habits.bytes_per_s, plan.bytes_per_s_max or self.habits.bytes_per_s)
            return opens_in_s(plan.windows, self._clock.wall()) + plan.length / per_s
        if due is Do.MIRROR:
            return max(0.1, plan.gates.canary_s)
        if due is Do.WATCH:
            if self._nature() is Nature.CRASH:
                return self._random.uniform(*CRASH_AFTER_S)
            return max(0.1, plan.gates.watch_s)
        return TAKES_S[due]

    def _done(self) -> None:
        self._safely(self._step)
        self._note()
        self._go_on()

    def _step(self) -> None:
        found, nature = self.deployments, self._nature()
        match found.due:
            case Do.FETCH if self.is_heard:
                found.take(Step.FETCHED)
            case Do.VERIFY:
                is_refused = nature is Nature.CORRUPT
                found.take(Refused("verify", "SHA-256 is another one") if is_refused else Step.VERIFIED)
            case Do.STAGE:
                found.stage()
            case Do.WARM:
                found.take(Refused("selftest", "outputs differ") if nature is Nature.SELF_TEST else Step.WARMED)
            case Do.MIRROR:
                found.take(self._verdict(nature, serves=False) or Step.MIRRORED)
            case Do.FLIP:
                found.flip()
            case Do.WATCH if nature is Nature.CRASH:
                self._end()
            case Do.WATCH:
                found.take(self._verdict(nature, serves=True) or Step.WATCHED)
            case _:
                return

    def _verdict(self, nature: Nature, *, serves: bool) -> Refused | None:
        plan = self.deployments.journal.plan
        assert plan is not None
        tripped = judged(nature, plan.gates, self._random, serves=serves)
        return None if tripped is None else Refused(tripped.gate, tripped.why)

    def _nature(self) -> Nature:
        """The worst of what the deployment brings."""
        plan = self.deployments.journal.plan
        if plan is not None and plan.gates.leaves and self.habits.tires is not Nature.GOOD:
            return self.habits.tires
        items = () if plan is None else plan.items.values()
        natures = [self._orchestrator.version(item.target).on(self.name) for item in items]
        return next((nature for nature in natures if nature is not Nature.GOOD), Nature.GOOD)

    def _safely(self, work: Callable[[], object]) -> None:
        """The power may go at any step of writing."""
        try:
            work()
        except PowerCutError:
            self._disk.powered_again()
            self._end()

    def _note(self) -> None:
        found = self.deployments.running
        number = 0 if found is None else found.deployment
        if number and (not self.ran or self.ran[-1] != number):
            self.ran.append(number)
        self.has_settled |= self.deployments.journal.state == "settled"
        self._changed(self)
