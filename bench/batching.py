"""Micro-batching: 16 clients at three models, each client with one request at a time, with batches and without."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

import littoral
from bench.graph_layers import Layers
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.runtime.batch_costs import measured
from littoral.runtime.batching import Batcher
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.pool import Pool
from littoral.tensors import Array

__all__ = ["run"]

CLIENTS = 16
SIZES = (1, 2, 4, 8, 16)
INSTANCES = 2
INSTANCES_EACH = {"instances_min": INSTANCES, "instances_max": INSTANCES}
WINDOW_MS = 2.0
ROUND_S = 0.6
ROUNDS = 5
TIME_MAX = 1 / 1.3
"""Share of the time without batches that the best of the models may take."""
WORSE_MAX = 1.05
ALONE_MAX = 1.1
DEADLINE_MS = 250.0

Run = Callable[[Mapping[str, Array]], Awaitable[dict[str, Array]]]


class Load(NamedTuple):
    ms_each: float
    p99_ms: float


def tower() -> bytes:
    """Three wide layers, as rankers and recommenders have: more weights than a cache holds."""
    net = Layers()
    x = net.input("x", -1, 512)
    for taken, given in ((512, 2048), (2048, 2048), (2048, 512)):
        x = net.node("Relu", net.dense(x, taken, given))
    return net.model("tower", x, -1, 512)


def encoder() -> bytes:
    """Two blocks of a small sentence encoder over 16 tokens."""
    net = Layers()
    x = net.input("x", -1, 16, 384)
    for _ in range(2):
        heads = [net.transpose(net.reshape(net.dense(x, 384, 384), 0, 16, 12, 32), 0, 2, 1, 3) for _ in range(3)]
        scores = net.node(
            "MatMul", net.node("Mul", heads[0], net.weight(32**-0.5)), net.transpose(heads[1], 0, 1, 3, 2)
        )
        seen = net.node("MatMul", net.node("Softmax", scores, axis=-1), heads[2])
        merged = net.reshape(net.transpose(seen, 0, 2, 1, 3), 0, 16, 384)
        x = net.norm(net.node("Add", x, net.dense(merged, 384, 384)), 384)
        x = net.norm(net.node("Add", x, net.dense(net.gelu(net.dense(x, 384, 1536)), 1536, 384)), 384)
    return net.model("encoder", x, -1, 16, 384)


def convolutions() -> bytes:
    """A small MobileNet for pictures of 64 × 64."""
    net = Layers()
    x = net.relu6(net.conv(net.input("x", -1, 3, 64, 64), 3, 16, 3, stride=2))
    taken = 16
    for given, stride in ((24, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)):
        x = net.relu6(net.conv(x, taken, 4 * taken, 1))
        x = net.relu6(net.conv(x, 4 * taken, 4 * taken, 3, stride=stride, groups=4 * taken))
        x, taken = net.conv(x, 4 * taken, given, 1), given
    pooled = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model("convolutions", net.classifier(pooled, taken, 100), -1, 100)


MODELS: dict[str, tuple[Callable[[], bytes], tuple[int, ...]]] = {
    "tower": (tower, (512,)),
    "encoder": (encoder, (16, 384)),
    "convolutions": (convolutions, (3, 64, 64)),
}


def run() -> list[Row]:
    rows: list[Row] = []
    shares = []
    for name in MODELS:
        found = of_model(name)
        plain, batched = (best_of(found[kind, CLIENTS]) for kind in ("plain", "batched"))
        alone = [best_of(found[kind, 1]) for kind in ("plain", "batched")]
        shares.append(batched.ms_each / plain.ms_each)
        rows += [
            against(f"{name}, {CLIENTS} clients: ms a request", batched.ms_each, plain.ms_each, WORSE_MAX),
            row(
                f"{name}, {CLIENTS} clients: p99",
                batched.p99_ms,
                "ms",
                limit=DEADLINE_MS,
                peer="without",
                peer_value=plain.p99_ms,
            ),
            against(f"{name}, 1 client: ms a request", alone[1].ms_each, alone[0].ms_each, ALONE_MAX),
        ]
    return [*rows, row("best of them: share of the time without", min(shares), "share", limit=TIME_MAX)]


def against(key: str, value: float, peer: float, share_max: float) -> Row:
    return row(key, value, "ms", limit=peer * share_max, peer="without", peer_value=peer)


def within(key: str, value: float, peer: float) -> Row:
    return row(key, value, "ms", limit=DEADLINE_MS, peer="without", peer_value=peer)


def best_of(loads: Sequence[Load]) -> Load:
    """The median round."""
    return Load(statistics.median(load.ms_each for load in loads), statistics.median(load.p99_ms for load in loads))


def of_model(name: str) -> dict[tuple[str, int], list[Load]]:
    """Rounds in turn, so that a change of the machine's speed meets both."""
    make, shape = MODELS[name]
    model = littoral.compile(make(), variants=[{"x": (size, *shape)} for size in SIZES], name=name)
    rng = np.random.default_rng(3)
    requests = [{"x": rng.standard_normal((1, *shape)).astype(np.float32)} for _ in range(2 * CLIENTS)]
    found: dict[tuple[str, int], list[Load]] = {}
    with (
        GuestThreads(INSTANCES) as threads,
        Pool(
            littoral.load(model), name=name, threads=threads, instances_min=INSTANCES, instances_max=INSTANCES
        ) as pool,
    ):
        costs = threads.submit(measured, pool.first, batch_max=SIZES[-1], say=print).result()

        async def plain(feeds: Mapping[str, Array]) -> dict[str, Array]:
            return await pool.run(lambda session: session.run(feeds))

        for _ in range(ROUNDS):
            batcher = Batcher(pool, costs, batch_max=SIZES[-1], window_ms=WINDOW_MS, servers_max=INSTANCES)
            for clients in (1, CLIENTS):
                for kind, answer in (("plain", plain), ("batched", batcher.run)):
                    found.setdefault((kind, clients), []).append(asyncio.run(loaded(answer, requests, clients)))
    return found


async def loaded(answer: Run, requests: Sequence[Mapping[str, Array]], clients: int) -> Load:
    times: list[float] = []
    until = SYSTEM.monotonic() + ROUND_S

    async def client(number: int) -> None:
        while (began := SYSTEM.monotonic()) < until:
            await answer(requests[number])
            times.append(SYSTEM.monotonic() - began)

    began = SYSTEM.monotonic()
    await asyncio.gather(*(client(number) for number in range(clients)))
    seconds = SYSTEM.monotonic() - began
    return Load(seconds / len(times) * 1000, float(np.quantile(times, 0.99)) * 1000)
