"""Metadata, configuration and statistics as the protocol's clients expect them: plain objects, for both transports."""

from importlib import metadata
from typing import Any

from littoral.node.model_statistics import ModelStatistics
from littoral.node.oip.targets import ModelTarget, Port, Target

__all__ = ["EXTENSIONS", "config", "model_metadata", "server_metadata", "statistics"]

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "sequence",
    "statistics",
]
MODEL_PLATFORM = "littoral_wasm"
PIPELINE_PLATFORM = "littoral_pipeline"
NS = 1_000_000_000


def server_metadata() -> dict[str, Any]:
    return {"name": "littoral", "version": metadata.version("littoral"), "extensions": EXTENSIONS}


def model_metadata(target: Target, versions: list[str]) -> dict[str, Any]:
    """versions: those that can be asked for."""
    return {
        "name": target.name,
        "versions": versions,
        "platform": _platform(target),
        "inputs": [_tensor(port) for port in target.inputs],
        "outputs": [_tensor(port) for port in target.outputs],
    }


def config(target: Target) -> dict[str, Any]:
    """Triton's model configuration, as far as there is something to say."""
    told: dict[str, Any] = {
        "name": target.name,
        "platform": _platform(target),
        "backend": "littoral",
        "max_batch_size": 0,
        "input": [_configured(port) for port in target.inputs],
        "output": [_configured(port) for port in target.outputs],
        "default_model_filename": "",
        "parameters": {},
    }
    if not isinstance(target, ModelTarget):
        return told
    model, session = target.version.model, target.version.pool.first
    facts = {"sha256": model.digest, "engine": session.engine, "target": model.manifest.target}
    group = {"name": target.name, "kind": "KIND_CPU", "count": target.served.instances.max}
    return told | {
        "default_model_filename": "model.wasm",
        "version_policy": {"specific": {"versions": sorted(target.served.versions)}},
        "instance_group": [group],
        "parameters": {name: {"string_value": value} for name, value in facts.items()},
    }


def statistics(target: Target, found: ModelStatistics) -> dict[str, Any]:
    """Of one version, since it was opened. Nanoseconds; `last_inference` is Unix time in milliseconds."""
    count, spent = found.success_count, found.spent
    return {
        "name": target.name,
        "version": target.number,
        "last_inference": round(found.last_at * 1000),
        "inference_count": count,
        "execution_count": count,
        "inference_stats": {
            "success": _duration(count, spent.total),
            "fail": _duration(found.fail_count, found.fail_s),
            "queue": _duration(count, spent.queue),
            "compute_input": _duration(count, spent.compute_input),
            "compute_infer": _duration(count, spent.compute_infer),
            "compute_output": _duration(count, spent.compute_output),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [],
    }


def _platform(target: Target) -> str:
    return MODEL_PLATFORM if isinstance(target, ModelTarget) else PIPELINE_PLATFORM


def _tensor(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}


def _configured(port: Port) -> dict[str, Any]:
    kind = "TYPE_STRING" if not port.dtype else f"TYPE_{port.datatype}"
    return {"name": port.name, "data_type": kind, "dims": list(port.shape)}


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * NS)}
