"""What the routes of an orchestrator answer with, as shapes."""

from typing import Any, Literal

from littoral.making.shapes import BUILD
from littoral.orchestrator.rights import Role
from littoral.orchestrator.store.rows import (
    ArtifactState,
    Assigned,
    MemberState,
    Plan,
    ReportRow,
    RolloutState,
)
from littoral.updates.artifacts import Custom, Kind, Provenance
from littoral.updates.wire import Gates, State, Window
from littoral.web.access.session_api import session_shape
from littoral.web.openapi import Map, Shape

__all__ = [
    "ACT",
    "ARTIFACT",
    "ARTIFACT_DETAILS",
    "ASK",
    "CLAIM",
    "CLAIM_MADE",
    "DELETED",
    "EVENT",
    "FLEET",
    "GROUP",
    "INFERENCE",
    "NODE",
    "NODE_DETAILS",
    "PENDING",
    "ROLLOUT",
    "ROLLOUT_DETAILS",
    "SESSION",
    "SIGNING",
    "UPLOAD",
    "UPLOADS",
    "UPLOAD_FEEDS",
    "UPLOAD_GONE",
]

Text = str | None
Names = list[str]
Object = dict[str, Any]

SESSION: Shape = session_shape(Role)
DELETED: Shape = {"deleted": str}
TRAFFIC: Shape = {
    "bytes_per_s_max": int | None,
    "downloads": int,
    "sent_bytes": int,
    "bytes_per_s": float,
    "waited_s": float,
    "metadata_bytes": int,
}
FLEET: Shape = {
    "name": str,
    "nodes": int,
    "online": int,
    "states": Map(int),
    "drifting": int,
    "groups": int,
    "artifacts": Map(int),
    "rollouts": Map(int),
    "time": float,
    "traffic": TRAFFIC,
}
STEPS: dict[str, Shape] = {"busy": int, "steps": Map(int), "bytes": Map(int)}
CENTRE_NODE: Shape = STEPS | {
    "node": str,
    "url": str,
    "groups": Names,
    "answers": bool,
    "problem": str,
    "is_spent": bool,
    "offers": int,
}
INFERENCE: Shape = STEPS | {
    "takes": bool,
    "problem": str,
    "busy_max": int,
    "nodes": [CENTRE_NODE],
    "sites": [STEPS | {"node": str}],
}
EVENT: Shape = {"number": int, "at_s": float, "kind": str, "on": str, "detail": Object}
ACT: Shape = {
    "index": int,
    "at": float,
    "by": str,
    "act": str,
    "subject": str,
    "detail": Object,
    "digest": Text,
}
NODE: dict[str, Shape] = {
    "name": str,
    "labels": Map(str),
    "group": str,
    "online": bool,
    "seen": float | None,
    "enrolled": float,
    "deployment": int,
    "running_deployment": int,
    "state": State,
    "running": Map(str),
    "desired": Map(str),
    "drift": Names,
    "problem": str,
    "gate": str,
    "littoral": str,
    "facts": Object,
    "is_frozen": bool,
    "rollout": Text,
}
NODE_DETAILS: Shape = NODE | {"report": ReportRow | None, "untold": str}
ASK: Shape = {
    "id": str,
    "number": int,
    "node": str,
    "kind": str,
    "at_s": float,
    "by": str,
    "lines": int,
    "state": Literal["waiting", "answered"],
    "answered_at_s": float,
    "problem": str,
    "answer": Any,
}
GROUP: Shape = {
    "name": str,
    "match": Map(str),
    "models": Map(str),
    "agents": Map(str),
    "site": Text,
    "dashboards": Names,
    "gates": Gates,
    "windows": list[Window],
    "bytes_per_s_max": int | None,
    "total_bytes_per_s_max": int | None,
    "is_frozen": bool,
    "nodes": int,
}
CLAIM: dict[str, Shape] = {
    "id": str,
    "group": str,
    "labels": Map(str),
    "uses_left": int,
    "used": int,
    "expires": float,
    "at": float,
    "by": str,
}
CLAIM_MADE: Shape = CLAIM | {"code": str}
ARTIFACT: dict[str, Shape] = {
    "target": str,
    "kind": Kind,
    "name": str,
    "version": int,
    "length": int,
    "sha256": str,
    "state": ArtifactState,
    "signatures": Names,
    "wanted": int,
    "provenance": Provenance,
    "custom": Custom,
    "at": float,
    "by": str,
}
ARTIFACT_DETAILS: Shape = ARTIFACT | {
    "lineage": {"siblings": Names, "groups": Names, "rollouts": Names, "nodes": Names},
}
RING: Shape = {
    "name": str,
    "nodes": int,
    "done": int,
    "failed": int,
    "states": Map(int),
    "state": str,
    "held_by": str,
}
ROLLOUT: dict[str, Shape] = {
    "id": str,
    "state": RolloutState,
    "group": str,
    "nodes": Names,
    "set": Assigned,
    "ring": str,
    "rings": [RING],
    "began": float,
    "ended": float | None,
    "why": str,
    "by": str,
    "late": Names,
    "plan": Plan,
    "traffic": TRAFFIC,
}
MEMBER: Shape = {
    "node": str,
    "ring": int,
    "before": Assigned,
    "state": MemberState,
    "deployment": int,
    "told_at_s": float,
    "ended_at_s": float,
    "problem": str,
    "gate": str,
}
ROLLOUT_DETAILS: Shape = ROLLOUT | {"members": [MEMBER]}
PENDING: dict[str, Shape] = {
    "role": str,
    "version": int,
    "signed_by": Names,
    "may_sign": Names,
    "wanted": int,
    "missing": int,
    "dropped": int,
}
SIGNING: Shape = {"pending": [PENDING | {"draft": str}], "changes": Map(Text)}
UPLOAD: Shape = BUILD | {"artifact?": ARTIFACT}
UPLOADS: Shape = {"builds": [UPLOAD]}
UPLOAD_FEEDS: Shape = {"id": str, "feeds": int}
UPLOAD_GONE: Shape = {"id": str, "gone": bool}
