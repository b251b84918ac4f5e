"""A node is killed while it embeds a collection anew, under load: no acknowledged write is lost, no answer mixed."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.beside import RunningNode, running_node
from raw_http import Reply, ask, request, send
from two_models import MIGRATE, add_version, embedded, find, installation, keep, note, write_notes_site
from waiting import until

pytestmark = pytest.mark.e2e

COUNT = 2000
PAGE = 256
NOT_NOW = (503, 504)
"""Of a node that starts, and of one that had no time within the deadline: asked again."""


class Load:
    """Writes and reads until the end; after a kill it goes on with the node that comes next."""

    def __init__(self) -> None:
        self.node: RunningNode | None = None
        self.written: dict[int, str] = {}
        self.wrong: list[str] = []
        self.found = 0
        self.ends = threading.Event()

    def write(self, start: int) -> None:
        """Each note is written until it is acknowledged."""
        number = start
        while not self.ends.is_set():
            text = f"{note(number)} written {number}"
            if (reply := self._asked(lambda node, n=number, t=text: keep(node.address, n, t))) is None:
                self.ends.wait(0.05)
            elif reply.status == 200:
                self.written[number] = text
                number += 1
            elif reply.status not in NOT_NOW:
                self.wrong.append(f"write {reply.status}: {reply.body!r}")

    def read(self) -> None:
        number = 0
        while not self.ends.is_set():
            number = (number + 1) % COUNT
            reply = self._asked(lambda node, n=number: find(node.address, note(n)))
            if reply is None or reply.status in NOT_NOW:
                self.ends.wait(0.05)
                continue
            hits = reply.json["result"] if reply.status == 200 else None
            if not hits or hits[0]["score"] < 0.999:
                self.wrong.append(f"read {reply.status}: {reply.body!r}")
            self.found += 1

    def _asked(self, work: Any) -> Reply | None:
        """None while nobody is there."""
        if (node := self.node) is None:
            return None
        with contextlib.suppress(OSError, EOFError, AssertionError, ValueError, IndexError):
            reply: Reply = work(node)
            return reply if reply.status else None  # 0: it was killed before it answered
        return None


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installation() as folder:
        for name in ("state", "cache"):
            monkeypatch.setenv(f"LITTORAL_{name.upper()}", str(folder / name))
        yield folder


def told(node: RunningNode) -> Any:
    return send(node.address, "GET", "/api/collections/notes").json["migration"]


def fill(node: RunningNode) -> None:
    """The first notes, through the pipeline, by several hands."""
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda number: keep(node.address, number).status, range(COUNT)))
    assert set(replies) == {200}


def points(node: RunningNode) -> dict[int, Any]:
    found: dict[int, Any] = {}
    offset: Any = None
    while True:
        body = {"limit": PAGE, "with_payload": True, "with_vector": True, "offset": offset}
        page = send(node.address, "POST", "/collections/notes/points/scroll", json.dumps(body).encode()).json["result"]
        found |= {point["id"]: point for point in page["points"]}
        if (offset := page["next_page_offset"]) is None:
            return found


def test_a_migration_goes_on_after_a_kill_and_loses_nothing(folder: Path) -> None:
    site = write_notes_site(folder, MIGRATE.replace("100000", "250"))
    load = Load()
    with ThreadPoolExecutor(3) as threads:
        running = []
        try:
            with running_node(site) as node:
                fill(node)
                add_version(folder, 2)
                load.node = node
                running = [threads.submit(load.write, 100_000), threads.submit(load.write, 200_000)]
                running.append(threads.submit(load.read))
                body = b'{"to": "encoder@2"}'
                begun = ask(node.address, request("POST", "/api/collections/notes/migration", body), timeout_s=60)
                assert begun.status == 200
                until(lambda: told(node)["embedded"] > COUNT // 8)
                assert told(node)["state"] != "flipped"
                load.node = None
                node.kill()
            with running_node(site) as node:
                load.node = node
                assert told(node)["state"] != "flipped"
                seen = load.found
                until_flipped(node)
                until(lambda: load.found > seen + 20)
                assert told(node)["embedded"] < COUNT + len(load.written)  # what the first life did is not done again
                load.ends.set()
                for one in running:
                    one.result(120)
                check(node, load)
        finally:
            load.ends.set()


def until_flipped(node: RunningNode) -> None:
    for _ in range(10):
        with contextlib.suppress(AssertionError):
            until(lambda: told(node)["state"] == "flipped")  # where no instance is free it is stuck, and tries again
            break
    assert told(node)["state"] == "flipped", told(node)


def check(node: RunningNode, load: Load) -> None:
    assert load.wrong == []
    kept = points(node)
    assert {number: kept[number]["payload"]["text"] for number in load.written} == load.written
    assert set(range(COUNT)) <= kept.keys()
    assert embedded(node.address, "a")[1].startswith("encoder@2:")
    for number in [*range(0, COUNT, 100), *list(load.written)[:: max(1, len(load.written) // 20)]]:
        vector = embedded(node.address, kept[number]["payload"]["text"])[0]
        assert np.allclose(kept[number]["vector"], vector, atol=1e-6)
