"""What a node keeps of deployments: the manifest of a slot, and the journal of the one that is under way."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from littoral.updates.wire import Gates, State, Window

__all__ = ["HISTORY_MAX", "Item", "Journal", "Past", "Plan", "decoded"]

HISTORY_MAX = 64

_T = TypeVar("_T", bound=msgspec.Struct)

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One artifact of a deployment. sha256, length: in bytes, of its file in the store. self_test: role of its vectors
    in the same plan."""

    target: str
    sha256: Sha256
    length: Annotated[int, Meta(ge=0)]
    self_test: str | None = None
    littoral_min: str | None = None


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The manifest of a slot: all that a deployment runs. items: by role, `models/NAME`, `agents/NAME`, `site`,
    `selftests/NAME`, `dashboards/NAME`."""

    deployment: Annotated[int, Meta(ge=0)]
    items: dict[str, Item] = {}
    gates: Gates = Gates()
    windows: tuple[Window, ...] = ()
    bytes_per_s_max: int | None = None

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(item.sha256 for item in self.items.values())

    @property
    def length(self) -> int:
        """In bytes, of all its artifacts; one that is used twice counts once."""
        return sum({item.sha256: item.length for item in self.items.values()}.values())

    def changed(self, before: "Plan | None") -> dict[str, Item]:
        """Roles whose artifact is another than before."""
        old = {} if before is None else before.items
        return {role: item for role, item in self.items.items() if role not in old or old[role].sha256 != item.sha256}

    def running(self) -> dict[str, str]:
        """Target by role, as a check-in tells it."""
        return {role: item.target for role, item in self.items.items() if not role.startswith("selftests/")}


class Past(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a deployment ended. at: seconds since 1970."""

    deployment: int
    state: State
    at: float
    gate: str = ""
    problem: str = ""


class Journal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the newest deployment stands. plan: its, while it is under way and after; None before the first.

    slot: that it was staged into. serves: the slot that is active. ways: other slots with versions that settled, the
    newest first: the ways back. leaves: what served when it came was taken back by its rollout. boots: of the node's
    process, since the step that a new version may crash it in, or since it last lived for long; −1 = the next one is
    meant. machine: the boot of the machine that they are of. before, has_way_back: in journals of format 1 alone.
    """

    format: int = 2
    deployment: int = 0
    state: State = "idle"
    at: float = 0.0
    plan: Plan | None = None
    slot: str = ""
    serves: str = ""
    ways: tuple[str, ...] = ()
    leaves: bool = False
    boots: int = 0
    machine: str = ""
    before: str = ""
    has_way_back: bool = False
    gate: str = ""
    problem: str = ""
    history: tuple[Past, ...] = ()

    @property
    def ended(self) -> int:
        """The deployment that its state is of: what is left may be older than the newest."""
        is_over = self.state in ("settled", "refused", "rolled_back") and self.history
        return self.history[-1].deployment if is_over else self.deployment

    def but(self, **changes: Any) -> "Journal":
        return msgspec.structs.replace(self, **changes)


def decoded(data: bytes | None, what: type[_T]) -> _T | None:
    """None for what is not there or is no such thing: a disk may have lost it."""
    if not data:
        return None
    try:
        return msgspec.json.decode(data, type=what)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
