"""A node is killed while one vector of several is embedded anew: nothing that was acknowledged is lost in either."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from littoral.node.beside import running_node
from named_notes import MIGRATION, asked, by, migrate, others, points, told, write, write_named_site
from raw_http import send
from two_models import add_version, installation
from waiting import until

pytestmark = pytest.mark.e2e

COUNT = 32
RATE = 12.0
"""Points a second: the kill comes while some are carried over and some are not."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installation() as folder:
        for name in ("state", "cache"):
            monkeypatch.setenv(f"LITTORAL_{name.upper()}", str(folder / name))
        yield folder


def test_a_migration_of_one_vector_goes_on_after_a_kill(folder: Path) -> None:
    site = write_named_site(folder, RATE)
    changed = [0, 1, COUNT - 1]
    with running_node(site) as node:
        write(node.address, *range(COUNT))
        add_version(folder, 2)
        assert migrate(node.address, {"title": "encoder@2"}).status == 200
        until(lambda: told(node.address)["migration"]["embedded"] >= COUNT // 4)
        fixed = {"points": [{"id": number, "vector": {"fixed": [0.0, 0.0, 7.0]}} for number in changed]}
        gone = {"points": [2, COUNT - 2], "vector": ["words"]}
        assert asked(node.address, "PUT", "/vectors", fixed).status == 200
        assert asked(node.address, "POST", "/vectors/delete", gone).status == 200
        assert told(node.address)["migration"]["state"] == "building"
        before = points(node.address)
        node.kill()
    with running_node(site) as node:
        assert points(node.address) == before
        until(lambda: told(node.address)["migration"]["state"] == "flipped")
        now = told(node.address)["migration"]
        assert now["vectors"] == ["title"]
        assert (
            now["embedded"] <= COUNT - COUNT // 4 + 5
        )  # what the first life did is not done again, but for the changed
        after = points(node.address)
        assert {number: (others(vectors, "title"), payload) for number, (vectors, payload) in after.items()} == {
            number: (others(vectors, "title"), payload) for number, (vectors, payload) in before.items()
        }
        assert {number for number in after if after[number][0]["fixed"] == [0.0, 0.0, 7.0]} == set(changed)
        for number in (0, COUNT // 2, COUNT - 1):
            wanted = by(node.address, "titles", after[number][1]["title"])
            assert wanted[1].startswith("encoder@2:")
            assert np.allclose(after[number][0]["title"], wanted[0], atol=1e-5)
        assert send(node.address, "POST", f"{MIGRATION}/back").status == 200
        assert points(node.address) == before
