"""Two real nodes over QUIC with mutual TLS: a model runs on the other one, and requests go on when that one fails."""

import contextlib
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from command import littoral as cli
from littoral.node.beside import RunningNode, running_node
from needs import need
from page_pictures import page_pictures
from processes import children_of
from site_folder import site_folder
from upped import asked_all_along
from waiting import until

pytestmark = pytest.mark.e2e

NAMES = ("a", "b")
DEADLINE_MS = 30_000
MORE = """
[placement]
tries = 0.0
[models.embedder]
path = "embedder.wasm"
instances = { min = 1, max = 2 }
[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32 }
instances = { min = 1, max = 2 }
deadline_ms = 5000
[pipelines.here]
steps = [{ agent = "decode" }, { model = "embedder" }, { step = "normalize" }]
[pipelines.there]
steps = [{ agent = "decode" }, { model = "embedder", place = "node:b" }, { step = "normalize" }]
[pipelines.both]
steps = [{ agent = "decode", place = "node:b" }, { model = "embedder", place = "node:b" }, { step = "normalize" }]
"""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, RunningNode]]:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    files = write_mesh_sites(tmp_path, NAMES, spread="shards = 1, replicas = 1")
    with contextlib.ExitStack() as opened:
        running = {}
        for name, file in files.items():
            text = file.read_text()
            site_folder(file.parent, text + MORE)
            running[name] = opened.enter_context(running_node(file))
        yield running


SMALL = """
[agents.small]
path = "builtin:image"
config = { width = 8, height = 8 }
[pipelines.thumbs]
steps = [{ agent = "small", place = "node:b" }]
"""


def test_agents_and_steps_come_change_and_go_while_they_run_elsewhere(
    nodes: dict[str, RunningNode], tmp_path: Path
) -> None:
    a, picture = nodes["a"], page_pictures()[0].data
    until(lambda: where(a, "both") == ["b", "b"])
    processes = node_processes(nodes)
    files = {name: tmp_path / name / "site.toml" for name in NAMES}
    texts = {name: file.read_text() for name, file in files.items()}

    def apply(before: str, after: str) -> None:
        for name, file in files.items():
            new = file.with_name("new.toml")
            new.write_text(texts[name].replace(before, after) + SMALL)
            done = cli("config", "apply", file, new)
            assert (done.code, "restart" in done.out) == (0, False), done.err

    def asked() -> tuple[str, int]:
        how = run(a, "both", picture)[1]
        return how["placement"][-1]["node"], len(how["stages"])

    with asked_all_along(asked) as seen:
        until(lambda: len(seen) > 5)
        apply("", "")
        until(lambda: where(a, "thumbs") == ["b"])
        steps = '{ model = "embedder", place = "node:b" }, { step = "normalize" }]'
        apply(steps, steps.replace(', { step = "normalize" }', ""))
        until(lambda: seen[-1][1] == seen[0][1] - 1 and where(a, "both") == ["b", "b"])
    assert node_processes(nodes) == processes


def node_processes(nodes: dict[str, RunningNode]) -> dict[str, list[int]]:
    """Below each supervisor. Hosts of shards come when the shard map says so, compilers come and go."""
    found = {
        name: [pid for pid, line in children_of(node.pid).items() if "littoral.node.process" in line]
        for name, node in nodes.items()
    }
    assert all(len(pids) == 1 for pids in found.values()), found
    return found


def run(node: RunningNode, pipeline: str, picture: bytes) -> tuple[Any, dict[str, Any], float]:
    """Result, `how`, and seconds."""
    headers = {"littoral-deadline-ms": str(DEADLINE_MS), "cache-control": "no-store"}
    request = urllib.request.Request(f"{node.url}/pipelines/{pipeline}", picture, headers, method="POST")
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    return told["result"], told["how"], time.perf_counter() - began


def where(node: RunningNode, pipeline: str = "there") -> list[str]:
    """Who does the steps that may move."""
    _, how, _ = run(node, pipeline, page_pictures()[0].data)
    return [one["node"] for one in how["placement"]]


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def check_told(node: RunningNode) -> None:
    """What the scheduler sees, and what it has counted."""

    def rows() -> dict[str, bool]:
        told = client.call("GET", "/api/placement")
        return {row["node"]: row["has_it"] for step in told["steps"] for row in step["nodes"]}

    with contextlib.closing(node.client()) as client:
        until(lambda: rows() == {"a": True, "b": True})
    with urllib.request.urlopen(f"{node.url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    assert any(line.startswith('littoral_placed_steps_total{node="b"}') for line in lines)


def test_the_same_bits_wherever_and_no_request_is_lost_with_a_node(nodes: dict[str, RunningNode]) -> None:
    a, b = nodes["a"], nodes["b"]
    until(lambda: where(a, "both") == ["b", "b"])
    wanted = {}
    for index, shown in enumerate(page_pictures()[:6]):
        wanted[index], how, _ = run(a, "here", shown.data)
        assert "placement" not in how
        for pipeline in ("there", "both"):
            assert run(a, pipeline, shown.data)[0] == wanted[index]

    check_told(a)

    stop = threading.Event()
    slowest_s, errors, count = 0.0, [], 0

    def ask(index: int) -> None:
        nonlocal slowest_s, count
        while not stop.is_set():
            try:
                result, _, took_s = run(a, "there", page_pictures()[index].data)
                if result != wanted[index]:
                    errors.append("other bits")
                slowest_s = max(slowest_s, took_s)
            except OSError as error:
                errors.append(str(error))
            count += 1

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(2)]
    for thread in asking:
        thread.start()
    try:
        pids = [b.pid, *children_of(b.pid)]
        until(lambda: count > 10)
        send(pids, signal.SIGSTOP)
        until(lambda: where(a) == ["a"])
        send(pids, signal.SIGCONT)
        until(lambda: where(a) == ["b"])
        send(pids, signal.SIGKILL)
        until(lambda: where(a) == ["a"])
        before = count
        until(lambda: count > before + 10)
    finally:
        stop.set()
        for thread in asking:
            thread.join()
    assert errors == []
    assert slowest_s < DEADLINE_MS / 1000
