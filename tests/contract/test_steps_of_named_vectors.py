"""Steps of pipelines search and write the vector that they name, and no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import SettingError
from littoral.node.site import read_site
from node_fixture import Served, node_in_thread
from raw_http import send
from two_models import installation, keep, note, write_notes_site

NAMED = """
named.title = { size = 24, distance = "Cosine" }
named.parts = { size = 24, distance = "Cosine", multi = true }
"""
PIPELINES = """
[pipelines.keep_title]
steps = [
  { agent = "words" },
  { model = "encoder" },
  { upsert = "notes", vector = "title", payload = { text = "{input}" } },
]

[pipelines.find_title]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", using = "title", limit = 3 }]
"""


@pytest.fixture
def site() -> Iterator[Path]:
    with installation() as folder:
        file = write_notes_site(folder, NAMED)
        file.write_text(file.read_text() + PIPELINES)
        yield file


def found_by(served: Served, pipeline: str, text: str) -> list[Any]:
    hits = send(served.address, "POST", f"/pipelines/{pipeline}", text.encode()).json["result"]
    return [hit["payload"]["text"] for hit in hits]


def names_of(served: Served) -> dict[int, set[str]]:
    body = json.dumps({"limit": 100, "with_vector": True}).encode()
    points = send(served.address, "POST", "/collections/notes/points/scroll", body).json["result"]["points"]
    given = {point["id"]: point["vector"] for point in points}
    return {point: set(vector) if isinstance(vector, dict) else {""} for point, vector in given.items()}


def test_a_step_writes_and_searches_the_vector_that_it_names(site: Path) -> None:
    with node_in_thread(site.parent, site=site) as served:
        keep(served, 1, note(1))
        written = send(served.address, "POST", "/pipelines/keep_title", note(2).encode(), {"littoral-id": "2"})
        assert written.status == 200, written
        assert names_of(served) == {1: {""}, 2: {"title"}}
        assert found_by(served, "find_title", note(1)) == [note(2)]
        assert found_by(served, "find", note(2)) == [note(1)]
        again = found_by(served, "find_title", note(1))  # from the cache of answers, which tells vectors apart
        assert again == [note(2)]


@pytest.mark.parametrize(
    ("former", "now", "message"),
    [
        ('using = "title"', 'using = "titel"', r"no plain vector `titel`"),
        ('using = "title"', 'using = "parts"', r"no plain vector `parts`"),
        ('vector = "title"', 'vector = "titel"', r"no plain vector `titel`"),
        ("vectors = { size = 24, ", "named.plain = { size = 24, ", r"no plain vector without a name"),
    ],
)
def test_a_vector_that_is_not_there_is_refused_with_those_that_are(
    site: Path, former: str, now: str, message: str
) -> None:
    site.write_text(site.read_text().replace(former, now))
    with pytest.raises(SettingError, match=message) as caught:
        read_site(site)
    assert caught.value.hint is not None
    assert "`title`" in caught.value.hint
