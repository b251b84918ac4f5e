"""The steps by which a shard, or a part of one, gets from one place to another while it is read and written.

| step | reads | writes | ends when |
|---|---|---|---|
| planned | source | source | it is its turn |
| writing-both | source | both | every node that writes has said that it writes to both |
| copying | source | both | everything that was there is sent |
| comparing | source | both | counts and digests of both agree; else what differs is sent again |
| flipping | source by the old epoch, target by the new | both | every node here goes by the new epoch |
| dropping | target | target | the source has deleted it |
| done | target | target | |
| undoing | source | source | the target has deleted its copy |
| undone | source | source | |

A copy begun before every writer writes to both would miss a write in between; so it is not. Up to the comparison all
can be taken back; from the flip on it only goes forward, because some node may read the target already. Pure: an event
in, the next state out; who carries it out asks `todo`.
"""

from typing import Literal, NamedTuple

import msgspec

from littoral.errors import ConflictError

__all__ = [
    "BothWritten",
    "Compared",
    "Contents",
    "Copied",
    "Dropped",
    "Event",
    "Failed",
    "Place",
    "Relocation",
    "Seen",
    "Step",
    "Turn",
    "Withdrawn",
    "advance",
    "begun",
    "places",
    "todo",
]

Step = Literal["planned", "writing-both", "copying", "comparing", "flipping", "dropping", "done", "undoing", "undone"]

ROUNDS_MAX = 8
FAILURES_MAX = 5
TAKEN_BACK = frozenset({"writing-both", "copying", "comparing"})
ENDED = frozenset({"done", "undone"})


class Place(NamedTuple):
    """A shard on a node."""

    shard: int
    node: str


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is compared. digest: of ids and versions of all points that are to be in both."""

    points: int
    digest: bytes


class Turn(msgspec.Struct, frozen=True, tag="turn"):
    """There is bandwidth for it: it may begin."""


class BothWritten(msgspec.Struct, frozen=True, tag="both-written"):
    """Every node that may write writes to both places."""


class Copied(msgspec.Struct, frozen=True, tag="copied"):
    """bytes: sent since last told. is_whole: nothing is left to send."""

    bytes: int
    is_whole: bool


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """Contents of both at one moment of the log."""

    source: Contents
    target: Contents


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """Every node that is here goes by this epoch of the shard map, or a later one."""

    epoch: int


class Dropped(msgspec.Struct, frozen=True, tag="dropped"):
    """The place that was to be given up is empty."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The step could not be done, for now."""

    reason: str


class Withdrawn(msgspec.Struct, frozen=True, tag="withdrawn"):
    """It is wanted no longer."""

    reason: str


Event = Turn | BothWritten | Copied | Compared | Seen | Dropped | Failed | Withdrawn


class Relocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One on its way. keeps_source: a replica more, not a move.

    epoch: of the shard map with which the target is read. rounds: how often it was compared. reason: of the last
    failure, or why it was taken back.
    """

    source: Place
    target: Place
    epoch: int
    keeps_source: bool = False
    step: Step = "planned"
    copied_bytes: int = 0
    rounds: int = 0
    failures: int = 0
    reason: str = ""


def begun(source: Place, target: Place, *, epoch: int, keeps_source: bool = False) -> Relocation:
    """A new one. epoch: that will be the first to have the target in the source's stead. Raises ConflictError."""
    if source == target:
        raise ConflictError(f"relocation of shard {source.shard}: `{source.node}` is source and target")
    return Relocation(source, target, epoch, keeps_source)


def places(relocation: Relocation, epoch: int) -> tuple[Place, tuple[Place, ...]]:
    """Where a node that goes by `epoch` of the shard map reads, and where it writes."""
    source, target, step = relocation.source, relocation.target, relocation.step
    if step in ("planned", "undoing", "undone"):
        return source, (source,)
    if step in ("dropping", "done"):
        return target, (source, target) if relocation.keeps_source else (target,)
    return (target if step == "flipping" and epoch >= relocation.epoch else source), (source, target)


