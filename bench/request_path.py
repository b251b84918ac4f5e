"""What one request costs above the HTTP server: the router, its handlers and the shard host, asked in this process.

One request after the other, each body another within its kind; the best of rounds. Where the time of one
kind goes: `python -m bench.request_path near`.
"""

import asyncio
import contextlib
import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop
from onnx import TensorProto, helper, numpy_helper

import littoral
from bench.oip import small_model
from bench.rows import Row, row
from littoral.node.http import application
from littoral.node.node import Node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.web import Answer, Request, Router

__all__ = ["run"]

POINTS, SIZE, INTRINSIC = 20_000, 128, 16
TOKENS, EMBEDDING = 5, 384
KINDS_OF_BODY = 100
ROUNDS, CALLS = 5, 400
STEP = 0.002
FILL_S = 60.0
WORDS = [f"word{i}" for i in range(200)]
BESIDE = ("search", "search in batches of 64", "inference, binary")
NO_STORE = {"cache-control": "no-store"}
SITE = f"""
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.small]
path = "small.wasm"

[models.mean]
path = "mean.wasm"

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}

[collections.points]
vectors = {{ size = {SIZE}, distance = "Euclid" }}

[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "mean" }}]

[cache]
near_mb = 64
"""

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Kind(NamedTuple):
    """Requests that are alike. cache: where each answer must say it comes from; None where answers do not say."""

    path: str
    bodies: Sequence[bytes]
    headers: Mapping[str, str] = {}
    cache: str | None = None
    method: str = "POST"
    calls: int = CALLS


class Took(NamedTuple):
    """here_s: processor time of this thread, where others work too."""

    seconds: float
    here_s: float


class _Held:
    """A body that is there already."""

    bytes_max = 1 << 24

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def chunks(self, pause_s: float) -> AsyncIterator[bytes]:
        raise NotImplementedError


def run() -> list[Row]:
    return uvloop.run(_measured())


async def _measured() -> list[Row]:
    rows = []
    async with _node() as (node, router):
        for name, kind in (await _kinds(node, router)).items():
            await _round(router, kind, 0)
            times = [await _round(router, kind, number) for number in range(1, ROUNDS + 1)]
            rows.append(row(name, min(took.seconds for took in times) / kind.calls * 1e6, "µs"))
            if name in BESIDE:
                own = min(took.here_s for took in times) / kind.calls * 1e6
                rows.append(row(f"{name}: of this, in the node's own thread", own, "µs"))
    return rows


async def _round(router: Router, kind: Kind, number: int) -> "Took":
    requests = [_request(kind, number * kind.calls + i) for i in range(kind.calls)]
    began, began_here = time.perf_counter(), time.thread_time()
    for request in requests:
        answer = await router(request)
    took = Took(time.perf_counter() - began, time.thread_time() - began_here)
    assert isinstance(answer, Answer)
    assert answer.status == 200, answer
    if kind.cache is not None:
        told = json.loads(dict(answer.headers)["littoral-how"])["cache"]
        assert told == kind.cache, f"{kind.path}: from cache {told}, expected {kind.cache}"
    return took


def _request(kind: Kind, index: int) -> Request:
    body = kind.bodies[index % len(kind.bodies)]
    headers = {"host": "bench", "content-type": "application/json", "content-length": str(len(body)), **kind.headers}
    return Request(kind.method, kind.path, "", headers, _Held(body))


@contextlib.asynccontextmanager
async def _node() -> AsyncIterator[tuple[Node, Router]]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        littoral.compile(small_model(), name="small").save(folder / "small.wasm")
        littoral.compile(_mean(), name="mean").save(folder / "mean.wasm")
        (folder / "tokenizer.json").write_text(_tokenizer())
        (folder / "site.toml").write_text(f"{SITE}\n".replace("[node]", f'[node]\ndata = "{folder}/data"', 1))
        site = read_site(folder / "site.toml")
        with embedded(site.data) as link:
            async with link, open_node(site, link) as node:
                node.is_ready = True
                yield node, application(node)


