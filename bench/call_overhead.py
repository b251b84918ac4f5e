"""What a call costs beside the guest's own work: small tensors, guests that do nothing."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable

import numpy as np

from bench.guests import echo_agent, model_of
from bench.rows import Row, row
from littoral import settings
from littoral.artifact.store import Store
from littoral.runtime.agents import Agent
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session, load
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.pool import Pool
from littoral.tensors import encode_frame

CALLS = 2000
ROUNDS = 5
LIMIT_US = 50.0
FEEDS = {"x": np.ones(4, np.float32)}
PIXELS = {"name": "x", "dtype": "float32", "shape": [4]}


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        wasm_here = {"LITTORAL_CACHE": f"{folder}/cache", "LITTORAL_STATE": f"{folder}/state"}
        with settings.override(**wasm_here):
            return _measure()


def _measure() -> list[Row]:
    wasm = model_of(4096)
    trusted = load(wasm)
    for entry in (Store().folder / "compiled").iterdir():
        entry.unlink()
    guarded = load(wasm)
    assert (trusted.engine, guarded.engine) == ("trusted", "guarded")
    frame = encode_frame(FEEDS)
    echo, tensors = Agent.open(echo_agent()), Agent.open(echo_agent([PIXELS]))
    rows = [
        row("session, trusted", _median_us(lambda: trusted.run(FEEDS)), "µs", limit=LIMIT_US),
        row("session, guarded", _median_us(lambda: guarded.run(FEEDS)), "µs", limit=LIMIT_US),
        row("agent, bytes", _median_us(lambda: echo.infer(frame)), "µs"),
        row("agent, tensors out", _median_us(lambda: tensors.infer(frame)), "µs"),
    ]
    return rows + asyncio.run(_measure_async(trusted, tensors, frame))


async def _measure_async(session: Session, agent: Agent, frame: bytes) -> list[Row]:
    with (
        GuestThreads(2) as threads,
        Pool(session, name="model", threads=threads) as models,
        Pool(agent, name="agent", threads=threads) as agents,
    ):
        pipeline = Pipeline("both", [AgentStep(agents), ModelStep(models)])
        return [
            row("pool", await _median_us_async(lambda: models.run(lambda one: one.run(FEEDS))), "µs"),
            row("pipeline, agent to model", await _median_us_async(lambda: pipeline.run(frame)), "µs"),
        ]


def _median_us(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            work()
        times.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(times)


async def _median_us_async(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS // 10):
            await work()
        times.append((time.perf_counter() - began) / (CALLS // 10) * 1e6)
    return statistics.median(times)
