"""The state machine of deployments. Pure: a journal and an event give the next journal, and what is to be done then.

    idle → fetched → verified → staged → warmed → canary → active → settled
                  ↘ refused (before it served)            ↘ rolled_back (after)

`idle` with a plan is being fetched. A newer deployment ends an older one at any state; one that serves and has not
settled is taken back first, so that the way back is always to one that settled.
"""

import enum
from typing import NamedTuple

from littoral.updates.deployment.plans import HISTORY_MAX, Journal, Past, Plan
from littoral.updates.wire import State

__all__ = [
    "BOOTS_MAX",
    "CRASH",
    "CRASHABLE",
    "OPERATOR",
    "OVERTAKEN",
    "POWER",
    "UNDER_WAY",
    "Back",
    "Do",
    "Event",
    "Refused",
    "Started",
    "Step",
    "Told",
    "due",
    "react",
]

BOOTS_MAX = 2
"""Starts of the node's process in which a deployment did not settle; one more, and it goes back."""

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
    """The newest deployment for this node. is_asked: by somebody, who wants one that was refused tried again."""

    plan: Plan
    is_asked: bool = False


class Refused(NamedTuple):
    """The deployment that is under way will not do: a gate tripped, or a file is not what it must be."""

    gate: str
    problem: str


class Back(NamedTuple):
    """An operator wants what was before."""

    problem: str = "an operator took it back"


class Started(NamedTuple):
    """The node's process began. active: what its disk says is active, '' for none."""

    active: str


Event = Step | Told | Refused | Back | Started

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
            return _back(journal, event.problem, now)
        case Started():
            return _started(journal, event.active, now)
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
        has_way_back=journal.has_way_back,
        history=journal.history,
    )


def _stepped(journal: Journal, step: Step, now: float) -> Journal:
    if journal.plan is None or STEPS.get(journal.state, (None,))[0] is not step:
        return journal
    after = journal.but(state=step.value, at=now, problem="", gate="")
    if step is Step.STAGED:
        return after.but(boots=0, has_way_back=False)
    if step is Step.FLIPPED:
        return after.but(boots=0, has_way_back=bool(journal.before))
    return _remembered(after, now) if step is Step.WATCHED else after


def _ended(journal: Journal, gate: str, problem: str, now: float) -> Journal:
    """Refused if it has not served, taken back if it has."""
    if journal.plan is None or journal.state not in UNDER_WAY:
        return journal
    state: State = "rolled_back" if journal.state == "active" else "refused"
    found = journal.but(state=state, at=now, gate=gate[:200], problem=problem[:1000], boots=0)
    return _remembered(found.but(has_way_back=journal.has_way_back and state == "refused"), now)


def _back(journal: Journal, problem: str, now: float) -> Journal:
    if journal.state == "settled" and journal.has_way_back:
        found = journal.but(state="rolled_back", at=now, gate=OPERATOR, problem=problem, has_way_back=False)
        return _remembered(found, now)
    return _ended(journal, OPERATOR, problem, now)


def _started(journal: Journal, active: str, now: float) -> Journal:
    """Where the power went between the slot and the journal, the slot counts: it says what serves."""
    state = journal.state
    if journal.plan is None or not journal.slot:
        return journal
    if active == journal.slot and state in ("staged", "warmed", "canary"):
        journal = journal.but(state="active", boots=0, has_way_back=bool(journal.before))
    elif active != journal.slot and state in ("active", "settled"):
        problem = "its slot was left"
        journal = _remembered(journal.but(state="rolled_back", gate=POWER, problem=problem, at=now), now)
    if journal.state not in CRASHABLE:
        return journal
    boots = journal.boots + 1
    if boots > BOOTS_MAX:
        problem = f"the node's process started {boots} times before it settled"
        return _ended(journal, CRASH, problem, now)
    return journal.but(boots=boots, state="staged" if journal.state in IN_MEMORY else journal.state)


def _remembered(journal: Journal, now: float) -> Journal:
    past = Past(journal.deployment, journal.state, now, journal.gate, journal.problem)
    return journal.but(history=(*journal.history, past)[-HISTORY_MAX:])
