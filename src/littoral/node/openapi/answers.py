"""What the routes of a node answer with, as shapes; those of Qdrant's API are in `qdrant_operations`."""

from typing import Any

from littoral.making.shapes import BUILD
from littoral.node.access.roles import Role
from littoral.node.federation.moving.wishes import Plan
from littoral.node.mesh_told import MeshTold
from littoral.node.shown.mqtt import MqttTold
from littoral.telemetry.findings import Status
from littoral.telemetry.log_lines import Line
from littoral.tensors import TensorSpec
from littoral.web.access.session_api import session_shape
from littoral.web.openapi import Either, Map, Shape

__all__ = [
    "AGENT",
    "AUDIT",
    "AUDIT_CONSISTENCY",
    "AUDIT_ENTRIES",
    "AUDIT_PROOF",
    "AUDIT_VERIFIED",
    "BUILDS",
    "CACHES",
    "CLEARED",
    "COLLECTION",
    "COMPARED",
    "CONFIG",
    "DOCTOR",
    "EMBEDDINGS",
    "INDEX",
    "INFERRED",
    "LABELLED",
    "LIVE",
    "LOGS",
    "MAP",
    "MESH",
    "METADATA",
    "MIGRATED",
    "MODEL",
    "MODEL_DETAILS",
    "MQTT",
    "NAMED",
    "NODE",
    "OPENAI_MODEL",
    "OPENAI_MODELS",
    "PIPELINE",
    "PLACEMENT",
    "PLAN",
    "READY",
    "RECALL",
    "RUN",
    "SAID",
    "SERVER",
    "SESSION",
    "STATISTICS",
    "TAKEN",
    "TENANT",
    "VERSIONS",
]

Id = int | str
Count = int | None
Real = float | None
Text = str | None
Specs = list[TensorSpec]
Ports = list[TensorSpec] | str
Names = list[str]
Variants = list[dict[str, int]]
Object = dict[str, Any]

QUARANTINE: Shape = Either({"reason": str, "failures": int, "retry_s": float}, None)
INSTANCES: Shape = {"min": int, "max": int, "busy": int}
QUANTILES: Shape = {"p50_ms": Real, "p95_ms": Real}

