"""Five times as many requests as a node can answer: what it still answers, how fast, and how fast it refuses."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import littoral
from bench.convolutional import mobilenet_v2
from bench.load import http_request, under_load
from bench.rows import Row, row
from littoral.node.beside import running_node
from littoral.runtime.host.jpeg import encode_jpeg

__all__ = ["run"]

SITE = """
[node]
listen = "127.0.0.1:0"

[agents.decode]
path = "builtin:image"
instances = { min = 2, max = 2 }

[models.classifier]
path = "classifier.wasm"
instances = { min = 2, max = 2 }

[pipelines.classify]
steps = [{ agent = "decode" }, { model = "classifier" }, { step = "top_k" }]
"""
PATH = "/pipelines/classify"
ALONE_S, CAPACITY_S, OVERLOAD_S = 6.0, 8.0, 60.0
CAPACITY_CLIENTS = 4
CONNECTIONS = 256
TIMES = 5
LOST_MAX = 0.1
LATENCY_TIMES_MAX = 3.0
REFUSAL_MS_MAX = 5.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as folder:
        site = Path(folder) / "site.toml"
        site.write_text(SITE)
        littoral.compile(mobilenet_v2(), name="classifier").save(site.with_name("classifier.wasm"))
        with running_node(site) as node:
            requests = [http_request("POST", PATH, picture(), content_type="image/jpeg")]
            under_load(node.address, requests, seconds=1, clients=2)
            alone = under_load(node.address, requests, seconds=ALONE_S)
            full = under_load(node.address, requests, seconds=CAPACITY_S, clients=CAPACITY_CLIENTS)
            offered = full.per_second() * TIMES
            over = under_load(node.address, requests, seconds=OVERLOAD_S, clients=CONNECTIONS, rate=offered)
    refused = over.times_ms.get(503, [0.0])
    others = over.lost + sum(count for status, count in over.statuses.items() if status not in (200, 503))
    return [
        row("answered in a second, 4 clients", full.per_second(), "1/s"),
        row(f"offered: {TIMES} × that", offered, "1/s"),
        row("answered of it", over.per_second(), "1/s"),
        row("lost of what could be answered", 1 - over.per_second() / full.per_second(), "share", limit=LOST_MAX),
        row("alone, p99", p99(alone.times_ms[200]), "ms"),
        row("p99 of those answered", p99(over.times_ms[200]), "ms", limit=LATENCY_TIMES_MAX * p99(alone.times_ms[200])),
        row("p50 of those answered", statistics.median(over.times_ms[200]), "ms"),
        row("a refusal, p50", statistics.median(refused), "ms", limit=REFUSAL_MS_MAX),
        row("a refusal, p99", p99(refused), "ms"),
        row("neither answered nor refused", others, "requests", limit=0),
        row("sent later than due, p99: included above", p99(over.late_ms), "ms"),
    ]


def p99(times_ms: Sequence[float]) -> float:
    return float(np.quantile(times_ms, 0.99))


def picture() -> bytes:
    """A JPEG of 640 × 480."""
    y, x = np.mgrid[:480, :640]
    waves = [np.sin(x / (9 + i)) * 60 + np.cos(y / (7 + i)) * 60 + 128 for i in range(3)]
    return encode_jpeg(np.stack(waves, axis=2).astype(np.uint8))
