"""Three real nodes embed a collection anew; one that holds shards is killed, then the one that writes the map."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.beside import RunningNode, running_node
from needs import need
from raw_http import Reply, ask, request, send
from spread_notes import write_notes_folder
from spread_real_nodes import NAMES, is_whole, site_texts
from two_models import embedded, find, installation, keep, note
from waiting import until

pytestmark = pytest.mark.e2e

COUNT = 120
SLOW = 'migrate = { source = "payload:text", pipeline = "sentences", points_per_s = 20 }'
TRIES = 4
NOT_NOW = (503, 504)
"""Of nodes that start, and of those that had no time within the deadline: asked again."""


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    with installation() as folder:
        for name in ("state", "cache"):
            monkeypatch.setenv(f"LITTORAL_{name.upper()}", str(folder / name))
        yield {name: write_notes_folder(folder / name, text) for name, text in site_texts(folder, SLOW).items()}


class Site:
    """The nodes that run, and who writes and reads on them meanwhile."""

    def __init__(self, sites: dict[str, Path], opened: contextlib.ExitStack) -> None:
        self._sites = sites
        self._opened = opened
        self.nodes: dict[str, RunningNode] = {}
        self.written: dict[int, str] = {}
        self.wrong: list[str] = []
        self.found = 0
        self.ends = threading.Event()

    def start(self, name: str) -> None:
        self.nodes[name] = self._opened.enter_context(running_node(self._sites[name]))

    def kill(self, name: str) -> None:
        self.nodes.pop(name).kill()

    def write(self, name: str, start: int) -> None:
        """Each note until it is acknowledged."""
        number = start
        while not self.ends.wait(0.05):
            text = f"{note(number)} written {number}"
            reply = self._asked(name, lambda node, n=number, t=text: keep(node.address, n, t))
            if reply is not None and reply.status == 200:
                self.written[number] = text
                number += 1
            elif reply is not None and reply.status not in NOT_NOW:
                self.wrong.append(f"write {reply.status}: {reply.body!r}")

    def read(self, name: str) -> None:
        """A note that is there finds itself; a vector of the other model would find nothing so near."""
        number = 0
        while not self.ends.wait(0.02):
            number = (number + 1) % COUNT
            reply = self._asked(name, lambda node, n=number: find(node.address, note(n)))
            if reply is None or reply.status in NOT_NOW:
                continue
            told = reply.json if reply.status == 200 else {}
            if told.get("how", {}).get("missing"):
                continue
            if not (hits := told.get("result")) or hits[0]["score"] < 0.999:
                self.wrong.append(f"read {reply.status}: {reply.body!r}")
            self.found += 1

    def _asked(self, name: str, work: Any) -> Reply | None:
        """None while nobody is there."""
        if (node := self.nodes.get(name)) is None:
            return None
        with contextlib.suppress(OSError, EOFError, AssertionError, ValueError, IndexError):
            reply: Reply = work(node)
            return reply if reply.status else None  # 0: it was killed before it answered
        return None

    def told(self, name: str) -> Any:
        return send(self.nodes[name].address, "GET", "/api/collections/notes").json

    def post(self, name: str, path: str, body: bytes = b"{}") -> None:
        reply = ask(self.nodes[name].address, request("POST", f"/api/collections/notes/{path}", body), timeout_s=120)
        assert reply.status == 200, reply.body

    def until(self, model: str, state: str) -> None:
        """On every node that runs."""

        def is_so() -> bool:
            found = [self.told(name) for name in self.nodes]
            return all(
                one["models"][0].startswith(f"{model}:") and (one["migration"] or {}).get("state") == state
                for one in found
            )

        for left in range(TRIES, 0, -1):
            with contextlib.suppress(AssertionError):
                until(is_so)
                return
            assert left > 1, [self.told(name) for name in self.nodes]


def points(node: RunningNode) -> dict[int, Any]:
    body = json.dumps({"limit": 10_000, "with_payload": True, "with_vector": True}).encode()
    page = send(node.address, "POST", "/collections/notes/points/scroll", body).json["result"]
    return {point["id"]: point for point in page["points"]}


def check(site: Site, model: str) -> None:
    for node in site.nodes.values():
        kept = points(node)
        texts = {number: kept[number]["payload"]["text"] for number in site.written}
        assert texts == site.written
        assert set(range(COUNT)) <= kept.keys()
        for number in [*range(0, COUNT, 40), *list(site.written)[:: max(1, len(site.written) // 5)]]:
            vector, told = embedded(node.address, kept[number]["payload"]["text"])
            assert told.startswith(f"{model}:")
            assert np.allclose(kept[number]["vector"], np.array(vector) / np.linalg.norm(vector), atol=1e-5)


def test_nodes_are_killed_while_a_collection_goes_to_another_model_and_back(sites: dict[str, Path]) -> None:
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(4) as threads:
        site = Site(sites, opened)
        try:
            for name in NAMES:
                site.start(name)
            for node in site.nodes.values():
                until(lambda node=node: is_whole(node))
            for number in range(COUNT):
                until(lambda number=number: keep(site.nodes["a"].address, number).status == 200)
            running = [threads.submit(site.write, name, 1000 * at) for at, name in enumerate("ac", 1)]
            running += [threads.submit(site.read, name) for name in "ac"]
            site.post("c", "migration", b'{"to": "encoder@2"}')
            until(lambda: (site.told("a")["migration"] or {"done": 0})["done"] > COUNT // 10)
            site.kill("b")
            site.start("b")
            site.until("encoder@2", "flipped")
            seen = site.found
            until(lambda: site.found > seen + 10)
            site.post("b", "migration/back")
            site.kill("a")
            site.start("a")
            site.until("encoder@1", "flipped")
            site.ends.set()
            for one in running:
                one.result(120)
            assert site.wrong == []
            assert len(site.written) > 0
            for node in site.nodes.values():
                until(lambda node=node: is_whole(node))
            check(site, "encoder@1")
        finally:
            site.ends.set()
