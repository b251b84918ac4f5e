"""The state machine of deployments. Pure: a journal and an event give the next journal, and what is to be done then.

    idle → fetched → verified → staged → warmed → canary → active → settled
                  ↘ refused (before it served)            ↘ rolled_back (after)

`idle` with a plan is being fetched. A newer deployment ends an older one at any state; one that serves and has not
settled is taken back first, so that a way back is always to one that settled. What settled and fails later is left for
what settled before it, as long as there is one.
"""

import enum
from typing import NamedTuple

from littoral.updates.deployment.plans import HISTORY_MAX, Journal, Past, Plan
from littoral.updates.wire import State

__all__ = [
    "AT_REST",
    "BOOTS_MAX",
    "CRASH",
    "CRASHABLE",
    "OPERATOR",
    "OVERTAKEN",
    "POWER",
    "STARTS_MAX",
    "UNDER_WAY",
    "Back",
    "Do",
    "Event",
    "Lost",
    "Refused",
    "Started",
    "Step",
    "Told",
    "due",
    "react",
]

BOOTS_MAX = 2
"""Starts of the node's process in which a deployment did not settle; one more, and it goes back."""

STARTS_MAX = 5
"""As `BOOTS_MAX`, of a version that settled, without living for long in between, in one boot of the machine: power that
comes and goes is no fault of it."""

CRASH, OPERATOR, OVERTAKEN, POWER = "crash", "operator", "newer", "power"
"""Gates that are none of `gates.py`: why a deployment ended. power: its slot was left without a word in the journal."""


class Do(enum.Enum):
    """What a node is to do now; the event that follows if it succeeds has the same place in `STEPS`."""

    NOTHING = "nothing"
    FETCH = "fetch"
    VERIFY = "verify"
    STAGE = "stage"
    WARM = "warm"
    MIRROR = "mirror"
    FLIP = "flip"
    WATCH = "watch"


class Step(enum.Enum):
    """What was done, and the state that it leads to."""

    FETCHED = "fetched"
    VERIFIED = "verified"
    STAGED = "staged"
    WARMED = "warmed"
    MIRRORED = "canary"
    FLIPPED = "active"
    WATCHED = "settled"


class Told(NamedTuple):
    """The newest deployment for this node. is_asked: by somebody, who wants one that was refused tried again.
    leaves: what serves was taken back by its rollout."""

    plan: Plan
    is_asked: bool = False
    leaves: bool = False


class Refused(NamedTuple):
    """The deployment that is under way will not do: a gate tripped, or a file is not what it must be."""

    gate: str
    problem: str


class Back(NamedTuple):
    """An operator wants what was before. serves: number of the deployment that does."""

    problem: str = "an operator took it back"
    serves: int = 0


class Lost(NamedTuple):
    """What serves and once settled does not work any more. serves: as in `Back`."""

    gate: str
    problem: str
    serves: int = 0


class Started(NamedTuple):
    """The node's process began. active: what its disk says is active, '' for none. machine: its boot. serves: as in
    `Back`."""

    active: str
    machine: str = ""
    serves: int = 0


Event = Step | Told | Refused | Back | Lost | Started

STEPS: dict[State, tuple[Step, Do]] = {
    "idle": (Step.FETCHED, Do.FETCH),
    "fetched": (Step.VERIFIED, Do.VERIFY),
    "verified": (Step.STAGED, Do.STAGE),
    "staged": (Step.WARMED, Do.WARM),
    "warmed": (Step.MIRRORED, Do.MIRROR),
    "canary": (Step.FLIPPED, Do.FLIP),
    "active": (Step.WATCHED, Do.WATCH),
}
"""By state: what is to be done in it, and what leads out of it."""

BEFORE_FLIP: tuple[State, ...] = ("idle", "fetched", "verified", "staged", "warmed", "canary")
IN_MEMORY: tuple[State, ...] = ("warmed", "canary")
CRASHABLE: tuple[State, ...] = ("staged", "warmed", "canary", "active")
UNDER_WAY: tuple[State, ...] = (*BEFORE_FLIP, "active")
AT_REST: tuple[State, ...] = ("settled", "refused", "rolled_back")


def due(journal: Journal) -> Do:
    """What is to be done in this state."""
    return STEPS[journal.state][1] if journal.plan is not None and journal.state in STEPS else Do.NOTHING


def react(journal: Journal, event: Event, now: float) -> Journal:
    """The same journal for an event that means nothing now. now: seconds since 1970."""
    match event:
        case Told():
            return _told(journal, event, now)
        case Refused():
            return _ended(journal, event.gate, event.problem, now)
        case Back():
            return _back(journal, event, now)
        case Lost():
            return _lost(journal, event, now)
        case Started():
            return _started(journal, event, now)
        case Step():
            return _stepped(journal, event, now)


