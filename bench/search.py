"""Searches over HTTP as Qdrant's clients send them: alone, by 16 clients, in batches, beside writes, beside `optimize`.

100 000 points of 128 dimensions with the low intrinsic dimension of embeddings (12) and 5 % noise; recall is told
against an exact search. The load comes from a process of its own (`bench.load`) on the same machine.
"""

import json
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from bench.load import Load, begin_load, http_request, under_load
from bench.rows import Row, row
from littoral.node.beside import RunningNode, running_node

__all__ = ["run"]

COUNT, SIZE, INNER = 100_000, 128, 12
QUERIES = 1000
BATCH = 64
SECONDS = 5.0
RECALL_MIN = 0.95
EFS = (16, 18, 20, 24, 32, 48, 64, 96, 128)
WRITES_PER_S = 500
WRITERS = 10
P50_MS_MAX = 0.6
QUERIES_PER_S_MIN = 4000
BATCHED_PER_S_MIN = 8000
SPREAD_MAX = 3.0
POINTS = "/collections/bench/points"
FRESH = "cache-control: no-store"
SITE = """
[node]
listen = "127.0.0.1:0"
"""

Array = np.ndarray[Any, np.dtype[np.float32]]


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site.toml").write_text(f'{SITE}data = "{folder}/data"\n')
        with running_node(folder / "site.toml") as node:
            return measured(node)


def measured(node: RunningNode) -> list[Row]:
    vectors, questions = sampled(COUNT, 1), sampled(QUERIES, 2)
    fill(node, vectors)
    ef, recall = breadth(node, questions)
    searches = [search_body(question, ef) for question in questions]
    requests = [http_request("POST", f"{POINTS}/query", body, FRESH) for body in searches]
    bodies = [b",".join(searches[at : at + BATCH]) for at in range(0, QUERIES - BATCH, BATCH)]
    batches = [http_request("POST", f"{POINTS}/query/batch", b'{"searches":[%b]}' % body, FRESH) for body in bodies]

    def loaded(what: list[bytes], clients: int) -> Load:
        return under_load(node.address, what, clients=clients, seconds=SECONDS)

    loaded(requests, 4)
    alone, many, batched = loaded(requests, 1), loaded(requests, 16), loaded(batches, 2)
    upserts = [upsert_request(vectors, at) for at in range(0, COUNT, 97)]
    with begin_load(node.address, upserts, clients=WRITERS, rate=WRITES_PER_S, seconds=SECONDS + 2) as writing:
        time.sleep(1.0)
        beside = loaded(requests, 1)
        written = writing.result()
    for found in (alone, many, batched, beside, written):
        if found.failed:
            raise SystemExit(f"bench: {found.failed} requests failed")
    batched_us = 1e6 / (batched.per_second() * BATCH)
    return [
        row("recall@10 that is missed", 1 - recall, f"share at ef {ef}", limit=1 - RECALL_MIN),
        row("one client, p50", alone.at_ms(0.5), "ms", limit=P50_MS_MAX),
        row("one client, p99", alone.at_ms(0.99), "ms"),
        row("16 clients, time of a search", 1e6 / many.per_second(), "µs", limit=1e6 / QUERIES_PER_S_MIN),
        row("16 clients, p99", many.at_ms(0.99), "ms"),
        row(f"batches of {BATCH}, time of a search", batched_us, "µs", limit=1e6 / BATCHED_PER_S_MIN),
        row("durable writes meanwhile", written.per_second(), "/s"),
        row("one client beside writes, p99", beside.at_ms(0.99), "ms", limit=SPREAD_MAX * alone.at_ms(0.99)),
        *beside_optimize(node, vectors, requests),
    ]


def beside_optimize(node: RunningNode, vectors: Array, requests: list[bytes]) -> list[Row]:
    """Writes half of the points anew, which brings about an optimize, and searches meanwhile."""
    before = under_load(node.address, requests, seconds=SECONDS)
    put(node, vectors[: COUNT // 2], 0)
    plain = under_load(node.address, requests, seconds=0.4)
    meanwhile, began = [], time.perf_counter()
    while status(node)["status"] != "green" or not meanwhile:
        meanwhile.append(under_load(node.address, requests, seconds=1.0))
    took = time.perf_counter() - began
    times_ms = sorted(one for found in meanwhile for one in found.times_ms[200])
    p99 = times_ms[int(len(times_ms) * 0.99)]
    return [
        row("one client before an optimize, p99", before.at_ms(0.99), "ms"),
        row("with half of the points unindexed, p99", plain.at_ms(0.99), "ms"),
        row("one client beside an optimize, p99", p99, "ms", limit=SPREAD_MAX * plain.at_ms(0.99)),
        row("that optimize", took, "s"),
    ]


def sampled(count: int, seed: int) -> Array:
    """float32[count, 128] of 12 inner dimensions, the same for every seed."""
    directions = np.random.default_rng(0).standard_normal((INNER, SIZE))
    random = np.random.default_rng(seed)
    found = random.standard_normal((count, INNER)) @ directions
    found += 0.05 * np.sqrt(INNER) * random.standard_normal((count, SIZE))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def fill(node: RunningNode, vectors: Array) -> None:
    ask(node, "PUT", "/collections/bench", {"vectors": {"size": SIZE, "distance": "Cosine"}})
    put(node, vectors, 0)
    while status(node)["status"] != "green" or status(node)["indexed_vectors_count"] < COUNT * 0.9:
        time.sleep(0.5)


def put(node: RunningNode, vectors: Array, first: int) -> None:
    for at in range(0, len(vectors), 1000):
        rows = vectors[at : at + 1000].tolist()
        columns = {"ids": list(range(first + at, first + at + len(rows))), "vectors": rows}
        ask(node, "PUT", f"{POINTS}?wait=false", {"batch": columns})


def status(node: RunningNode) -> dict[str, Any]:
    found: dict[str, Any] = ask(node, "GET", "/collections/bench", None)
    return found


def ask(node: RunningNode, method: str, path: str, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{node.url}{path}", data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]


def search_body(question: Array, ef: int) -> bytes:
    numbers = [round(float(number), 6) for number in question]
    return json.dumps({"query": numbers, "limit": 10, "params": {"hnsw_ef": ef}}, separators=(",", ":")).encode()


def upsert_request(vectors: Array, at: int) -> bytes:
    point = {"id": at, "vector": [round(float(number), 6) for number in vectors[at]]}
    return http_request("PUT", f"{POINTS}?wait=true", json.dumps({"points": [point]}).encode())


def breadth(node: RunningNode, questions: Array) -> tuple[int, float]:
    """The least ef with which recall@10 is 0.95, and that recall."""

    def found(params: dict[str, Any]) -> list[set[int]]:
        asked = [{"query": one.tolist(), "limit": 10, "params": params} for one in questions[:256]]
        answers = ask(node, "POST", f"{POINTS}/query/batch", {"searches": asked})
        return [{hit["id"] for hit in answer["points"]} for answer in answers]

    exact = found({"exact": True})
    recall = 0.0
    for ef in EFS:
        pairs = zip(exact, found({"hnsw_ef": ef}), strict=True)
        recall = float(np.mean([len(wanted & got) / 10 for wanted, got in pairs]))
        if recall >= RECALL_MIN:
            return ef, recall
    return EFS[-1], recall
