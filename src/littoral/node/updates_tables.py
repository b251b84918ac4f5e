"""The table `updates` of a site file, and paths that a deployment fills."""

import re
from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from littoral.node.site_problems import NAME_PATTERN, Place
from littoral.tables.addresses import is_own_address

__all__ = [
    "BEARER",
    "FOLDER",
    "PREFIX",
    "UpdatesTable",
    "WindowTable",
    "check_updates",
    "delivered_name",
    "delivered_path",
]

PREFIX = "fleet:"
FOLDER = "updates"
"""Below the data folder."""

BEARER = "bearer"
"""There: the token of the enrolled node alone, for what else asks the orchestrator, such as `audit.witnesses`."""

ENTRIES_MAX = 16
_Path = Annotated[str, Meta(min_length=1, max_length=4096)]
_Label = Annotated[str, Meta(max_length=200)]
_Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]


class WindowTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When installing may begin, UTC; over midnight where `to` is before `from`."""

    days: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=6)], ...],
        Meta(max_length=7, description="Of the week, 0 = Monday; default: all"),
    ] = (0, 1, 2, 3, 4, 5, 6)
    begins: Annotated[_Time, Meta(description="Such as `02:00`")] = msgspec.field(default="00:00", name="from")
    ends: Annotated[_Time, Meta(description="Such as `04:30`")] = msgspec.field(default="24:00", name="to")


class UpdatesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """With it, models and agents of a fleet arrive signed, are tried, and go back by themselves (extra `fleet`)."""

    trust: Annotated[_Path, Meta(description="File of `littoral fleet trust`: roots, and where the orchestrator is")]
    node: Annotated[
        Annotated[str, Meta(pattern=NAME_PATTERN)] | None,
        Meta(description="Name in the fleet; default: what enrolment gave, else the node's"),
    ] = None
    claim: Annotated[
        _Path | None,
        Meta(
            description="File with the claim code, or `env:NAME`, or `credential:NAME` of systemd; until it is enrolled"
        ),
    ] = None
    labels: Annotated[dict[str, _Label], Meta(max_length=32, description="Told when it enrols")] = {}
    poll_s: Annotated[float, Meta(ge=1, le=86_400, description="Between two check-ins, give or take a fifth")] = 60.0
    signal: Annotated[bool, Meta(description="Whether a long poll hears of deployments at once")] = True
    mqtt: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024)] | None,
        Meta(description="Topic whose messages make it check in at once, by the broker of `[mqtt]`"),
    ] = None
    peers: Annotated[
        list[Annotated[str, Meta(pattern=r"^https?://")]],
        Meta(max_length=ENTRIES_MAX, description="Nodes that are asked for files before the orchestrator"),
    ] = []
    serve_peers: Annotated[bool, Meta(description="Whether peers may fetch from this node, at `/fleet/v1/…`")] = False
    bytes_mb_max: Annotated[int, Meta(ge=1, le=1 << 24, description="Of all artifacts that are kept, in MiB")] = 4096
    mirror_share: Annotated[
        float, Meta(ge=0, le=1, description="Share of requests that a new version gets as well, beside callers")
    ] = 1.0
    windows: Annotated[
        list[WindowTable], Meta(max_length=ENTRIES_MAX, description="When installing may begin; default: always")
    ] = []
    hook: Annotated[
        Annotated[str, Meta(max_length=1024)] | None,
        Meta(description="Address on this machine that is asked before the flip and after the watch: 2xx = go on"),
    ] = None
    dashboards: Annotated[
        _Path | None, Meta(description="Folder of a Grafana's file provisioning; dashboards of the fleet are put there")
    ] = None
    reports_mb: Annotated[int, Meta(ge=1, le=1024, description="Reports that wait for the orchestrator, in MiB")] = 4
    reports_days: Annotated[float, Meta(gt=0, le=366, description="After which they are dropped")] = 30.0


class _HasPath(Protocol):
    @property
    def path(self) -> str: ...

    @property
    def sha256(self) -> str | None: ...


def delivered_name(path: str) -> str | None:
    """NAME of `fleet:NAME`; None for any other path."""
    return path.removeprefix(PREFIX) if path.startswith(PREFIX) else None


def delivered_path(path: str, kind: str) -> str | None:
    """Where a deployment's file lies below the data folder; None for any other path."""
    if (name := delivered_name(path)) is None:
        return None
    return f"{FOLDER}/{kind}/{name}" + ("" if kind == "models" else ".wasm")


def check_updates(
    table: UpdatesTable | None, models: Mapping[str, _HasPath], agents: Mapping[str, _HasPath], place: Place
) -> None:
    """Raises SettingError."""
    for kind, tables in (("models", models), ("agents", agents)):
        for name, one in tables.items():
            if (delivered := delivered_name(one.path)) is None:
                continue
            here = place / kind / name / "path"
            if table is None:
                raise here.about("names what a fleet brings", hint="the table `[updates]` says which fleet")
            if not re.fullmatch(NAME_PATTERN, delivered):
                raise here.wrong(one.path, "`fleet:NAME`")
            if one.sha256 is not None:
                raise (place / kind / name / "sha256").about("pins what a deployment changes")
    if table is not None and table.hook is not None and not is_own_address(table.hook):
        raise (place / "updates" / "hook").wrong(table.hook, "an address on this machine: `http://127.0.0.1:PORT/…`")