async def _kinds(node: Node, router: Router) -> dict[str, Kind]:
    queries = await _fill(node)
    search = "/collections/points/points/query"
    again = [_search(query) for query in queries]
    rng = np.random.default_rng(3)
    moves = STEP * rng.normal(size=(CALLS * (ROUNDS + 1), SIZE)) / np.sqrt(SIZE)
    near = [
        _search(query + np.linalg.norm(query) * move)
        for query, move in zip(np.resize(queries, moves.shape), moves, strict=True)
    ]
    for count, body in enumerate(again, 1):
        await router(_request(Kind(search, [body]), 0))
        await _filled(node, count)
    texts = [
        json.dumps(
            {"model": "sentences", "input": " ".join(rng.choice(WORDS, TOKENS)), "encoding_format": coding}
        ).encode()
        for coding in ("base64", "float")
        for _ in range(KINDS_OF_BODY)
    ]
    for body in texts:
        await router(_request(Kind("/v1/embeddings", [body]), 0))
    small = rng.normal(size=(1, 64)).astype("<f4").tobytes()
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": {"binary_data_size": len(small)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return {
        "nothing but the router": Kind("/v2/health/live", [b""], method="GET"),
        "search": Kind(search, again, NO_STORE),
        "search in batches of 64": Kind(
            f"{search}/batch",
            [b'{"searches":[' + b",".join(again[at : at + 64]) + b"]}" for at in range(KINDS_OF_BODY - 64)],
            NO_STORE,
            calls=CALLS // 20,
        ),
        "again": Kind(search, again, cache="exact"),
        "near": Kind(search, near),
        "cached text, base64": Kind("/v1/embeddings", texts[:KINDS_OF_BODY], cache="embedding"),
        "cached text, float": Kind("/v1/embeddings", texts[KINDS_OF_BODY:], cache="embedding"),
        "inference, binary": Kind(
            "/v2/models/small/infer", [head + small], {"inference-header-content-length": str(len(head))}
        ),
    }


async def _fill(node: Node) -> Floats:
    """Points of low intrinsic dimension with a graph, and queries beside some of them."""
    rng = np.random.default_rng(7)
    points = rng.normal(size=(POINTS, INTRINSIC)) @ rng.normal(size=(INTRINSIC, SIZE))
    points += 0.05 * rng.normal(size=points.shape)
    collection = node.collections.get("points")
    for start in range(0, POINTS, 1000):
        rows = range(start, start + 1000)
        payloads = [{"n": i} for i in rows]
        await collection.upsert(list(rows), points[start : start + 1000], payloads, acknowledge="applied")
    await collection.optimize()
    chosen: Floats = points[rng.choice(POINTS, KINDS_OF_BODY, replace=False)]
    return chosen + 0.1 * rng.normal(size=chosen.shape)


def _search(query: Floats) -> bytes:
    return json.dumps({"query": query.tolist(), "limit": 10, "with_payload": True, "params": {"hnsw_ef": 18}}).encode()


async def _filled(node: Node, count: int) -> None:
    async with asyncio.timeout(FILL_S):
        while node.caches.filler.filled_count < count:  # noqa: ASYNC110  no part of a node tells of its lists
            await asyncio.sleep(0.002)


def _mean() -> bytes:
    """The mean of the words' rows of a table, which is all that an embedding needs to be here."""
    table = np.random.default_rng(4).normal(size=(len(WORDS) + 4, EMBEDDING)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axes"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceMean", ["kept"], ["embedding"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, [1, TOKENS])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, EMBEDDING])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "axes")],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def _tokenizer() -> str:
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    return json.dumps({"version": "1.0", "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": model})


async def _profile(name: str) -> None:
    async with _node() as (node, router):
        kind = (await _kinds(node, router))[name]
        await _round(router, kind, 0)
        profile = cProfile.Profile()
        with profile:
            for number in range(1, ROUNDS + 1):
                await _round(router, kind, number)
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    uvloop.run(_profile(sys.argv[-1]))