SESSION: Shape = session_shape(Role)
NODE: Shape = {"name": str, "version": str, "started_at": float, "uptime_s": float, "ready": bool, "listen": str}
STEP: Shape = {
    "name": str,
    "kind": str,
    "uses": str,
    "takes": str,
    "gives": str,
    "sources": Names,
    "digest": str,
}
PIPELINE: Shape = {
    "name": str,
    "takes": str,
    "gives": str,
    "steps": [STEP],
    "requests": int,
    "failures": int,
    "refused": int,
    **QUANTILES,
    "stages": Map(QUANTILES),
}
MODEL: dict[str, Shape] = {
    "name": str,
    "version": str,
    "sha256": str,
    "engine": str,
    "inputs": Specs,
    "outputs": Specs,
    "memory_bytes": int,
    "weights_bytes": int,
    "code_bytes": int,
    "file_bytes": int,
    "layer_count": int,
    "macs": int,
    "instances": INSTANCES,
    "runs": int,
    "number": Count,
    "quarantine": QUARANTINE,
}
MODEL_DETAILS: Shape = MODEL | {
    "layers": [{"name": str, "kind": str, "macs": int, "bytes": int}],
    "labels": list[str] | None,
}
AGENT: Shape = {
    "name": str,
    "version": str,
    "input": Ports,
    "output": Ports,
    "memory_bytes": int,
    "memory_bytes_max": int,
    "instances": INSTANCES,
    "runs": int,
    "failures": int,
    "log_lines_dropped": int,
    "quarantine": QUARANTINE,
    "sha256": str,
    "path": Text,
    "grants": Names,
    "imports": Names,
    "deadline_ms": float,
    "ends": Map(int),
    "waiting": int,
    "refused": int,
    "run_mean_ms": Real,
    "worked_s": float,
}
COLLECTION: Shape = {
    "name": str,
    "is_spread?": bool,
    "vectors?": [{"name": str, "size": int, "distance": str, "is_multi": bool, "models": Names}],
    "migration?": Object | None,
    "size": Count,
    "distance": Text,
    "points_count": Count,
    "indexed_vectors_count": Count,
    "status": str,
    "epoch": Count,
}
ABOUT: Shape = {
    "name": str,
    "version": str,
    "sha256": str,
    "source_sha256": Text,
    "compiler": str,
    "target": str,
    "threads": int,
    "engine": str,
    "is_int8": bool,
    "inputs": Specs,
    "outputs": Specs,
    "variants": Variants,
    "memory_bytes": int,
    "weights_bytes": int,
    "code_bytes": int,
    "file_bytes": int,
    "layer_count": int,
    "macs": int,
    "kinds": Map(int),
    "runs": int,
    "failures": int,
    "run_mean_ms": Real,
}
VERSIONS: Shape = {
    "name": str,
    "signatures": Either({"keys": int, "threshold": int}, None),
    "before": Count,
    "versions": [
        {"number": int, "state": str, "reason": str, "is_serving": bool, "about": Either(ABOUT, None)},
    ],
}
BUILDS: Shape = {"builds": [BUILD], "through": Names}
TAKEN: Shape = {"model": str, "number": int, "is_kept": bool}
ADDED: Shape = {"model": str, "sha256": str}
OUTPUT: Shape = {
    "name": str,
    "dtype": str,
    "shape": list[int],
    "first": list[float],
    "largest": Count,
    "largest_value": Real,
}
COMPARED: Shape = {
    "input": str,
    "sides": [{"run_ms": float, "calls": int, "outputs": [OUTPUT]}],
    "agreement": list[dict[str, Any]] | None,
}
TENANT: Shape = {
    "name": str,
    "requests": {"taken": int, "per_s_max": float},
    "inferences": {"busy": int, "waiting": int, "max": int},
    "collections": {"count": int, "max": int},
    "points": {"count": int, "max": int},
    "disk": {"bytes": int, "bytes_max": int},
    "cache": {"bytes": int, "bytes_max": int},
    "refused": Map(int),
}
CACHES: Shape = {
    "caches": [
        {
            "name": str,
            "holds": str,
            "entries": int,
            "bytes": int,
            "bytes_max": int,
            "hits": int,
            "misses": int,
            "hit_share": Real,
            "evicted": int,
        }
    ],
    "disk_bytes_max": int,
    "fills": int,
    "fills_dropped": int,
}
CLEARED: Shape = {"cache": str, "entries": int, "bytes": int}
MQTT: Shape = Either({"broker": None, "routes": [Object]}, MqttTold)
DOCTOR: Shape = {
    "ok": bool,
    "at": float,
    "took_s": float,
    "findings": [{"check": str, "subject": str, "status": Status, "message": str, "hint": Text}],
}
LOGS: Shape = {"lines": [Line], "next": int, "lost": int}
RECALL: Shape = {
    "collection": str,
    "queries": int,
    "k": int,
    "recall": Real,
    "recall_min": Real,
    "worst": [{"id": Id, "recall": float}],
    "search_p50_ms": Real,
    "exact_p50_ms": Real,
}
MAP: Shape = {
    "collection": str,
    "using": str,
    "by": Text,
    "size": int,
    "explained": list[float],
    "points": [{"id": Id, "x": float, "y": float, "label": Text}],
}
MIGRATED: Shape = {
    "name": str,
    "models": Names,
    "vectors": Map(Names),
    "strict": bool,
    "migration": Object | None,
    "failure": str,
}
MESH: Shape = Either({"site": None}, MeshTold)
PLAN: Shape = Plan
PLACEMENT: Shape = Object
NAMED: Shape = {"status": str, "time": float, "result": Names}
HOW: Shape = {
    "node": str,
    "stages": Map(Real),
    "cache": Text,
    "search": Object | None,
    "placement?": [Object],
}
RUN: Shape = {"status": str, "time": float, "result": Any, "how": HOW}

