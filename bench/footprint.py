"""What a node takes: memory of all its processes (PSS), time from `littoral up`, or a kill -9, until it is ready.

Bare, and with one int8 model (MobileNetV2-224), the agent that decodes pictures and 100 000 points of 128 dimensions,
after it was started again and has answered requests of each kind. The peer is one process that has the same model in
ONNX Runtime and the same points in Qdrant Edge, and no server, sandbox or decoder.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

import littoral
from bench.convolutional import mobilenet_v2
from bench.mqtt_soak import free_port
from bench.onnxruntime_int8 import static_int8
from bench.overload import picture
from bench.processes import pss_bytes_by_process, tree_of
from bench.rows import Row, row
from bench.search import COUNT, fill, sampled
from littoral.node.beside import RunningNode, running_node
from littoral.vectors.store_folder import current_store

__all__ = ["run"]

STARTS = 5
KILLS = 5
KILLED = {"littoral.node.process": "node", "/collections/bench/": "shard host"}
BACK_S_MAX = 2.0
REQUESTS = 50
BARE_MB_MAX, FULL_MB_MAX = 120.0, 280.0
READY_S_MAX = 1.0
MB = 1e6
PEER = "ONNX Runtime and Qdrant Edge in one process"
BARE = """
[node]
listen = "127.0.0.1:0"
"""
FULL = f"""{BARE}
[agents.decode]
path = "builtin:image"

[models.classifier]
path = "classifier.wasm"

[pipelines.classify]
steps = [{{ agent = "decode" }}, {{ model = "classifier" }}, {{ step = "top_k" }}]
"""
IN_ONE_PROCESS = """
import sys
import numpy as np
import onnxruntime
import qdrant_edge as edge
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
shard = edge.EdgeShard.load(sys.argv[2])
rng = np.random.default_rng(1)
given = session.get_inputs()[0]
for _ in range(int(sys.argv[3])):
    session.run(None, {given.name: rng.standard_normal(given.shape).astype(np.float32)})
    query = edge.Query.Nearest(rng.standard_normal(128).astype(np.float32))
    shard.query(edge.QueryRequest(limit=10, query=query))
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")))
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        return [*bare(folder / "bare"), *full(folder / "full")]


def bare(folder: Path) -> list[Row]:
    site = site_in(folder, BARE)
    with running_node(site) as node:
        ask_often(node, "GET", "/healthz", None)
        memory = pss_bytes_by_process(node.pid)
    return [*memory_rows("bare", memory, BARE_MB_MAX), *ready_rows("bare", site)]


def full(folder: Path) -> list[Row]:
    site = site_in(folder, FULL)
    source = mobilenet_v2()
    rng = np.random.default_rng(1)
    feeds = [{"pixels": rng.standard_normal((1, 3, 224, 224)).astype(np.float32)} for _ in range(8)]
    littoral.compile(source, int8=feeds, name="classifier").save(folder / "classifier.wasm")
    (folder / "peer.onnx").write_bytes(static_int8(source, feeds))
    with running_node(site) as node:
        fill(node, sampled(COUNT, 1))
    with running_node(site) as node:
        use(node)
        memory = pss_bytes_by_process(node.pid)
        again = [one for part in KILLED for one in back_rows(node, part)]
    peer = in_one_process(folder)
    return [
        *memory_rows("one int8 model, 100k × 128", memory, FULL_MB_MAX, peer),
        *ready_rows("one int8 model, 100k × 128", site),
        *again,
        row("one int8 model, 100k × 128: start to the first search's answer", searched_s(site), "s"),
    ]


def back_rows(node: RunningNode, part: str) -> list[Row]:
    """part: of the command line of the process that is killed."""
    times = [back_s(node, part) for _ in range(KILLS)]
    return [
        row(f"{KILLED[part]} killed, until the node is ready, slowest of {KILLS}", max(times), "s", limit=BACK_S_MAX)
    ]


def back_s(node: RunningNode, part: str) -> float:
    (pid,) = (pid for pid in tree_of(node.pid) if part in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(pid, signal.SIGKILL)
    began = time.perf_counter()
    url = f"http://{node.address}/readyz"
    while pid in tree_of(node.pid):
        time.sleep(0.001)
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=BACK_S_MAX):
            return time.perf_counter() - began
        time.sleep(0.005)


def site_in(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "site.toml").write_text(text.replace(":0", f":{free_port()}"))
    return folder / "site.toml"


def use(node: RunningNode) -> None:
    """Requests of each kind, so that what is needed for them is there."""
    for vector in sampled(REQUESTS, 2):
        body = {"query": vector.tolist(), "limit": 10}
        ask_often(node, "POST", "/collections/bench/points/query", json.dumps(body).encode(), times=1)
    ask_often(node, "POST", "/pipelines/classify", picture())


def ask_often(node: RunningNode, method: str, path: str, body: bytes | None, *, times: int = REQUESTS) -> None:
    client = node.client()
    for _ in range(times):
        client.call(method, path, body, media_type="application/json" if path.startswith("/coll") else "image/jpeg")
    client.close()


def memory_rows(key: str, by_process: dict[str, int], limit_mb: float, peer: int | None = None) -> list[Row]:
    total = sum(by_process.values()) / MB
    beside = {} if peer is None else {"peer": PEER, "peer_value": peer / MB}
    return [
        row(f"{key}: memory of all processes (PSS)", total, "MB", limit=limit_mb, **beside),
        *(row(f"{key}: {name}", size / MB, "MB") for name, size in by_process.items()),
    ]


def ready_rows(key: str, site: Path) -> list[Row]:
    """From the start of `littoral up` until it says that it serves."""
    times = [ready_s(site) for _ in range(STARTS)]
    return [
        row(f"{key}: start to ready, p50", statistics.median(times), "s", limit=READY_S_MAX),
        row(f"{key}: start to ready, slowest of {STARTS}", max(times), "s"),
    ]


def ready_s(site: Path) -> float:
    began = time.perf_counter()
    with running_node(site):
        return time.perf_counter() - began


def searched_s(site: Path) -> float:
    body = json.dumps({"query": sampled(1, 3)[0].tolist(), "limit": 10}).encode()
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with running_node(site) as node:
            ask_often(node, "POST", "/collections/bench/points/query", body, times=1)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def in_one_process(folder: Path) -> int:
    """PSS of the peer, which opens the very shard that the node had."""
    (shard,) = (folder / "data" / "collections" / "bench").glob("shard-*")
    store = current_store(shard)
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, str(folder / "peer.onnx"), str(store), str(REQUESTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
