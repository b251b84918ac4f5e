"""A node's deployments in simulated time, on a disk that loses power, is full, or whose process is killed.

Artifacts are bytes that say how they behave. `Run` is one life after the other until everything is quiet; what must
never be is asserted at every tick, and the seed replays it.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import NamedTuple

from littoral.testing.clock import SimulatedClock
from littoral.testing.disk import PowerCutError, SimulatedDisk
from littoral.updates.deployment.deployments import Deployments
from littoral.updates.deployment.machine import UNDER_WAY, Back, Do, Refused, Step, Told
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.wire import Gates

TICKS_MAX = 400
WATCH_TICKS = 4
FADES_TICKS, STEADY_TICKS = 2, 10
FULL_TICKS = 12


class Nature(StrEnum):
    """Of an artifact. crashes: the process ends while it serves. kills: already while it is warmed. mirrors: a gate
    trips on mirrored requests. wrong: a gate trips after the flip. fades: good until it has settled, and the process
    ends again and again from some tick on."""

    GOOD = "good"
    CRASHES = "crashes"
    KILLS = "kills"
    MIRRORS = "mirrors"
    WRONG = "wrong"
    FADES = "fades"


class Fault(StrEnum):
    """What happens at one step of writing."""

    POWER = "power"
    KILL = "kill"
    FULL = "full"


class KilledError(Exception):
    """The process is gone; the disk is as it was."""


STORIED = [nature for nature in Nature if nature is not Nature.FADES]


class Deployment(NamedTuple):
    """at: the tick at which the director tells it."""

    plan: Plan
    nature: Nature
    at: int


def deployment(number: int, nature: Nature, at: int, models: int) -> Deployment:
    items = {}
    for i in range(models):
        data = content(number, nature, i)
        items[f"models/m{i}"] = Item(f"models/m{i}/{number}.wasm", hashlib.sha256(data).hexdigest(), len(data))
    return Deployment(Plan(number, items, Gates()), nature, at)


def content(number: int, nature: Nature, index: int) -> bytes:
    return f"{nature} {number} {index} ".encode() * (3 + index)


def story(seed: int) -> list[Deployment]:
    """The first one is good, so that there is something to come back to; the last one may be anything."""
    random = Random(seed)
    natures = [Nature.GOOD, *(random.choice(STORIED) for _ in range(random.randint(1, 4)))]
    at, found = 0, []
    for number, nature in enumerate(natures, 1):
        found.append(deployment(number, nature, at, random.randint(1, 3)))
        at += random.choice([3, 9, 25, 60])
    return found


class Run:
    """fault_at: the step of writing at which it happens, from 1; 0: never. goes_back_at: a tick at which an operator
    takes back what serves. fades_at: the tick from which versions fail that fade."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        seed: int,
        fault: Fault = Fault.POWER,
        fault_at: int = 0,
        goes_back_at: int = -1,
        fades_at: int = TICKS_MAX,
    ) -> None:
        self.deployments = list(deployments)
        self.fault = fault
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk(seed)
        self._arm(fault_at)
        self.goes_back_at = goes_back_at
        self.fades_at = fades_at
        self.boots = 0
        self.natures = {one.plan.deployment: one.nature for one in deployments}
        self.contents = {
            item.sha256: content(one.plan.deployment, one.nature, i)
            for one in deployments
            for i, item in enumerate(one.plan.items.values())
        }
        self.tick = 0
        self.settled: set[int] = set()
        self.lives = 0
        self.full_ticks = 0
        self.trace: list[str] = []
        self.serves: int | None = None
        self.ended_by_operator: set[int] = set()

    def _arm(self, at: int) -> None:
        if self.fault is Fault.FULL:
            self.disk.full_at = at
        else:
            self.disk.cut_at = at

    def go(self) -> Deployments:
        """Until nothing is left to do."""
        while True:
            self.lives += 1
            try:
                return self._life()
            except PowerCutError:
                self._note("power cut" if self.fault is Fault.POWER else "killed")
                if self.fault is Fault.POWER:
                    self.disk.powered_again()
                    self.boots += 1
                self.disk.cut_at = 0
            except KilledError:
                self._note("crash")
            assert self.lives < 60, self.told()

    def told(self) -> str:
        return "\n".join(self.trace[-60:])

    def _life(self) -> Deployments:
        found = Deployments(self.disk, self.clock, self._is_whole, f"{self.boots}")
        found.begin()
        self.serves = None if found.running is None else found.running.deployment
        memory: list[int] = []
        ticks_in_state, state, began = 0, "", self.tick
        while self.tick < TICKS_MAX:
            self.tick += 1
            self.clock.advance(1.0)
            self._make_space()
            now = f"{found.journal.deployment} {found.journal.state}"
            ticks_in_state = ticks_in_state + 1 if now == state else 0
            state = now
            self._check(found)
            found.settle_up()
            try:
                self._news(found)
                self._act(found, memory, ticks_in_state)
                if self.tick - began > STEADY_TICKS:
                    found.steady()
            except OSError as error:
                if isinstance(error, PowerCutError):
                    raise
                self._note(f"no space: {found.due.value}")
            self._follow(found)
            if self._fades(found) and self.tick - began >= FADES_TICKS:
                raise KilledError
            if self._is_quiet(found):
                return found
        raise AssertionError(f"stuck: {state}\n{self.told()}")

    def _make_space(self) -> None:
        """Somebody does, after a while."""
        if self.disk.full_at and self.disk.steps >= self.disk.full_at:
            self.full_ticks += 1
            if self.full_ticks > FULL_TICKS:
                self.disk.full_at = 0

    def _news(self, found: Deployments) -> None:
        if self.tick == self.goes_back_at and found.way_back is not None:
            self.ended_by_operator.add(found.journal.deployment)
            found.take(Back())
        told = [one for one in self.deployments if one.at <= self.tick]
        if told:
            found.take(Told(told[-1].plan))

    def _act(self, found: Deployments, memory: list[int], ticks: int) -> None:
        journal = found.journal
        nature = self.natures.get(journal.deployment, Nature.GOOD)
        match found.due:
            case Do.FETCH:
                self._fetch(journal.plan)
                found.take(Step.FETCHED)
            case Do.VERIFY:
                self._fetch(journal.plan)
                found.take(Step.VERIFIED)
            case Do.STAGE:
                found.stage()
            case Do.WARM:
                memory[:] = [journal.deployment]
                if nature is Nature.KILLS:
                    raise KilledError
                found.take(Step.WARMED)
            case Do.MIRROR:
                assert memory == [journal.deployment], "mirrored what is not in memory"
                found.take(Refused("errors", "traps") if nature is Nature.MIRRORS else Step.MIRRORED)
            case Do.FLIP:
                assert memory == [journal.deployment], "flipped to what is not in memory"
                found.flip()
            case Do.WATCH:
                self._watch(found, nature, ticks)
            case Do.NOTHING:
                pass

    def _watch(self, found: Deployments, nature: Nature, ticks: int) -> None:
        if nature in (Nature.CRASHES, Nature.KILLS):
            raise KilledError
        if nature in (Nature.WRONG, Nature.MIRRORS):
            found.take(Refused("drift", "other outputs"))
        elif ticks >= WATCH_TICKS:
            found.take(Step.WATCHED)
            self.settled.add(found.journal.deployment)

    def _fades(self, found: Deployments) -> bool:
        return self.tick >= self.fades_at and self._is_fading(found)

    def _is_fading(self, found: Deployments) -> bool:
        """Whether what serves, and settled, fails from some tick on."""
        running, journal = found.running, found.journal
        if running is None or self.natures[running.deployment] is not Nature.FADES:
            return False
        return journal.state != "active" or journal.deployment != running.deployment

    def _fetch(self, plan: Plan | None) -> None:
        assert plan is not None
        for item in plan.items.values():
            if self.disk.read(f"artifacts/{item.sha256}") != self.contents[item.sha256]:
                self.disk.write(f"incoming/{item.sha256}", self.contents[item.sha256])
                self.disk.sync()
                self.disk.replace(f"artifacts/{item.sha256}", self.contents[item.sha256])
                self.disk.remove(f"incoming/{item.sha256}")

    def _is_whole(self, plan: Plan) -> bool:
        return all(
            self.disk.read(f"artifacts/{item.sha256}") == self.contents[item.sha256] for item in plan.items.values()
        )

    def _follow(self, found: Deployments) -> None:
        """What is in memory follows what is active, at once."""
        self.serves = None if found.running is None else found.running.deployment
        self._note(f"{found.journal.deployment} {found.journal.state} serves {self.serves} owes {found.owes}")
        kept = found.kept
        for path, _ in list(self.disk.files("artifacts")):
            if path.rpartition("/")[2] not in kept and not self.disk.full_at and not self.disk.cut_at:
                self.disk.remove(path)

    def _check(self, found: Deployments) -> None:
        """What must hold at every tick."""
        running, journal = found.running, found.journal
        if self.settled:
            assert running is not None, f"nothing serves\n{self.told()}"
        if running is None:
            return
        assert self._is_whole(running), f"what serves is not whole\n{self.told()}"
        if self.natures[running.deployment] not in (Nature.GOOD, Nature.FADES):
            is_watched = journal.state == "active" and journal.deployment == running.deployment
            assert is_watched, f"{running.deployment} serves and nobody watches it\n{self.told()}"

    def _is_quiet(self, found: Deployments) -> bool:
        last = self.deployments[-1]
        is_told = self.tick >= last.at and self.tick > self.goes_back_at
        is_over = found.journal.deployment == last.plan.deployment and found.journal.state not in UNDER_WAY
        return is_told and is_over and not found.owes and not self._is_fading(found)

    def _note(self, what: str) -> None:
        self.trace.append(f"{self.tick:4} life {self.lives} step {self.disk.steps}: {what}")


def check_end(run: Run, found: Deployments) -> None:
    """The newest good deployment serves, or, where the newest is bad, one that settled before."""
    last = run.deployments[-1]
    number, running = last.plan.deployment, found.running
    told = run.told()
    if last.nature is Nature.GOOD and number not in run.ended_by_operator:
        assert found.journal.state == "settled", told
        assert running is not None, told
        assert running.deployment == number, told
        return
    assert found.journal.state in ("refused", "rolled_back"), told
    if run.settled - run.ended_by_operator:
        assert running is not None, told
        assert running.deployment != number, told
        assert run.natures[running.deployment] is Nature.GOOD, told
