"""What a compiled model takes on this machine: time of a call, memory, size. In a worker, or behind a build."""

import math
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import littoral
from littoral.artifact import Model
from littoral.artifact.manifest import PAGE_BYTES, Port
from littoral.clock import SYSTEM
from littoral.making.orders import SOURCE
from littoral.making.worker import Tell
from littoral.quality.compare import Feed
from littoral.runtime.instance import Session
from littoral.tensors import DTYPES, Array

__all__ = ["measured", "noise", "timed", "work"]

CALLS, WORKED_S = 20, 4.0
"""Of each model, or as many as there is time for."""
SEED = 7


def work(folder: Path, tell: Tell) -> dict[str, Any]:
    """`figures` of a compiled model that was brought. Raises what `Model` and the runtime raise."""
    return {"figures": measured(Model((folder / SOURCE).read_bytes()), tell)}


def measured(model: Model, tell: Tell) -> dict[str, float]:
    """By name with its unit, of the first variant on noise: the median of some calls, and the slowest of twenty."""
    manifest = model.manifest
    feed = noise(manifest.variants[0].inputs)
    with ExitStack() as stack:
        session = stack.enter_context(littoral.load(model))
        session.run(feed)
        (times_ms,) = timed([session], [feed], tell, "measure")
        memory_bytes = session.memory_bytes
    at_p95 = sorted(times_ms)[math.ceil(0.95 * len(times_ms)) - 1]
    return {
        "p50_ms": round(statistics.median(times_ms), 4),
        "p95_ms": round(at_p95, 4),
        "calls": float(len(times_ms)),
        "memory_bytes": float(max(memory_bytes, manifest.memory.pages * PAGE_BYTES)),
        "weights_bytes": float(manifest.memory.weights[1]),
        "file_bytes": float(len(model.wasm)),
        "macs": float(sum(layer.macs for layer in manifest.layers)),
    }


def noise(ports: Sequence[Port]) -> Feed:
    """Of the same seed every time; whole numbers and truth values are 1."""
    rng = np.random.default_rng(SEED)
    feed: dict[str, Array] = {}
    for port in ports:
        storage = np.dtype(DTYPES[port.dtype].storage)
        numbers = rng.standard_normal(port.shape) if storage.kind == "f" else np.ones(port.shape)
        feed[port.name] = numbers.astype(storage)
    return feed


def timed(sessions: Sequence[Session], fits: Sequence[Feed], tell: Tell, stage: str) -> list[list[float]]:
    """In turn, so that a change of the machine's speed meets all."""
    times_ms: list[list[float]] = [[] for _ in sessions]
    end = SYSTEM.monotonic() + WORKED_S
    for call in range(CALLS):
        for session, fit, times in zip(sessions, fits, times_ms, strict=True):
            began = SYSTEM.monotonic()
            session.run(fit)
            times.append((SYSTEM.monotonic() - began) * 1000)
        tell(stage, call + 1, CALLS)
        if SYSTEM.monotonic() > end:
            break
    return times_ms
