"""The journal and the slots on a disk: each step is durable before it counts, and what is there after a power cut runs.

journal      where the newest deployment stands
slots/a, b   the manifest of each; the artifacts that they name lie in the store
active       the slot that serves; replacing this file is the flip
"""

from collections.abc import Callable

import msgspec

from littoral.artifact.disk import Disk
from littoral.clock import Clock
from littoral.errors import ConflictError
from littoral.updates.deployment.machine import (
    CRASHABLE,
    OVERTAKEN,
    UNDER_WAY,
    Back,
    Do,
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
SLOTS = ("a", "b")
NONE = "-"


class Deployments:
    """Of one node. is_whole: whether every artifact of a plan is there; asked when it begins.

    owes: what the disk does not say yet, because it is full: `settle_up` tries again.
    """

    def __init__(self, disk: Disk, clock: Clock, is_whole: Callable[[Plan], bool]) -> None:
        self._disk = disk
        self._clock = clock
        self.journal = decoded(disk.read(JOURNAL), Journal) or Journal()
        self._plans = {slot: decoded(disk.read(f"slots/{slot}"), Plan) for slot in SLOTS}
        self.active = self._runnable(is_whole)
        self.owes = False
        if self.journal.plan is None and self.active and not self.journal.deployment:
            self.journal = self._found()

    def begin(self) -> None:
        """The node's process has begun: counted, since a new version may be what ended it."""
        after = react(self.journal, Started(self.active), self._clock.wall())
        self._turn_back(after)

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
        if journal.state == "active" or (journal.state == "settled" and journal.has_way_back):
            return self._plans.get(journal.before)
        return None

    @property
    def kept(self) -> frozenset[str]:
        """Digests of artifacts that are never removed: of what serves, of the way back, of what is under way."""
        plans = [*self._plans.values(), self.running]
        if self.journal.state in UNDER_WAY:
            plans.append(self.journal.plan)
        return frozenset(digest for plan in plans if plan is not None for digest in plan.digests)

    def take(self, event: Step | Told | Refused | Back) -> bool:
        """Whether it changed anything. Raises OSError where it cannot be written: then nothing has changed, unless it
        leads back: what leads back counts at once, and is owed."""
        now = self._clock.wall()
        after = react(self.journal, event, now)
        if after == self.journal:
            return False
        if isinstance(event, Refused | Back):
            self._turn_back(after)
            return True
        if isinstance(event, Told) and self.journal.state == "active":
            newer = Refused(OVERTAKEN, f"deployment {event.plan.deployment} is newer")
            self._turn_back(react(self.journal, newer, now))
            after = react(self.journal, event, now)
        self._write(after)
        return True

    def stage(self) -> None:
        """Writes the manifest into the slot that does not serve. Raises OSError."""
        journal = self.journal
        assert journal.plan is not None
        slot = SLOTS[self.active == SLOTS[0]]
        self._disk.replace(f"slots/{slot}", msgspec.json.encode(journal.plan))
        self._plans[slot] = journal.plan
        after = react(journal, Step.STAGED, self._clock.wall())
        self._write(after.but(slot=slot, before=self.active))

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
        if self.journal.state in CRASHABLE and self.journal.boots >= 0:
            self._write(self.journal.but(boots=self.journal.boots - 1))

    def note(self, problem: str, gate: str = "") -> None:
        """Why it does not go on just now; not kept."""
        self.journal = self.journal.but(problem=problem[:1000], gate=gate)

    def _runnable(self, is_whole: Callable[[Plan], bool]) -> str:
        """The slot that is active, or, where something of it was lost, the other one; '' for none."""
        named = (self._disk.read(ACTIVE) or b"").decode(errors="replace").strip()
        if named not in SLOTS:
            return ""
        for slot in (named, *(one for one in SLOTS if one != named)):
            plan = self._plans[slot]
            if plan is not None and is_whole(plan):
                return slot
        return ""

    def _found(self) -> Journal:
        """Of a slot that serves, where the journal was lost."""
        plan = self.running
        assert plan is not None
        return Journal(deployment=plan.deployment, state="settled", plan=plan, slot=self.active)

    def _turn_back(self, after: Journal) -> None:
        """Serves what was before, whatever the disk takes."""
        before = self.journal
        self.journal = after
        try:
            if after.state == "rolled_back" and self.active == after.slot:
                self.active = after.before
            if after.state == "rolled_back" or self.owes:
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
