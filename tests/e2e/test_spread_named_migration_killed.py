"""Three real nodes embed one vector of several anew; one that holds shards is killed, then who writes the map."""

import contextlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.beside import RunningNode, running_node
from named_notes import asked, by, migrate, others, point, points, told
from needs import need
from raw_http import ask, request
from spread_named_notes import PIPELINES, named
from spread_notes import write_notes_folder
from spread_real_nodes import NAMES, is_whole, site_texts
from two_models import installation
from waiting import until

pytestmark = pytest.mark.e2e

COUNT = 60
RATE = 10.0
"""Points a second: the kill comes while some are handed over and some are not."""


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    with installation() as folder:
        for name in ("state", "cache"):
            monkeypatch.setenv(f"LITTORAL_{name.upper()}", str(folder / name))
        texts = site_texts(folder, named(RATE), PIPELINES)
        yield {name: write_notes_folder(folder / name, text) for name, text in texts.items()}


def until_title(nodes: Mapping[str, RunningNode], model: str, state: str) -> None:
    """Of every node."""

    def is_so() -> bool:
        found = [told(node.address) for node in nodes.values()]
        return all(
            one["vectors"]["title"][0].startswith(f"{model}:") and (one["migration"] or {}).get("state") == state
            for one in found
        )

    until(is_so)


def write_until_taken(node: RunningNode, method: str, path: str, body: Any) -> None:
    """While a node starts again, a write may be refused."""
    until(lambda: asked(node.address, method, path, body).status == 200)


def check(nodes: Mapping[str, RunningNode], wanted: Mapping[int, Any], model: str) -> None:
    """Every node answers with all points: titles by this model, the others as they were written."""
    for node in nodes.values():
        found = points(node.address)
        assert found.keys() == wanted.keys()
        for number, (vectors, payload) in found.items():
            expected, kept = wanted[number]
            assert payload == kept
            own, left = others(vectors, "title"), others(expected, "title")
            assert own.keys() == left.keys(), number
            for name in own.keys() - {"words"}:
                assert np.allclose(own[name], left[name], atol=1e-4), (number, name)
            assert ("title" in vectors) == ("title" in expected), number
        for number in (0, COUNT // 2, COUNT - 1, 500):
            title, version = by(node.address, "titles", found[number][1]["title"])
            assert version.startswith(f"{model}:")
            assert np.allclose(found[number][0]["title"], title, atol=1e-4)


def test_nodes_are_killed_while_one_vector_goes_to_another_model_and_back(sites: dict[str, Path]) -> None:
    with contextlib.ExitStack() as opened:
        nodes = {name: opened.enter_context(running_node(sites[name])) for name in NAMES}
        for node in nodes.values():
            until(lambda node=node: is_whole(node))
        body = {"points": [point(nodes["a"].address, number) for number in range(COUNT)]}
        write_until_taken(nodes["a"], "PUT", "", body)
        wanted = points(nodes["a"].address)
        assert migrate(nodes["c"].address, {"title": "encoder@2"}).status == 200
        until(lambda: (told(nodes["a"].address)["migration"] or {"done": 0})["done"] > COUNT // 10)
        nodes.pop("b").kill()
        fixed = [9.0, 8.0, 7.0]
        write_until_taken(nodes["a"], "PUT", "/vectors", {"points": [{"id": 10, "vector": {"fixed": fixed}}]})
        wanted[10][0]["fixed"] = fixed
        nodes["b"] = opened.enter_context(running_node(sites["b"]))
        fresh = point(nodes["c"].address, 500)
        write_until_taken(nodes["c"], "PUT", "", {"points": [fresh]})
        wanted[500] = (points(nodes["a"].address)[500][0], fresh["payload"])
        until_title(nodes, "encoder@2", "flipped")
        for node in nodes.values():
            until(lambda node=node: is_whole(node))
        check(nodes, wanted, "encoder@2")
        path = "/api/collections/notes/migration/back"
        assert ask(nodes["b"].address, request("POST", path, b"{}"), timeout_s=120).status == 200
        nodes.pop("a").kill()
        nodes["a"] = opened.enter_context(running_node(sites["a"]))
        until_title(nodes, "encoder@1", "flipped")
        for node in nodes.values():
            until(lambda node=node: is_whole(node))
        check(nodes, wanted, "encoder@1")