def todo(relocation: Relocation) -> str:
    """What is to be done now, in words; empty when it has ended."""
    source, target = (f"shard {place.shard} on `{place.node}`" for place in (relocation.source, relocation.target))
    return {
        "planned": f"wait until there is bandwidth to bring {source} to `{relocation.target.node}`",
        "writing-both": f"have every node write to {source} and to {target}",
        "copying": f"send {source} to {target}, {relocation.copied_bytes} bytes sent",
        "comparing": f"compare {source} and {target}, round {relocation.rounds + 1}",
        "flipping": f"publish epoch {relocation.epoch} with {target}, wait until every node goes by it",
        "dropping": f"delete {source}",
        "undoing": f"delete {target}: {relocation.reason}",
        "done": "",
        "undone": "",
    }[relocation.step]


def advance(relocation: Relocation, event: Event) -> Relocation:
    """The next state. An event that was told before, or comes too late, changes nothing.

    Raises ConflictError for one that cannot be at this step.
    """
    if relocation.step in ENDED:
        return relocation
    match event:
        case Failed():
            return _after_failure(relocation, event.reason)
        case Withdrawn():
            return _taken_back(relocation, event.reason)
        case Turn():
            return _stepped(relocation, "writing-both") if relocation.step == "planned" else relocation
        case BothWritten():
            return _stepped(relocation, "copying") if relocation.step == "writing-both" else relocation
        case Copied():
            return _after_copy(relocation, event)
        case Compared():
            return _after_comparison(relocation, event)
        case Seen():
            return _after_flip(relocation, event.epoch)
        case Dropped():
            return _after_drop(relocation)


def _stepped(relocation: Relocation, step: Step) -> Relocation:
    return msgspec.structs.replace(relocation, step=step, failures=0)


def _after_copy(relocation: Relocation, event: Copied) -> Relocation:
    if relocation.step != "copying":
        return relocation
    sent = msgspec.structs.replace(relocation, copied_bytes=relocation.copied_bytes + event.bytes, failures=0)
    return _stepped(sent, "comparing") if event.is_whole else sent


def _after_comparison(relocation: Relocation, event: Compared) -> Relocation:
    if relocation.step != "comparing":
        return relocation
    compared = msgspec.structs.replace(relocation, rounds=relocation.rounds + 1)
    if event.source == event.target:
        return _stepped(compared, "flipping")
    if compared.rounds >= ROUNDS_MAX:
        found = f"{event.source.points} points in the source, {event.target.points} in the target"
        return _taken_back(compared, f"not equal after {ROUNDS_MAX} comparisons: {found}")
    return _stepped(compared, "copying")


def _after_flip(relocation: Relocation, epoch: int) -> Relocation:
    if relocation.step != "flipping" or epoch < relocation.epoch:
        return relocation
    return _stepped(relocation, "done" if relocation.keeps_source else "dropping")


def _after_drop(relocation: Relocation) -> Relocation:
    if relocation.step not in ("dropping", "undoing"):
        raise ConflictError(f"relocation of shard {relocation.source.shard}: dropped while `{relocation.step}`")
    return _stepped(relocation, "done" if relocation.step == "dropping" else "undone")


def _after_failure(relocation: Relocation, reason: str) -> Relocation:
    failed = msgspec.structs.replace(relocation, failures=relocation.failures + 1, reason=reason)
    if failed.failures < FAILURES_MAX or failed.step not in TAKEN_BACK:
        return failed
    return _taken_back(failed, f"failed {FAILURES_MAX} times: {reason}")


def _taken_back(relocation: Relocation, reason: str) -> Relocation:
    told = msgspec.structs.replace(relocation, reason=reason)
    if relocation.step == "planned":
        return _stepped(told, "undone")
    return _stepped(told, "undoing") if relocation.step in TAKEN_BACK else relocation
