"""`littoral collections migrate`: what it prints, and its exit codes."""

from collections.abc import Iterator
from typing import Any

import pytest

from command import littoral as cli
from node_fixture import Served, node_in_thread
from raw_http import send
from two_models import add_version, installation, keep, write_notes_site
from waiting import until

COUNT = 5


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with installation() as folder, node_in_thread(folder, site=write_notes_site(folder)) as served:
        for number in range(COUNT):
            assert keep(served, number).status == 200
        add_version(folder, 2)
        yield served


def test_a_collection_is_taken_to_another_version_and_back(served: Served) -> None:
    def migrate(*options: str) -> str:
        done = cli("collections", "migrate", "notes", "--url", served.url, *options)
        assert done.code == 0, done.err
        return done.out

    assert migrate().startswith("notes: embeddings encoder@1:")
    done = migrate("--to", "=encoder@2", "--wait")
    assert done.startswith("notes: embeddings encoder@2:")
    assert done.endswith(" is kept for the way back\n")
    assert migrate("--back").startswith("notes: embeddings encoder@1:")
    until(lambda: progress(served)["state"] == "flipped" and progress(served)["points"] == COUNT)
    told = cli("collections", "migrate", "notes", "--url", served.url, "--json").json
    assert told.keys() == {"name", "models", "vectors", "strict", "migration", "failure"}
    assert told["migration"].keys() == {
        "state", "current", "other", "vectors", "points", "done", "embedded", "behind", "is_whole", "why", "refused",
        "checked", "flip_ms",
    }  # fmt: skip
    assert "kept" not in migrate("--drop")


def progress(served: Served) -> Any:
    return send(served.address, "GET", "/api/collections/notes").json["migration"]


def test_what_cannot_be_is_told(served: Served) -> None:
    def refused(*options: str) -> tuple[int, str]:
        done = cli("collections", "migrate", *options, "--url", served.url)
        return done.code, done.err

    assert refused("notes", "--to", "encoder@1", "--back")[0] == 4
    code, message = refused("notes", "--to", "encoder@1")
    assert (code, "holds embeddings of `encoder@1:" in message) == (4, True)
    assert refused("nobody")[0] == 4
    code, message = refused("notes", "--to", "title=encoder@2")
    assert (code, "only plain vectors are embedded anew, vector `title` is none" in message) == (4, True)
    code, message = refused("notes", "--to", "encoder@2", "--to", "title=encoder@2", "--to", "=wide@1")
    assert (code, message) == (4, "littoral: `--to` names two models for the vector without a name\n")
    assert refused("notes", "--drop") == (4, "littoral: collection `notes` has no second generation\n")