AUDIT: Shape = {
    "audit": bool,
    "failure?": str,
    "size?": int,
    "waiting?": int,
    "dropped?": Map(int),
    "skipped?": Any,
    "pruned?": Any,
    "origin?": str,
    "root?": str,
    "key?": str,
    "witnessed_size?": int,
    "witnesses?": Names,
    "witnessed_at_s?": list[int],
}
AUDIT_ENTRIES: Shape = {"size": int, "entries": [{"index": int, "entry": Any}], "before?": Count}
AUDIT_VERIFIED: Shape = {
    "ok": bool,
    "size": int,
    "checked": int,
    "pruned": int,
    "root": str,
    "witnesses": [{"name": str, "size": int, "at_s": int}],
    "faults": [{"where": str, "what": str}],
    "fault_count": int,
}
UPDATES_TOLD: Shape = {
    "node": str,
    "orchestrator": str,
    "enrolled": bool,
    "deployment": int,
    "state": str,
    "since": float,
    "gate": str,
    "problem": str,
    "frozen": bool,
    "running": Object,
    "back": int | None,
    "figures": Object,
    "history": [{"deployment": int, "state": str, "at": float, "gate": str, "problem": str}],
    "heard_at": float,
    "reports": {"waiting": int, "bytes": int},
}
DASHBOARDS: Shape = {
    "dashboards": [
        {
            "name": str,
            "version": int,
            "target": str,
            "sha256": str,
            "bytes": int,
            "title": str,
            "uid": str,
            "panels": [{"title": str, "type": str, "expressions": Names}],
            "problem": str,
        }
    ]
}
UPDATES: Shape = {"updates": bool} | {f"{key}?": kind for key, kind in UPDATES_TOLD.items()}
AUDIT_PROOF: Shape = {"index": int, "size": int, "entry": Any, "proof": Names, "checkpoint": str}
AUDIT_CONSISTENCY: Shape = {"from": int, "to": int, "proof": Names, "checkpoint": str}

LIVE: Shape = {"live": bool}
READY: Shape = {"name?": str, "ready": bool}
SERVER: Shape = {"name": str, "version": str, "extensions": Names}
TENSOR: Shape = {"name": str, "datatype": str, "shape": list[int]}
METADATA: Shape = {"name": str, "versions": Names, "platform": str, "inputs": [TENSOR], "outputs": [TENSOR]}
CONFIGURED: Shape = {"name": str, "data_type": str, "dims": list[int]}
CONFIG: Shape = {
    "name": str,
    "platform": str,
    "backend": str,
    "max_batch_size": int,
    "input": [CONFIGURED],
    "output": [CONFIGURED],
    "default_model_filename": str,
    "parameters": Map({"string_value": str}),
    "version_policy?": {"specific": {"versions": list[int]}},
    "instance_group?": [{"name": str, "kind": str, "count": int}],
}
DURATION: Shape = {"count": int, "ns": int}
STATISTICS: Shape = {
    "model_stats": [
        {
            "name": str,
            "version": str,
            "last_inference": int,
            "inference_count": int,
            "execution_count": int,
            "inference_stats": Map(DURATION),
            "batch_stats": [Object],
        }
    ]
}
INFERRED: Shape = {
    "id?": str,
    "model_name": str,
    "model_version": str,
    "outputs": [
        {
            "name": str,
            "datatype": str,
            "shape": list[int],
            "data?": list[Any],
            "parameters?": Object,
        }
    ],
}
INDEX: Shape = [{"name": str, "version": str, "state": str, "reason": str}]
OPENAI_MODEL: Shape = {"id": str, "object": str, "created": int, "owned_by": str}
OPENAI_MODELS: Shape = {"object": str, "data": [OPENAI_MODEL]}
SAID: Shape = dict[str, Any]
"""By a service of language models, as it said it."""
LABELLED: Shape = {"id": str, "is_correct": bool}
EMBEDDINGS: Shape = {
    "object": str,
    "data": [{"object": str, "index": int, "embedding": list[float] | str}],
    "model": str,
    "usage": {"prompt_tokens": int, "total_tokens": int},
}
