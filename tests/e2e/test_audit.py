"""The audit log of real nodes: kill -9 under load loses nothing acknowledged; neighbours over QUIC find a fork."""

import hashlib
import itertools
import json
import random
import shutil
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from littoral.audit.disk import FolderDisk
from littoral.audit.entries import Entry, decode_entry
from littoral.audit.log import CHECKPOINT, LogFolder
from littoral.audit.verify import verify_log
from littoral.node.audit.epochs import LOG
from littoral.node.beside import RunningNode, running_node
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

KILLS = 3
WRITERS, SEARCHERS = 3, 2
SIZE = 4
POINTS = "/collections/parts/points"
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"
data = "data"

[collections.parts]
vectors = { size = 4, distance = "Dot" }

[audit]
commit_ms = 20
wait = true
"""


class Load:
    """Points and searches of which no two are alike, none sent twice. taken: what the node has acknowledged.

    sent: what it may have taken.
    """

    def __init__(self) -> None:
        self.address = ""
        self.numbers = itertools.count(1)
        self.stop = threading.Event()
        self.inserted: set[int] = set()
        self.sent_count: Counter[str] = Counter()
        self.searched: dict[str, int] = {}

    def write(self) -> None:
        for number in self._turns():
            if self._ask("PUT", f"{POINTS}?wait=true", {"points": [{"id": number, "vector": _vector(number)}]}):
                self.inserted.add(number)

    def search(self) -> None:
        for number in self._turns():
            digest = hashlib.sha256(np.array(_vector(number), "<f4").tobytes()).hexdigest()
            self.searched[digest] = number
            self._ask("POST", f"{POINTS}/query", {"query": _vector(number), "limit": 1})

    def _turns(self) -> Iterator[int]:
        while not self.stop.is_set():
            yield next(self.numbers)

    def _ask(self, method: str, path: str, body: object) -> bool:
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        asked = urllib.request.Request(
            f"http://{self.address}{path}", json.dumps(body).encode(), headers, method=method
        )
        self.sent_count[method] += 1
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return bool(json.load(answer)["status"] == "ok")
        except (OSError, ValueError):
            self.stop.wait(0.01)
            return False


def _vector(number: int) -> list[float]:
    return [float(number), float(number % 7), 1.0, -1.0]


def entries_of(folder: Path) -> list[Entry]:
    log = LogFolder.open(folder)
    return [decode_entry(log.entry(number), number) for number in range(log.size)]


def test_a_killed_node_has_logged_what_it_acknowledged_and_nothing_twice(tmp_path: Path) -> None:
    need(_has("cryptography"), "the extra `sign`")
    (tmp_path / "site.toml").write_text(SITE)
    log, load, rng = tmp_path / "data" / LOG, Load(), random.Random(31)
    seen: list[bytes] = []
    workers = [threading.Thread(target=work) for work in [load.write] * WRITERS + [load.search] * SEARCHERS]
    for turn in range(KILLS + 1):
        with running_node(tmp_path / "site.toml") as node:
            load.address = node.address
            if not turn:
                for worker in workers:
                    worker.start()
            enough = len(load.inserted) + rng.randrange(20, 120)
            until(lambda enough=enough: len(load.inserted) >= enough)
            if turn == KILLS:
                load.stop.set()
                for worker in workers:
                    worker.join()
                node.stop()
            else:
                threading.Event().wait(rng.random() * 0.03)
                node.kill()
        seen.append((log / CHECKPOINT).read_bytes())

    report = verify_log(FolderDisk(log), earlier=seen)
    assert (report.faults, report.is_right) == ([], True)
    told = entries_of(log)
    inserted = Counter(number for one in told if one.did == "insert" for number in one.detail["ids"])
    assert load.inserted - inserted.keys() == set()
    assert max(inserted.values()) == 1
    assert len(inserted) <= load.sent_count["PUT"]
    queries = Counter(one.digest for one in told if one.did == "query")
    assert queries.keys() - load.searched.keys() == set()
    assert max(queries.values()) == 1
    assert [one.did for one in told].count("opened") == KILLS + 1
    assert told[-1].did == "closed"


def _has(package: str) -> bool:
    return find_spec(package) is not None


POINT = {"points": [{"id": number, "vector": [float(number)] * 8} for number in range(64)]}


def asked(node: RunningNode, method: str, path: str, body: object) -> bool:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{node.url}{path}", json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:  # the mesh is not whole yet
        return False


def metric(node: RunningNode, line: str) -> float:
    with urllib.request.urlopen(f"{node.url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(f"{line} "))


def test_neighbours_over_quic_cosign_a_log_and_find_out_another_history(tmp_path: Path) -> None:
    """Whoever has taken node `a` has its key: he throws its log away, and signs another one."""
    need(_has("zenoh") and _has("cryptography"), "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    table = "[audit]\ncommit_ms = 20\nwitness_s = 0.2\n"
    files = write_mesh_sites(tmp_path, ("a", "b"), more=table)
    with running_node(files["b"]) as b:
        with running_node(files["a"]) as a:
            until(lambda: metric(a, "littoral_audit_cosigned_total") > 1)
            until(lambda: metric(b, "littoral_audit_cosigned_total") > 1)
            until(lambda: asked(a, "PUT", "/collections/points/points?wait=true", POINT))
            until(lambda: asked(a, "POST", "/collections/points/points/query", {"query": [1.0] * 8, "limit": 3}))
            a.stop()
        log = files["a"].parent / "data" / LOG
        report = verify_log(FolderDisk(log))
        assert (report.faults, [one.name for one in report.witnesses]) == ([], ["littoral/b/witness"])
        assert metric(b, 'littoral_audit_witness_refused_total{reason="fork"}') == 0
        shutil.rmtree(log)
        with running_node(files["a"]) as a:
            until(lambda: metric(a, 'littoral_audit_cosign_failures_total{reason="refused"}') > 0)
            until(lambda: metric(b, 'littoral_audit_witness_refused_total{reason="fork"}') > 0)
            assert metric(a, "littoral_audit_cosigned_total") == 0
            a.stop()
        assert not verify_log(FolderDisk(log)).witnesses
        b.stop()
    served = [one for one in entries_of(files["b"].parent / "data" / LOG) if one.did == "served"]
    assert {(one.who, one.on) for one in served} == {("mesh:a", "points")}
    assert {one.detail["asked"] for one in served} == {"read", "write"}
