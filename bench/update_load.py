"""Deployments of a fleet that are fetched, tried on mirrored requests and flipped while requests come: failures, times,
and how soon a bad one is gone."""

import json
import socket
import statistics
import tempfile
import time
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import littoral
from bench.convolutional import mobilenet_v2
from bench.load import Load, begin_load, under_load
from bench.oip_client import infer_request
from bench.rows import Row, row
from littoral.artifact import Store, custom_section_bytes, digest
from littoral.node.beside import running_node
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Kind
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.store import FolderStore
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Desired, Gates

__all__ = ["run"]

UPDATES = 3
CLIENTS = 6
SHARE = 0.7
MEASURE_S = 3.0
BEFORE_S = 10.0
DURING_S_MAX = 600.0
LOOK_S = 0.2
P99_RATIO_MAX = 1.5
BACK_S_MAX = 10.0
GATES = Gates(canary_s=4.0, watch_s=4.0, p99_ratio_max=2.0)
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:PORT"

[models.m]
path = "fleet:m"
instances = { min = 2, max = 2 }

[updates]
trust = "fleet.json"
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        fleet = _Fleet(folder)
        (folder / "site.toml").write_text(SITE.replace("PORT", str(_free_port())))
        fleet.trust.write(folder / "fleet.json")
        good = littoral.compile(mobilenet_v2(), name="m").wasm
        bad = littoral.compile(_turned(mobilenet_v2()), name="m").wasm
        with running_node(folder / "site.toml") as node:
            request = infer_request("m", {"pixels": np.random.default_rng(1).normal(size=(1, 3, 224, 224))})
            told = _Told(node.address)
            told.take(fleet, _version(good, 0), "settled")
            rate = SHARE * under_load(node.address, [request], clients=CLIENTS, seconds=MEASURE_S).per_second()
            before = under_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=BEFORE_S)
            with begin_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=DURING_S_MAX) as asking:
                took_s = [told.take(fleet, _version(good, 1 + i), "settled") for i in range(UPDATES)]
                bad_s = told.take(fleet, bad, "refused", "rolled_back")
                during = asking.end()
            return _rows(before, during, took_s, bad_s, rate)


def _rows(before: Load, during: Load, took_s: list[float], bad_s: float, rate: float) -> list[Row]:
    p99 = before.at_ms(0.99)
    return [
        row("requests a second, 70 % of what the node can do", rate, "1/s"),
        row(f"failed, of the requests during {UPDATES} updates", before.failed + during.failed, "requests", limit=0),
        row("p50 alone", before.at_ms(0.5), "ms"),
        row("p50 during updates", during.at_ms(0.5), "ms"),
        row("p99 alone", p99, "ms"),
        row("p99 during updates", during.at_ms(0.99), "ms", limit=P99_RATIO_MAX * p99, peer="alone", peer_value=p99),
        row("one update, 4 s of mirrored requests and 4 s of watch in it, p50", statistics.median(took_s), "s"),
        row("a version with other outputs, until it was refused", bad_s, "s", limit=BACK_S_MAX),
    ]


def _version(wasm: bytes, number: int) -> bytes:
    """Another file of the same network, compiled here as far as the node can tell."""
    file = wasm + custom_section_bytes("version", bytes([number]))
    Store().record(digest(file))
    return file


class _Fleet:
    """Both repositories in a folder, as on a stick."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stick"
        self._store = FolderStore(self.folder)
        offline = new_offline_keys(folder / "keys")
        self._keys = offline.targets
        self._image, self._director, roots = begin(self._store, KeyRing(folder / "online"), offline)
        self.trust = TrustFile.of(*roots, "")
        self._count = 0

    def tell(self, wasm: bytes) -> int:
        self._count += 1
        name, sha = ArtifactName(Kind.MODEL, "m", self._count), sha256(wasm).hexdigest()
        self._store.write_all([(tree.target_file(name, sha), wasm)])
        self._image.add(name, len(wasm), sha)
        for key in self._keys[:2]:
            self._image.sign("targets", key)
        self._image.publish()
        desired = Desired(node="bench", deployment=self._count, models={"m": str(name)}, gates=GATES)
        self._director.tell("bench", desired, self._image.targets_for(desired))
        return self._count


class _Told:
    """What the node says of its deployments."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/api/updates"

    def take(self, fleet: _Fleet, wasm: bytes, *states: str) -> float:
        """Seconds until the deployment is in one of these states."""
        number = fleet.tell(wasm)
        began = time.perf_counter()
        self._ask("/from", json.dumps({"folder": str(fleet.folder)}).encode())
        while True:
            time.sleep(LOOK_S)
            told = self._ask("")
            if told["deployment"] == number and told["state"] in states:
                return time.perf_counter() - began
            assert told["deployment"] != number or told["state"] not in ("refused", "rolled_back"), told

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        while True:
            try:
                with urllib.request.urlopen(self._url + path, body, timeout=60) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            except OSError:  # the first deployment starts the node anew
                time.sleep(LOOK_S)


def _turned(data: bytes) -> bytes:
    """The same network, its weights in another order."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), tensor.name))
    return bytes(model.SerializeToString())


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
