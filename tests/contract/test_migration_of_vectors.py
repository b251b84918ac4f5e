"""One vector of several goes to another model, or some at once; the others and the payloads stay as they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import SettingError
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from named_notes import LACKING, MIGRATION, asked, by, migrate, others, points, title, told, write, write_named_site
from node_fixture import Served, node_in_thread
from raw_http import send
from two_models import add_version, find, installation, note
from waiting import until

COUNT = 12


@pytest.fixture
def folder() -> Iterator[Path]:
    with installation() as folder:
        yield folder


def until_flipped(served: Served) -> Any:
    until(lambda: told(served.address)["migration"]["state"] == "flipped")
    return told(served.address)


def found_by_title(served: Served, text: str) -> Any:
    return send(served.address, "POST", "/pipelines/find_title", text.encode()).json["result"]


def filled(served: Served, folder: Path) -> dict[int, Any]:
    write(served.address, *range(COUNT))
    add_version(folder, 2)
    return points(served.address)


def check_embedded(served: Served, kept: dict[int, Any], vector: str, pipeline: str) -> None:
    for number, (vectors, payload) in kept.items():
        assert (vector in vectors) == (LACKING.get(number) != vector)
        if vector in vectors:
            wanted = np.array(by(served.address, pipeline, payload["title" if vector else "text"])[0])
            assert np.allclose(vectors[vector], wanted / np.linalg.norm(wanted), atol=1e-5), number


def test_one_vector_goes_to_another_version_and_back_and_the_others_stay(folder: Path) -> None:
    with node_in_thread(folder, site=write_named_site(folder)) as served:
        before = filled(served, folder)
        one = by(served.address, "titles", "a")[1]
        assert migrate(served.address, {"title": "encoder@2"}).status == 200
        now = until_flipped(served)
        assert {name: models[0].split(":")[0] for name, models in now["vectors"].items()} == {
            "": "encoder@1", "title": "encoder@2", "fixed": "encoder@1", "parts": "encoder@1",
        }  # fmt: skip
        assert (now["migration"]["vectors"], now["migration"]["embedded"]) == (["title"], COUNT)
        after = points(served.address)
        assert {number: (others(vectors, "title"), payload) for number, (vectors, payload) in after.items()} == {
            number: (others(vectors, "title"), payload) for number, (vectors, payload) in before.items()
        }
        assert np.abs(np.subtract(before[1][0]["title"], after[1][0]["title"])).max() > 0.01
        check_embedded(served, after, "title", "titles")
        two = by(served.address, "titles", "a")[1]
        assert (one.split(":")[0], two.split(":")[0]) == ("encoder@1", "encoder@2")
        assert by(served.address, "sentences", "a")[1] == one, "the vector without a name is of the one before"
        assert found_by_title(served, title(6))[0]["score"] > 0.999
        assert find(served, note(6)).json["result"][0]["score"] > 0.999

        fixed = {"points": [{"id": 2, "vector": {"fixed": [9.0, 9.0, 9.0]}}]}
        assert asked(served.address, "PUT", "/vectors", fixed).status == 200
        alone = {"points": [{"id": 2, "vector": {"title": [1.0] * 24}}]}
        assert asked(served.address, "PUT", "/vectors", alone).status == 409
        only = {"filter": {"must": [{"has_id": [6, 7]}]}, "vector": ["parts", "title"]}
        assert asked(served.address, "POST", "/vectors/delete", only).status == 200
        # a client that embedded by the one before the flip: made anew, as the header tells
        late = {"points": [{"id": 50, "vector": {"title": before[8][0]["title"]}, "payload": {"title": title(8)}}]}
        assert asked(served.address, "PUT", "", late, f"title={one}").status == 200
        found = asked(served.address, "POST", "/query", {"query": after[8][0]["title"], "using": "title"}, two)
        assert {hit["id"] for hit in found.json["result"]["points"][:2]} == {8, 50}

        (shown,) = send(served.address, "GET", "/api/collections").json
        assert {one["name"]: one["models"][0].split(":")[0] for one in shown["vectors"]}["title"] == "encoder@2"
        assert (shown["migration"]["state"], shown["migration"]["to"]) == ("flipped", f"title={two}")
        assert send(served.address, "POST", f"{MIGRATION}/back").status == 200
        back = points(served.address)
        assert back[2][0]["fixed"] == [9.0, 9.0, 9.0]
        assert [sorted(back[number][0]) for number in (6, 7)] == [["", "fixed", "words"]] * 2
        changed = (2, 6, 7, 50)
        assert {number: back[number] for number in back if number not in changed} == {
            number: before[number] for number in before if number not in changed
        }
        assert np.allclose(back[50][0]["title"], before[8][0]["title"], atol=1e-6)
        assert send(served.address, "DELETE", MIGRATION).status == 200
        assert told(served.address)["migration"] is None


def test_two_vectors_go_at_once_and_stay_after_a_restart(folder: Path) -> None:
    site = write_named_site(folder)
    with node_in_thread(folder, site=site) as served:
        before = filled(served, folder)
        assert migrate(served.address, {"": "encoder@2", "title": "wide@1"}).status == 200
        now = until_flipped(served)
        assert now["migration"]["vectors"] == ["", "title"]
        assert now["migration"]["checked"]["points"] == COUNT - 1
        after = points(served.address)
        assert {len(vectors["title"]) for vectors, _ in after.values() if "title" in vectors} == {48}
    check_site(read_site(site))
    with node_in_thread(folder, site=site) as served:
        assert points(served.address) == after
        check_embedded(served, after, "", "sentences")
        check_embedded(served, after, "title", "titles")
        for number in after:
            assert others(after[number][0], "", "title") == others(before[number][0], "", "title")
        assert found_by_title(served, title(6))[0]["score"] > 0.999
        assert find(served, note(6)).json["result"][0]["score"] > 0.999
        assert send(served.address, "POST", f"{MIGRATION}/back").status == 200
        assert points(served.address) == before


def test_what_changes_while_the_other_generation_is_built_is_in_both(folder: Path) -> None:
    with node_in_thread(folder, site=write_named_site(folder, rate=4)) as served:
        filled(served, folder)
        assert migrate(served.address, {"title": "encoder@2"}).status == 200
        fixed = {"points": [{"id": number, "vector": {"fixed": [0.0, 0.0, 7.0]}} for number in (0, 11)]}
        assert asked(served.address, "PUT", "/vectors", fixed).status == 200
        gone = {"points": [1, 10], "vector": ["words"]}
        assert asked(served.address, "POST", "/vectors/delete", gone).status == 200
        lacking = {"points": [{"id": 60, "vector": {"title": [1.0] * 24}, "payload": {"text": "no title"}}]}
        refused = asked(served.address, "PUT", "", lacking)
        assert (refused.status, "migrate.named.title.source" in refused.error) == (409, True)
        without = {"points": [{"id": 61, "vector": {"fixed": [1.0, 0.0, 0.0]}}]}
        assert asked(served.address, "PUT", "", without).status == 200
        now = told(served.address)["migration"]
        assert now["state"] == "building"
        before = points(served.address)
        until_flipped(served)
        after = points(served.address)
        assert {number: others(vectors, "title") for number, (vectors, _) in after.items()} == {
            number: others(vectors, "title") for number, (vectors, _) in before.items()
        }
        assert after[61][0] == {"fixed": [1.0, 0.0, 0.0]}


REFUSALS: dict[str, tuple[Any, str]] = {
    "several of a point": ({"parts": "encoder@2"}, "only plain vectors are embedded anew, vector `parts` is none"),
    "nobody": ({"nobody": "encoder@2"}, "vector `nobody` is none"),
    "no source": ({"fixed": "encoder@2"}, "vector `fixed` keeps nothing to embed anew"),
    "the same": ({"title": "encoder@1"}, "collection `notes`, vector `title`, holds embeddings of `encoder@1:"),
    "none": ({}, "to"),
}


def test_what_cannot_be_embedded_anew_is_refused_at_once(folder: Path) -> None:
    with node_in_thread(folder, site=write_named_site(folder)) as served:
        filled(served, folder)
        for why, (to, message) in REFUSALS.items():
            refused = migrate(served.address, to)
            assert (why, refused.status in (400, 409, 501), message in refused.error) == (why, True, True)
        lacking = {"points": [{"id": 60, "vector": {"title": [1.0] * 24}, "payload": {"text": "no title"}}]}
        assert asked(served.address, "PUT", "", lacking).status == 200
        refused = migrate(served.address, {"title": "encoder@2"})
        assert (refused.status, "1 points keep nothing at `payload:title`" in refused.error) == (409, True)
        assert migrate(served.address, "encoder@2").status == 200, "the vector without a name has what it needs"
        until_flipped(served)


@pytest.mark.parametrize(
    ("former", "now", "message"),
    [
        ("named.title = { source", "named.parts = { source", "`parts`, and the collection has no such plain one"),
        (
            'pipeline = "titles" }',
            'pipeline = "title" }',
            "migrate.named.title.pipeline` is `title`, must be a pipeline",
        ),
        ('pipeline = "sentences"\n', "", "`collections.notes.migrate.pipeline`: is missing"),
    ],
)
def test_a_site_file_that_says_what_cannot_be_is_refused(folder: Path, former: str, now: str, message: str) -> None:
    site = write_named_site(folder)
    site.write_text(site.read_text().replace(former, now, 1))
    with pytest.raises(SettingError, match=message):
        read_site(site)


def test_the_site_file_names_another_model_for_one_vector_and_the_start_begins(folder: Path) -> None:
    site = write_named_site(folder)
    with node_in_thread(folder, site=site) as served:
        filled(served, folder)
    site.write_text(site.read_text().replace('"Cosine", model = "encoder@1"', '"Cosine", model = "encoder@2"'))
    check_site(read_site(site))
    with node_in_thread(folder, site=site) as served:
        now = until_flipped(served)
        assert (now["vectors"]["title"][0].split(":")[0], now["vectors"][""][0].split(":")[0]) == (
            "encoder@2",
            "encoder@1",
        )
        assert json.dumps(now["migration"]["other"]).startswith('"title=encoder@1:')
        check_embedded(served, points(served.address), "title", "titles")
