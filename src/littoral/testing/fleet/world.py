"""A fleet, its troubles and its rollouts, of one seed; and what must hold of them.

Of all nodes a tenth is away, for a while or throughout, and a twentieth is flaky: it loses half of what it says, and
its power. A fifth is tired: there fails what a rollout brings back. Versions are good, bad everywhere, or bad on some
nodes; the orchestrator is killed, also between writing and telling. What must hold:

- a rollout ends: `done` where no ring had more failures than allowed, `aborted` where one had
- a good version is held up by nothing but flaky nodes; one that is bad everywhere never leaves its ring
- a node of a later ring is not told before the ring before it is done
- a node runs what it was told, or what it ran before; from the first one that settled on it always runs something
- a node on which what it was to go back to fails too goes on with what settled before, if it has any
- in the end, with everybody back, each node runs what its row says, but for those that a gate of theirs stopped
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from littoral.errors import ConflictError
from littoral.orchestrator.rollouts import OPEN, is_followed
from littoral.orchestrator.store.rows import Assigned, MemberRow, NodeRow, Plan, Ring, RolloutRow
from littoral.testing.clock import SimulatedClock
from littoral.testing.fleet.nodes import Habits, SimulatedNode
from littoral.testing.fleet.orchestrator import GROUP, SimulatedOrchestrator
from littoral.testing.fleet.versions import BAD, Nature, Version
from littoral.testing.loop import run_simulated
from littoral.updates.wire import Gates

__all__ = ["Report", "simulate"]

MODEL = "embedder"
POLL_S = 90.0
TICK_S = 5.0
AWAY_SHARE, FLAKY_SHARE, TIRED_SHARE = 0.10, 0.05, 0.20
ERRORS_MAX = 0.2
ROLLOUT_COUNT = 3
ROLLOUT_S_MAX = 6 * 3600.0
QUIET_S = 3600.0
GATES = Gates(canary_s=10.0, watch_s=20.0, memory_mb_max=1024)
RINGS = (Ring(name="canary", percent=5), Ring(name="some", percent=25), Ring(name="all", percent=100))
AT_REST = ("settled", "failed", "taken_back", "superseded", "waiting")


class Report(NamedTuple):
    """rollouts: nature, share of nodes that it is bad on, outcome, nodes that failed. broken: what did not hold.
    fallen: nodes that went past what was taken back, since what they were to go back to failed too."""

    seed: int
    nodes: int
    simulated_s: float
    kills: int
    restarts: int
    rollouts: list[tuple[str, float, str, int]]
    broken: list[str]
    fallen: int


def simulate(seed: int, node_count: int = 1000, show: Callable[[str], Any] | None = None) -> Report:
    """One fleet, from enrolment to rest. show: gets a line for each event."""
    clock = SimulatedClock()
    return run_simulated(lambda: _World(seed, node_count, clock, show or (lambda _: None)).run(), clock)


class _World:
    def __init__(self, seed: int, node_count: int, clock: SimulatedClock, show: Callable[[str], Any]) -> None:
        self._seed = seed
        self._clock = clock
        self._show = show
        self._random = Random(f"fleet {seed}")  # noqa: S311
        self._names = [f"n{number:04}" for number in range(node_count)]
        self._broken: list[str] = []
        self._fallen = 0
        self._told: dict[str, dict[int, Assigned]] = {name: {} for name in self._names}
        self._orchestrator = SimulatedOrchestrator(
            clock,
            Random(f"orchestrator {seed}"),  # noqa: S311
            poll_s=POLL_S,
            told=self._note_told,
        )
        self._versions: dict[str, Version] = {}
        self._flaky: set[str] = set()
        self._tired: set[str] = set()
        self._nodes: dict[str, SimulatedNode] = {}

    async def run(self) -> Report:
        orchestrator = self._orchestrator
        orchestrator.enrol(self._names)
        for name in self._names:
            habits = self._habits(name)
            seed = self._random.getrandbits(32)
            self._nodes[name] = SimulatedNode(name, habits, orchestrator, self._clock, POLL_S, seed, self._check)
        ticking = asyncio.create_task(self._tick())
        try:
            first = Version(f"models/{MODEL}/1.wasm")
            versions = [first, *(self._version(number + 2) for number in range(ROLLOUT_COUNT))]
            self._versions = {version.target: version for version in versions}
            ended = [await self._rollout(version, is_first=version is first) for version in versions]
            await self._rest()
        finally:
            ticking.cancel()
        return Report(
            self._seed,
            len(self._names),
            round(self._clock.monotonic()),
            orchestrator.kills,
            sum(node.starts - 1 for node in self._nodes.values()),
            ended,
            self._broken,
            self._fallen,
        )

    def _habits(self, name: str) -> Habits:
        random, draw = self._random, self._random.random()
        per_s = random.uniform(2e5, 4e6)
        if draw < AWAY_SHARE:
            begin = random.choice([0.0, random.uniform(0, 4 * 3600)])
            length = random.choice([random.uniform(600, 7200), 1e9])
            return Habits(per_s, away=((begin, begin + length),))
        if draw < AWAY_SHARE + FLAKY_SHARE:
            self._flaky.add(name)
            return Habits(per_s, lost_share=0.5, cuts_every_s=900.0)
        if draw < AWAY_SHARE + FLAKY_SHARE + TIRED_SHARE:
            self._tired.add(name)
            return Habits(per_s, tires=random.choice([Nature.CRASH, Nature.SELF_TEST]))
        return Habits(per_s)

    def _version(self, number: int) -> Version:
        random = self._random
        nature = Nature.GOOD if random.random() < 0.4 else random.choice(BAD)
        return Version(f"models/{MODEL}/{number}.wasm", nature, random.choice([1.0, 1.0, 0.05, 0.5]))

    async def _rollout(self, version: Version, *, is_first: bool = False) -> tuple[str, float, str, int]:
        plan = Plan(
            group=GROUP,
            set=Assigned(models={MODEL: version.target}),
            rings=() if is_first else RINGS,
            gates=GATES,
            error_share_max=ERRORS_MAX,
            soak_s=self._random.choice([0.0, 120.0]),
            offline_wait_s=900.0,
            patience_s=1800.0,
            on_failure=self._random.choice(["abort", "rollback"]),
        )
        await self._up()
        rollout_id = self._orchestrator.start(version, plan)
        self._show(f"{self._clock.monotonic():9.0f} {rollout_id} {version.nature} {version.share} begins")
        began_s = self._clock.monotonic()
        acts = self._acts() if not is_first else []
        while self._found(rollout_id).state in OPEN:
            await asyncio.sleep(TICK_S)
            spent_s = self._clock.monotonic() - began_s
            if acts and spent_s > acts[0][0]:
                self._act(rollout_id, acts.pop(0)[1])
            if spent_s > ROLLOUT_S_MAX:
                self._fault(f"{rollout_id}: is {self._found(rollout_id).state} after {spent_s:.0f} s")
                break
        found = self._found(rollout_id)
        members = self._orchestrator.members[rollout_id]
        failed = sum(self._version_failed(member) for member in members.values())
        self._show(f"{self._clock.monotonic():9.0f} {rollout_id} {found.state}, {failed} failed: {found.why}")
        self._judge(version, found, is_first=is_first)
        await asyncio.sleep(self._random.uniform(0, 600))
        return version.nature.value, version.share, found.state, failed

    def _acts(self) -> list[tuple[float, str]]:
        """An operator pauses now and again, and goes on."""
        if self._random.random() < 0.7:
            return []
        at_s = self._random.uniform(30, 600)
        return [(at_s, "pause"), (at_s + self._random.uniform(60, 1200), "resume")]

    def _act(self, rollout_id: str, what: str) -> None:
        try:
            self._orchestrator.act(rollout_id, what)  # type: ignore[arg-type]
            self._show(f"{self._clock.monotonic():9.0f} {rollout_id} {what}")
        except ConflictError:  # it has ended, or is not there to be asked
            pass

    def _found(self, rollout_id: str) -> RolloutRow:
        return self._orchestrator.rollouts[rollout_id]

    @staticmethod
    def _version_failed(member: MemberRow) -> bool:
        return bool(member.gate)

    def _judge(self, version: Version, rollout: RolloutRow, *, is_first: bool) -> None:
        """Whether it ended rightly. A member keeps the gate that stopped it, also once it was taken back."""
        members = self._orchestrator.members[rollout.id].values()
        rings = {ring: [one for one in members if one.ring == ring] for ring in {one.ring for one in members}}
        failed = {ring: [one for one in found if one.gate] for ring, found in rings.items()}
        over = [ring for ring, found in failed.items() if len(found) > ERRORS_MAX * len(rings[ring])]
        sound = {one.node for found in failed.values() for one in found if self._is_sound(version, one)}
        if strange := sorted(sound - self._flaky - self._away - self._tired):
            self._fault(f"{rollout.id}: good on {strange[:3]}, which failed")
        if rollout.state == "done" and over:
            self._fault(f"{rollout.id}: done, with too many failures in rings {over}")
        if rollout.state in ("aborted", "rolled_back"):
            if not over:
                self._fault(f"{rollout.id}: {rollout.state} ({rollout.why}), with few failures")
            told = [one for one in members if one.ring > rollout.ring and one.deployment]
            if told:
                self._fault(f"{rollout.id}: {rollout.state} in ring {rollout.ring}, and `{told[0].node}` was told")
        if version.nature is not Nature.GOOD and version.share == 1.0 and rollout.state == "done":
            self._fault(f"{rollout.id}: {version.nature} everywhere, and done")
        if is_first and rollout.state != "done":
            self._fault(f"{rollout.id}: the first version is {rollout.state}")

    def _is_sound(self, version: Version, member: MemberRow) -> bool:
        """On its node, and so is what the node was to go back to, whose failure is told of the rollout as well."""
        before = [self._versions[target] for target in member.before.models.values()]
        return all(one.on(member.node) is Nature.GOOD for one in (version, *before))

    @property
    def _away(self) -> set[str]:
        return {name for name, node in self._nodes.items() if node.habits.away}

    async def _up(self) -> None:
        while not self._orchestrator.is_up():  # noqa: ASYNC110  simulated time
            await asyncio.sleep(TICK_S)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._orchestrator.tick()

    def _check(self, node: SimulatedNode) -> None:
        """Whenever it did something: what runs was told at some time, and something runs once something settled."""
        found = node.deployments.running
        if found is None:
            if node.has_settled:
                self._fault(f"`{node.name}` runs nothing, after {node.ran}")
            return
        wanted = self._told[node.name].get(found.deployment)
        if wanted is None or wanted.targets != found.running():
            self._fault(f"`{node.name}` runs {found.running()} as {found.deployment}, which nobody told it")

    def _note_told(self, row: NodeRow) -> None:
        """By the store: nothing is told twice under one number."""
        told = self._told[row.name]
        if told.setdefault(row.deployment, row.assigned) != row.assigned:
            self._fault(f"`{row.name}` was told two things as {row.deployment}")

    async def _rest(self) -> None:
        """Everybody is back and whole; after a while nothing happens any more."""
        for node in self._nodes.values():
            node.habits = Habits(node.habits.bytes_per_s, tires=node.habits.tires)
        await asyncio.sleep(QUIET_S)
        orchestrator = self._orchestrator
        for rollout in orchestrator.rollouts.values():
            members = orchestrator.members[rollout.id]
            if is_followed(rollout, members):
                going = next((one for one in members.values() if one.state not in AT_REST), None)
                self._fault(f"{rollout.id}: is {rollout.state} and still followed: {going}")
        for name, node in self._nodes.items():
            row = orchestrator.nodes[name]
            if not node.is_at_rest:
                self._fault(f"`{name}` does not come to rest: {node.deployments.journal.state}")
            journal = node.deployments.journal
            is_stopped = journal.deployment == row.deployment and journal.state in ("refused", "rolled_back")
            if node.running != row.assigned.targets and not is_stopped:
                self._fault(f"`{name}` runs {node.running}, wanted {row.assigned.targets}")
            if is_stopped and journal.leaves and journal.plan is not None:
                stays = {*node.running.values()} & {*journal.plan.gates.leaves}
                self._fallen += not stays
                if stays and journal.ways:
                    self._fault(f"`{name}` stays with {sorted(stays)}, which was taken back")

    def _fault(self, what: str) -> None:
        if len(self._broken) < 20 and what not in self._broken:
            self._broken.append(what)
            self._show(f"{self._clock.monotonic():9.0f} BROKEN {what}")