def _told(journal: Journal, event: Told, now: float) -> Journal:
    plan = event.plan
    is_again = event.is_asked and plan.deployment == journal.deployment and journal.state == "refused"
    if plan.deployment <= journal.deployment and not is_again:
        return journal
    if journal.plan is not None and journal.state in UNDER_WAY:
        journal = _ended(journal, OVERTAKEN, f"deployment {plan.deployment} is newer", now)
    return Journal(
        deployment=plan.deployment,
        at=now,
        plan=plan,
        serves=journal.serves,
        ways=journal.ways,
        leaves=event.leaves,
        boots=max(0, journal.boots),
        machine=journal.machine,
        history=journal.history,
    )


def _stepped(journal: Journal, step: Step, now: float) -> Journal:
    if journal.plan is None or STEPS.get(journal.state, (None,))[0] is not step:
        return journal
    after = journal.but(state=step.value, at=now, problem="", gate="")
    if step is Step.STAGED:
        return after.but(boots=0)
    if step is Step.FLIPPED:
        return _flipped(after)
    return _remembered(after, now) if step is Step.WATCHED else after


def _flipped(journal: Journal) -> Journal:
    before = (journal.serves,) if journal.serves else ()
    return journal.but(state="active", boots=0, serves=journal.slot, ways=(*before, *journal.ways))


def _ended(journal: Journal, gate: str, problem: str, now: float) -> Journal:
    """Refused if it has not served, taken back if it has."""
    if journal.plan is None or journal.state not in UNDER_WAY:
        return journal
    has_served = journal.state == "active"
    state: State = "rolled_back" if has_served else "refused"
    found = journal.but(state=state, at=now, gate=gate[:200], problem=problem[:1000], boots=0)
    leaves = journal.leaves and gate not in (OPERATOR, OVERTAKEN)
    if leaves and not has_served and found.ways:
        found = found.but(ways=(*found.ways, found.serves))
    elif leaves and has_served:
        found = found.but(ways=(*found.ways[1:], *found.ways[:1]))
    return _remembered(_gone_back(found) if leaves or has_served else found, now)


def _gone_back(journal: Journal) -> Journal:
    """To the newest that settled. Where none did nothing serves, unless what does has served all along."""
    if journal.ways:
        return journal.but(serves=journal.ways[0], ways=journal.ways[1:])
    return journal.but(serves="") if journal.state == "rolled_back" else journal


def _back(journal: Journal, event: Back, now: float) -> Journal:
    if journal.state in AT_REST and journal.ways:
        return _left(journal, OPERATOR, event.problem, event.serves, now)
    return _ended(journal, OPERATOR, event.problem, now)


def _lost(journal: Journal, event: Lost, now: float) -> Journal:
    """A deployment that is under way goes on; what may be its own fault is counted against it first."""
    if journal.ways and journal.state not in CRASHABLE:
        return _left(journal, event.gate, event.problem, event.serves, now)
    return journal


def _left(journal: Journal, gate: str, problem: str, serves: int, now: float) -> Journal:
    """What settled is left for what settled before. serves: the deployment that does."""
    past = Past(serves or journal.deployment, "rolled_back", now, gate[:200], problem[:1000])
    found = journal.but(boots=0, history=(*journal.history, past)[-HISTORY_MAX:])
    if journal.state in AT_REST:
        found = found.but(state="rolled_back", at=now, gate=past.gate, problem=past.problem)
    return found.but(serves=journal.ways[0], ways=journal.ways[1:])


def _started(journal: Journal, event: Started, now: float) -> Journal:
    """Where the power went between the slot and the journal, the slot counts: it says what serves."""
    active, state = event.active, journal.state
    if journal.plan is None:
        return journal
    if journal.slot and active == journal.slot and state in ("staged", "warmed", "canary"):
        journal = _flipped(journal)
    elif active != journal.serves:
        is_left = journal.serves == journal.slot and state in ("active", "settled")
        journal = journal.but(serves=active, ways=tuple(slot for slot in journal.ways if slot != active))
        if is_left:
            problem = "its slot was left"
            journal = _remembered(journal.but(state="rolled_back", gate=POWER, problem=problem, at=now), now)
    if journal.state not in CRASHABLE:
        return _counted(journal, event, now)
    boots = journal.boots + 1
    if boots > BOOTS_MAX:
        problem = f"the node's process started {boots} times before it settled"
        return _ended(journal, CRASH, problem, now)
    return journal.but(boots=boots, state="staged" if journal.state in IN_MEMORY else journal.state)


def _counted(journal: Journal, event: Started, now: float) -> Journal:
    """One more start of what settled."""
    boots = max(0, journal.boots) + 1 if event.machine == journal.machine else 1
    journal = journal.but(boots=boots, machine=event.machine)
    if boots <= STARTS_MAX or not journal.ways:
        return journal
    problem = f"deployment {event.serves}: the node's process started {boots} times and never lived for long"
    return _left(journal, CRASH, problem, event.serves, now)


def _remembered(journal: Journal, now: float) -> Journal:
    past = Past(journal.deployment, journal.state, now, journal.gate, journal.problem)
    return journal.but(history=(*journal.history, past)[-HISTORY_MAX:])
