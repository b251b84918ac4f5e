"""The journal and the slots on a disk: each step is durable before it counts, and what is there after a power cut runs.

journal      where the newest deployment stands
slots/a to c the manifest of each; the artifacts that they name lie in the store
active       the slot that serves; replacing this file is the flip
"""

from collections.abc import Callable

import msgspec

from littoral.artifact.disk import Disk
from littoral.clock import Clock
from littoral.errors import ConflictError
from littoral.updates.deployment.machine import (
    AT_REST,
    CRASHABLE,
    OVERTAKEN,
    UNDER_WAY,
    Back,
    Do,
    Event,
    Lost,
    Refused,
    Started,
    Step,
    Told,
    due,
    react,
)
from littoral.updates.deployment.plans import Journal, Plan, decoded

__all__ = ["ACTIVE", "JOURNAL", "SLOTS", "Deployments"]

JOURNAL, ACTIVE = "journal", "active"
SLOTS = ("a", "b", "c")
NONE = "-"


class Deployments:
    """Of one node. is_whole: whether every artifact of a plan is there; asked when it begins, and on a way back.
    machine: what tells this boot of the machine from others.

    owes: what the disk does not say yet, because it is full: `settle_up` tries again.
    """

    def __init__(self, disk: Disk, clock: Clock, is_whole: Callable[[Plan], bool], machine: str = "") -> None:
        self._disk = disk
        self._clock = clock
        self._is_whole = is_whole
        self._machine = machine
        self.journal = decoded(disk.read(JOURNAL), Journal) or Journal()
        self._plans = {slot: decoded(disk.read(f"slots/{slot}"), Plan) for slot in SLOTS}
        named = (disk.read(ACTIVE) or b"").decode(errors="replace").strip()
        self.journal = self._of_this_format(named)
        self.active = self._runnable(named)
        self.owes = False
        if self.journal.plan is None and self.active and not self.journal.deployment:
            self.journal = self._found()

    def begin(self) -> None:
        """The node's process has begun: counted, since a new version may be what ended it."""
        self._turn_back(self._after(Started(self.active, self._machine, self._number)))

    @property
    def due(self) -> Do:
        return due(self.journal)

    @property
    def running(self) -> Plan | None:
        """Of the active slot."""
        return self._plans.get(self.active)

    @property
    def way_back(self) -> Plan | None:
        """What an operator may go back to, or what a gate leads to; None: nothing was active before."""
        journal = self.journal
        is_there = bool(journal.ways) and (journal.state == "active" or journal.state in AT_REST)
        return self._plans.get(journal.ways[0]) if is_there else None

    @property
    def kept(self) -> frozenset[str]:
        """Digests of artifacts that are never removed: of what serves, of the ways back, of what is under way; but of
        the oldest way back only until a deployment that needs its slot is on its way."""
        journal = self.journal
        slots = {self.active, *journal.ways}
        plans: list[Plan | None] = []
        if journal.plan is not None and journal.state in UNDER_WAY:
            plans.append(journal.plan)
            if journal.state in ("idle", "fetched", "verified"):
                slots.discard(self._free(journal.plan))
        plans += [self._plans.get(slot) for slot in slots]
        return frozenset(digest for plan in plans if plan is not None for digest in plan.digests)

    def take(self, event: Step | Told | Refused | Back | Lost) -> bool:
        """Whether it changed anything. Raises OSError where it cannot be written: then nothing has changed, unless it
        leads back: what leads back counts at once, and is owed."""
        if isinstance(event, Back | Lost):
            event = event._replace(serves=self._number)
        if isinstance(event, Told):
            event = self._leaving(event)
        after = self._after(event)
        if after == self.journal:
            return False
        if isinstance(event, Refused | Back | Lost):
            self._turn_back(after)
            return True
        if isinstance(event, Told) and self.journal.state == "active":
            newer = Refused(OVERTAKEN, f"deployment {event.plan.deployment} is newer")
            self._turn_back(self._after(newer))
            after = self._after(self._leaving(event))
        self._write(after)
        return True

    def stage(self) -> None:
        """Writes the manifest into a slot that does not serve. Raises OSError."""
        journal = self.journal
        assert journal.plan is not None
        slot = self._free(journal.plan)
        self._disk.replace(f"slots/{slot}", msgspec.json.encode(journal.plan))
        self._plans[slot] = journal.plan
        after = react(journal, Step.STAGED, self._clock.wall())
        ways = tuple(way for way in journal.ways if way != slot)
        self._write(after.but(slot=slot, serves=self.active, ways=ways))

    def flip(self, *, restarts: bool = False) -> None:
        """From now on the new slot is active. restarts: the node's process is started anew for it. Raises OSError."""
        journal = self.journal
        if journal.state != "canary":
            raise ConflictError(f"deployment {journal.deployment} is `{journal.state}`, cannot be made active")
        after = react(journal, Step.FLIPPED, self._clock.wall())
        self._activate(journal.slot)
        self.journal = after.but(boots=-1) if restarts else after
        try:
            self._write(self.journal)
        except OSError:  # the slot counts, whatever the journal says
            self.owes = True

    def settle_up(self) -> bool:
        """Writes what is owed; whether nothing is owed any more."""
        if self.owes:
            self._turn_back(self.journal)
        return not self.owes

    def leave(self) -> None:
        """The process ends in order: its next start says nothing against a deployment. Raises OSError."""
        if self.journal.boots > 0 or (self.journal.state in CRASHABLE and not self.journal.boots):
            self._write(self.journal.but(boots=self.journal.boots - 1))

    def steady(self) -> None:
        """The process has lived for long: what settled works. Raises OSError."""
        if self.journal.boots > 0 and self.journal.state not in CRASHABLE:
            self._write(self.journal.but(boots=0))

    def note(self, problem: str, gate: str = "") -> None:
        """Why it does not go on just now; not kept."""
        self.journal = self.journal.but(problem=problem[:1000], gate=gate)

    def _leaving(self, event: Told) -> Told:
        running = {} if self.running is None else self.running.running()
        return event._replace(leaves=any(target in event.plan.gates.leaves for target in running.values()))

    @property
    def _number(self) -> int:
        """Of the deployment that serves."""
        return 0 if self.running is None else self.running.deployment

    def _after(self, event: Event) -> Journal:
        """A way back of which something was lost is none."""
        while True:
            after = react(self.journal, event, self._clock.wall())
            plan = self._plans.get(after.serves)
            if after.serves not in self.journal.ways or (plan is not None and self._is_whole(plan)):
                return after
            self.journal = self.journal.but(ways=tuple(way for way in self.journal.ways if way != after.serves))

    def _free(self, plan: Plan) -> str:
        """The slot for a deployment: of those that do not serve the one that has the same in it, so that no version is
        kept twice, else one that is no way back, else the oldest way."""
        ways = self.journal.ways
        spare = [slot for slot in SLOTS if slot != self.active]
        for slot in spare:
            if (held := self._plans[slot]) is not None and held.items == plan.items:
                return slot
        return next((slot for slot in spare if slot not in ways), ways[-1] if ways else spare[0])

    def _of_this_format(self, active: str) -> Journal:
        """Format 1 knew two slots, and whether the other one was a way back."""
        journal = self.journal
        if journal.format > 1 or journal.plan is None:
            return journal
        others = tuple(slot for slot in SLOTS if slot != active and self._plans[slot] is not None)
        was_active = journal.state == "active" and bool(journal.before)
        ways = others if journal.has_way_back or was_active else ()
        return journal.but(format=2, serves=active if active in SLOTS else "", ways=ways, before="", has_way_back=False)

    def _runnable(self, named: str) -> str:
        """The slot that is active, or, where something of it was lost, a way back; '' for none."""
        if named not in SLOTS:
            return ""
        for slot in dict.fromkeys((named, *self.journal.ways)):
            plan = self._plans.get(slot)
            if plan is not None and self._is_whole(plan):
                return slot
        return ""

    def _found(self) -> Journal:
        """Of a slot that serves, where the journal was lost."""
        plan = self.running
        assert plan is not None
        return Journal(deployment=plan.deployment, state="settled", plan=plan, slot=self.active, serves=self.active)

    def _turn_back(self, after: Journal) -> None:
        """Serves what was before, whatever the disk takes."""
        before = self.journal
        self.journal = after
        try:
            is_other, self.active = after.serves != self.active, after.serves
            if is_other or self.owes:
                self._activate(self.active)
            self._write(after)
            self.owes = False
        except OSError:
            self.owes = after != before or self.owes

    def _activate(self, slot: str) -> None:
        self._disk.replace(ACTIVE, (slot or NONE).encode())
        self.active = slot

    def _write(self, journal: Journal) -> None:
        self._disk.replace(JOURNAL, msgspec.json.encode(journal))
        self.journal = journal
