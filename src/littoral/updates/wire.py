"""What node and orchestrator say to each other: JSON over HTTP, unknown keys ignored, so that either may be older."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "STATES",
    "Answered",
    "Ask",
    "CheckIn",
    "CheckedIn",
    "Desired",
    "Enrol",
    "Enrolled",
    "Gates",
    "Report",
    "State",
    "Window",
]

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Target = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=2000)]

State = Literal[
    "idle", "fetched", "verified", "staged", "warmed", "canary", "active", "settled", "rolled_back", "refused"
]
STATES: tuple[State, ...] = (
    "idle",
    "fetched",
    "verified",
    "staged",
    "warmed",
    "canary",
    "active",
    "settled",
    "rolled_back",
    "refused",
)
"""Of a deployment on a node. `active` serves and is still watched; `settled` was watched long enough."""


class Gates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a new version goes back by itself. Ratios are against the version before, on mirrored requests and after the
    flip. drift_max: 1 − cosine of outputs, at the 99th percentile. canary_s: of mirrored requests, before the
    flip; watch_s: after it. leaves: targets that a rollout has taken back; a node that runs one of them, and on which
    this deployment fails, too, goes back past it.
    """

    errors_max: float = 0.01
    p99_ratio_max: float = 1.5
    drift_max: float = 0.1
    memory_mb_max: int | None = None
    canary_s: float = 30.0
    canary_requests_min: int = 0
    watch_s: float = 60.0
    hook: str | None = None
    leaves: tuple[Target, ...] = ()


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """When installing may begin: minutes of the day, days of the week (0 = Monday), UTC; over midnight if to < from."""

    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    from_minute: int = 0
    to_minute: int = 1440


class Desired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the director says a node is to run: `littoral` in the signed part of the node's targets. deployment: never
    falls. models, agents: name in the site file to target. settings not given are the node's own.
    """

    node: Name
    deployment: Annotated[int, Meta(ge=0)]
    models: dict[Name, Target] = {}
    agents: dict[Name, Target] = {}
    site: Target | None = None
    dashboards: tuple[Target, ...] = ()
    gates: Gates = Gates()
    windows: tuple[Window, ...] = ()
    bytes_per_s_max: int | None = None
    is_frozen: bool = False


class Enrol(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /fleet/v1/enrol`, once. public_key: Ed25519 as PEM, whose secret half stays on the node."""

    claim: Annotated[str, Meta(max_length=200)]
    public_key: Annotated[str, Meta(max_length=1000)]
    node: Name | None = None
    labels: dict[str, str] = {}
    facts: dict[str, Any] = {}


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """token: bearer of everything that follows, told once."""

    node: Name
    token: str
    poll_s: float


class CheckIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /fleet/v1/checkin`. deployment, state: the newest that the node began. running: target by model or agent,
    `models/NAME` and `agents/NAME`, `site`. problem: why it is refused or was taken back. gate: which one held or
    caught it.
    """

    deployment: int
    state: State
    problem: Text = ""
    gate: Text = ""
    running: dict[str, Target] = {}
    littoral: str = ""
    boot: str = ""
    time: float = 0.0
    facts: dict[str, Any] = {}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants of a node. lines: of logs."""

    id: str
    kind: Literal["doctor", "logs", "bundle"]
    lines: int = 200


class CheckedIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """deployment: the newest for this node. time: the orchestrator's, seconds since 1970."""

    deployment: int
    poll_s: float
    time: float
    asks: tuple[Ask, ...] = ()


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /fleet/v1/asks/{id}`. body: JSON of `doctor`, lines of the log, or a bundle (base64 of its archive)."""

    kind: Literal["doctor", "logs", "bundle"]
    body: Any
    problem: Text = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /fleet/v1/reports`, what was collected while nobody heard. metrics: names of Prometheus to values.
    dropped: reports that were thrown away since the last one, by bound (`bytes`, `age`).
    """

    time: float
    metrics: dict[str, float]
    states: tuple[CheckIn, ...] = ()
    dropped: dict[str, int] = {}
