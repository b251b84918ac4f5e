"""`littoral up` as real processes over HTTP: indexing while things are killed, its end, and that nobody lives on."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import command, environment
from littoral.clock import SYSTEM
from littoral.errors import LittoralError, UnavailableError
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient
from littoral.vectors import layout
from littoral.vectors.records import CollectionConfig, VectorParams
from ports import free_port
from processes import children_of, host_of
from site_folder import TEXT, site_folder
from supervised import watched
from waiting import until
from written_points import Written, batch, check

pytestmark = pytest.mark.e2e

HOST_KILLS = 20
SUPERVISOR_KILLS = 10
WRITERS = 3
BATCH = 20
SIZE = 16
NAME = "points"
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
POINTS = f'{TEXT}\n[collections.{NAME}]\nvectors = {{ size = {SIZE}, distance = "Euclid" }}\n'
AGAIN_S_MAX = 60.0
"""The promise is 2 s; this is for machines with other things to do."""

END_S = 60.0


def count(client: NodeClient) -> int:
    return int(client.collection("POST", NAME, "/points/count", {"exact": True})["count"])


class Writers:
    """Threads that index over HTTP and note what is acknowledged; a batch without an answer is sent again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wanted: Written = {}
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(seed,)) for seed in range(1, WRITERS + 1)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, points: int) -> None:
        enough = len(self.wanted) + points
        until(lambda: len(self.wanted) >= enough or bool(self.errors))
        assert not self.errors

    def _guarded(self, seed: int) -> None:
        try:
            self._write(random.Random(seed), seed * 1_000_000)
        except BaseException as error:
            self.errors.append(error)
            raise

    def _write(self, rng: random.Random, first: int) -> None:
        while not self._stop.is_set():
            ids = [first + i for i in range(BATCH)]
            first += BATCH
            vectors, payloads = batch(rng, ids, SIZE)
            points = [{"id": i, "vector": v, "payload": p} for i, v, p in zip(ids, vectors, payloads, strict=True)]
            wait = rng.choice(["true", "false"])
            if not self._send(f"/points?wait={wait}", points):
                return
            self.wanted.update(zip(ids, zip(vectors, payloads, strict=True), strict=True))

    def _send(self, path: str, points: list[dict[str, Any]]) -> bool:
        while not self._stop.is_set():
            with contextlib.closing(NodeClient(self.url)) as client:
                try:
                    client.collection("PUT", NAME, path, {"points": points})
                except (UnavailableError, LittoralError) as error:
                    if not isinstance(error, UnavailableError):
                        raise
                else:
                    return True
        return False


def test_a_shard_host_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(20)
    site = site_folder(tmp_path, POINTS)
    slowest_s = 0.0
    with running_node(site) as node:
        with Writers(node.url) as writers, contextlib.closing(node.client()) as client:
            for _ in range(HOST_KILLS):
                writers.wait_for_more(rng.randrange(1, 300))
                threading.Event().wait(rng.random() * 0.02)
                before = count(client)
                os.kill(host_of(node.pid, NAME), signal.SIGKILL)
                killed = time.perf_counter()
                assert count(client) >= before
                slowest_s = max(slowest_s, time.perf_counter() - killed)
        with watched([node.pid, *children_of(node.pid)]) as running:
            node.stop()
            assert running() == []
    print(f"slowest answer after a kill: {slowest_s:.2f} s")
    assert slowest_s < AGAIN_S_MAX
    assert len(writers.wanted) > 500
    check(tmp_path / "data" / layout.COLLECTIONS / NAME, CONFIG, writers.wanted, set())


def test_the_supervisor_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(10)
    site = site_folder(tmp_path, POINTS)
    slowest_s = 0.0
    node = RunningNode(site, None, SYSTEM)
    try:
        node.wait_ready()
        with Writers(node.url) as writers:
            for _ in range(SUPERVISOR_KILLS):
                writers.wait_for_more(rng.randrange(1, 300))
                threading.Event().wait(rng.random() * 0.02)
                with watched(list(children_of(node.pid))) as running:
                    node.kill()
                    until(lambda running=running: not running())
                started = time.perf_counter()
                node = RunningNode(site, None, SYSTEM)
                node.wait_ready()
                writers.url = node.url
                known = len(writers.wanted)
                with contextlib.closing(node.client()) as client:
                    assert count(client) >= known
                slowest_s = max(slowest_s, time.perf_counter() - started)
        with watched([node.pid, *children_of(node.pid)]) as running:
            node.stop()
            assert running() == []
    finally:
        node.kill()
    print(f"slowest answer after a start: {slowest_s:.2f} s")
    assert slowest_s < AGAIN_S_MAX
    check(tmp_path / "data" / layout.COLLECTIONS / NAME, CONFIG, writers.wanted, set())


def test_a_killed_node_is_started_again_and_its_hosts_stay(tmp_path: Path) -> None:
    with running_node(site_folder(tmp_path)) as node:
        host = host_of(node.pid, "frames")
        (pid,) = (pid for pid, line in children_of(node.pid).items() if "littoral.node.process" in line)
        os.kill(pid, signal.SIGKILL)
        node.wait_ready()
        with contextlib.closing(node.client()) as client:
            assert client.call("GET", "/readyz")
        assert host_of(node.pid, "frames") == host


def test_a_node_comes_back_at_its_address(tmp_path: Path) -> None:
    site = site_folder(tmp_path)
    first = RunningNode(site, f"127.0.0.1:{free_port()}", SYSTEM)
    try:
        first.wait_ready()
    finally:
        first.kill()
    with running_node(site, listen=first.address) as node:
        assert node.address == first.address
        with contextlib.closing(node.client()) as client:
            assert client.call("GET", "/healthz")


@contextlib.contextmanager
def up(site: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`littoral up` as a person starts it; gives its address."""
    process = subprocess.Popen(command("up", site), stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stderr is not None
    with process, process.stderr:
        try:
            told = next((line for line in process.stderr if "serves http://" in line), "")
            yield process, told.rpartition("http://")[2].strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(number: int, tmp_path: Path) -> None:
    with up(site_folder(tmp_path)) as (process, address):
        assert address
        with watched([process.pid, *children_of(process.pid)]) as running:
            process.send_signal(number)
            assert process.wait(END_S) == 0
            assert running() == []


BESIDE = """
import sys, time
from pathlib import Path
from littoral.node.beside import running_node
with running_node(Path(sys.argv[1])) as node:
    print(node.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_node_beside_a_process_ends_with_it(number: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", BESIDE, str(site_folder(tmp_path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    with process:
        pid = int(process.stdout.readline())
        with watched([pid, *children_of(pid)]) as running:
            process.send_signal(number)
            process.wait(END_S)
            until(lambda: not running())


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    site = site_folder(tmp_path, TEXT.replace("embedder.wasm", "other.wasm"))
    with (
        pytest.raises(UnavailableError, match=r"`models.embedder`: model `.*other.wasm`: there is no such file"),
        running_node(site),
    ):
        pass


def test_a_node_that_ends_unasked_is_told(tmp_path: Path) -> None:
    with running_node(site_folder(tmp_path)) as node:
        os.kill(node.pid, signal.SIGTERM)
        with pytest.raises(UnavailableError, match="node: ended although nobody asked it to: exit code 0"):
            node.wait()
