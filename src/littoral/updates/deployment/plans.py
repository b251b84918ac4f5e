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

    before: the slot that was active when it was staged; the way back. boots: of the node's process since the step that
    a new version may crash it in; −1 = the next one is meant. way_back: whether the other slot was active before.
    """

    format: int = 1
    deployment: int = 0
    state: State = "idle"
    at: float = 0.0
    plan: Plan | None = None
    slot: str = ""
    before: str = ""
    boots: int = 0
    has_way_back: bool = False
    gate: str = ""
    problem: str = ""
    history: tuple[Past, ...] = ()

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
