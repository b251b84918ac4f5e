"""What an orchestrator must not forget: a row each, in a table of its own."""

from typing import Any, Literal

import msgspec

from littoral.updates.artifacts import Custom
from littoral.updates.wire import CheckIn, Gates, Window

__all__ = [
    "KEYS",
    "ArtifactRow",
    "ArtifactState",
    "AskRow",
    "Assigned",
    "ClaimRow",
    "EventRow",
    "GroupRow",
    "MemberRow",
    "MemberState",
    "NodeRow",
    "Plan",
    "ReportRow",
    "Ring",
    "RolloutRow",
    "RolloutState",
    "Row",
    "SightingRow",
]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Scalars have columns of their own, anything else is JSON in one."""


class Assigned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node is to run: targets by name in the site file."""

    models: dict[str, str] = {}
    agents: dict[str, str] = {}
    site: str | None = None
    dashboards: tuple[str, ...] = ()

    def with_set(self, other: "Assigned") -> "Assigned":
        """The same with what the other names in its place."""
        return Assigned(
            models=self.models | other.models,
            agents=self.agents | other.agents,
            site=other.site or self.site,
            dashboards=other.dashboards or self.dashboards,
        )

    @property
    def targets(self) -> dict[str, str]:
        """By `models/NAME`, `agents/NAME`, `site`, `dashboards/NAME`, as nodes report what runs."""
        found = {f"models/{name}": target for name, target in self.models.items()}
        found |= {f"agents/{name}": target for name, target in self.agents.items()}
        found |= {f"dashboards/{target.partition('/')[2].partition('/')[0]}": target for target in self.dashboards}
        return found | ({"site": self.site} if self.site else {})


class NodeRow(Row, frozen=True):
    """deployment: the number of what it was told last; never falls. assigned: that. token_sha256: of its bearer token.
    gates, windows, bytes_per_s_max: of the rollout or group that told it.
    """

    name: str
    token_sha256: str
    public_key: str
    enrolled_at_s: float
    claim: str = ""
    group: str = ""
    labels: dict[str, str] = {}
    deployment: int = 0
    assigned: Assigned = Assigned()
    gates: Gates = Gates()
    windows: tuple[Window, ...] = ()
    bytes_per_s_max: int | None = None
    is_frozen: bool = False


class SightingRow(Row, frozen=True):
    """What a node said last, and when. Written often, many in one transaction."""

    node: str
    seen_at_s: float
    checkin: CheckIn


class GroupRow(Row, frozen=True):
    """match: labels that a node must have to belong to it without being named so. bytes_per_s_max: of each node.
    total_bytes_per_s_max: of all its nodes together.
    """

    name: str
    match: dict[str, str] = {}
    assigned: Assigned = Assigned()
    gates: Gates = Gates()
    windows: tuple[Window, ...] = ()
    bytes_per_s_max: int | None = None
    is_frozen: bool = False
    total_bytes_per_s_max: int | None = None


class ClaimRow(Row, frozen=True):
    """A code that nodes enrol with; at rest there is its digest only. uses_left: nodes that may still do so."""

    id: str
    sha256: str
    made_at_s: float
    made_by: str
    expires_at_s: float
    uses_left: int
    used: int = 0
    group: str = ""
    labels: dict[str, str] = {}


ArtifactState = Literal["pending", "published", "withdrawn"]


class ArtifactRow(Row, frozen=True):
    """Its bytes are the object `targets/SHA256`. signatures: key ids of those who signed; wanted: how many must."""

    target: str
    kind: str
    name: str
    version: int
    length: int
    sha256: str
    state: ArtifactState
    at_s: float
    by: str
    custom: Custom = Custom()
    signatures: tuple[str, ...] = ()
    wanted: int = 0


RolloutState = Literal["running", "paused", "done", "aborted", "rolling_back", "rolled_back"]


class Ring(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which nodes get it together: so many percent of the rollout's in all (rings before included), those named, or
    those with these labels.
    """

    name: str
    percent: float | None = None
    nodes: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator asked for. error_share_max: of a ring's nodes that may fail. soak_s: after each ring.
    offline_share_max: of a ring's nodes that it goes on without; offline_wait_s: and after so long without all of
    them. patience_s: for a node that is online and gets nowhere, while it may install.
    """

    group: str = ""
    nodes: tuple[str, ...] = ()
    set: Assigned = Assigned()
    rings: tuple[Ring, ...] = ()
    gates: Gates | None = None
    windows: tuple[Window, ...] | None = None
    bytes_per_s_max: int | None = None
    total_bytes_per_s_max: int | None = None
    error_share_max: float = 0.0
    soak_s: float = 0.0
    offline_share_max: float = 0.2
    offline_wait_s: float = 3600.0
    patience_s: float = 3600.0
    on_failure: Literal["abort", "rollback"] = "abort"


class RolloutRow(Row, frozen=True):
    """ring: the one that is told now. soaks_from_s: when that ring was done, None while it is not. group_before: what
    the group was to run before this was done.
    """

    id: str
    number: int
    plan: Plan
    state: RolloutState
    began_at_s: float
    by: str
    ring: int = 0
    ring_began_at_s: float = 0.0
    soaks_from_s: float | None = None
    ended_at_s: float | None = None
    why: str = ""
    group_before: Assigned | None = None


MemberState = Literal["waiting", "told", "settled", "failed", "taking_back", "taken_back", "superseded"]


class MemberRow(Row, frozen=True):
    """A node of a rollout. deployment: its number of it. before: what it ran; taken back, it runs that again."""

    rollout: str
    node: str
    ring: int
    before: Assigned = Assigned()
    state: MemberState = "waiting"
    deployment: int = 0
    told_at_s: float = 0.0
    ended_at_s: float = 0.0
    problem: str = ""
    gate: str = ""


class EventRow(Row, frozen=True):
    number: int
    at_s: float
    kind: str
    on: str = ""
    detail: dict[str, Any] = {}


class AskRow(Row, frozen=True):
    """What an operator wants of a node. answer: JSON."""

    id: str
    number: int
    node: str
    kind: Literal["doctor", "logs", "bundle"]
    at_s: float
    by: str
    lines: int = 200
    state: Literal["waiting", "answered"] = "waiting"
    answered_at_s: float = 0.0
    problem: str = ""
    answer: str = ""


class ReportRow(Row, frozen=True):
    """The newest numbers of a node. dropped: of all its reports so far, by bound."""

    node: str
    at_s: float
    metrics: dict[str, float] = {}
    dropped: dict[str, int] = {}


KEYS: dict[type[Row], tuple[str, ...]] = {
    NodeRow: ("name",),
    SightingRow: ("node",),
    GroupRow: ("name",),
    ClaimRow: ("id",),
    ArtifactRow: ("target",),
    RolloutRow: ("id",),
    MemberRow: ("rollout", "node"),
    EventRow: ("number",),
    AskRow: ("id",),
    ReportRow: ("node",),
}
"""Every table, and what its rows are known by."""
