"""Vectors of one collection are of several models, and each meets only its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from littoral.errors import ConflictError, InputError, NotFoundError, SettingError
from littoral.node.declared_models import with_spread_models
from littoral.node.mesh_tables import SpreadTable
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.vectors.collection import Collection
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from littoral.vectors.model_version import (
    ModelVersion,
    heard_by_vector,
    heard_over_the_mesh,
    parse_told,
    told_by_vector,
)
from littoral.vectors.records import CollectionConfig, VectorParams
from littoral.vectors.recovering import recovered
from littoral.vectors.tuning import SparseParams
from node_fixture import Served, node_in_thread
from raw_http import Reply, send
from two_models import embedded, find, installation, keep, note, write_notes_site

DECLARED = """
model = "encoder"
named.title = { size = 48, distance = "Cosine", model = "wide" }
"""
UNDECLARED = 'named.title = { size = 48, distance = "Cosine" }'
PIPELINES = """
[pipelines.titles]
steps = [{ agent = "words" }, { model = "wide" }]

[pipelines.keep_title]
steps = [
  { agent = "words" },
  { model = "wide" },
  { upsert = "notes", vector = "title", payload = { text = "{input}" } },
]

[pipelines.find_title]
steps = [{ agent = "words" }, { model = "wide" }, { search = "notes", using = "title", limit = 3 }]
"""
POINTS = "/collections/notes/points"
PLAIN, TITLE = [1.0] * 24, [1.0] * 48


@pytest.fixture
def folder() -> Iterator[Path]:
    with installation() as folder:
        yield folder


def write_site(folder: Path, options: str = DECLARED) -> Path:
    site = write_notes_site(folder, options)
    site.write_text(site.read_text() + PIPELINES)
    return site


def run(served: Served, pipeline: str, text: str, number: int | None = None) -> Reply:
    headers = {} if number is None else {"littoral-id": str(number)}
    return send(served.address, "POST", f"/pipelines/{pipeline}", text.encode(), headers)


def version_of(served: Served, pipeline: str) -> str:
    body = json.dumps({"model": pipeline, "input": "a"}).encode()
    return send(served.address, "POST", "/v1/embeddings", body).headers["littoral-model"]


def asked(served: Served, method: str, path: str, body: Any, told: str | None = None) -> Reply:
    headers = {} if told is None else {"littoral-model": told}
    return send(served.address, method, f"{POINTS}{path}", json.dumps(body).encode(), headers)


def models_on_disk(folder: Path) -> dict[str, list[str]]:
    config = read_collection_file(folder / "data" / COLLECTIONS / "notes").config
    return {vector: [model.name for model in config.models_of(vector)] for vector in config.dense}


@pytest.mark.parametrize("options", [DECLARED, UNDECLARED])
def test_pipelines_of_two_models_feed_two_vectors_of_one_collection(folder: Path, options: str) -> None:
    site = write_site(folder, options)
    with node_in_thread(folder, site=site) as served:
        assert keep(served, 1).status == 200
        assert run(served, "keep_title", note(2), 2).status == 200
        assert models_on_disk(folder) == {"": ["encoder"], "title": ["wide"]}
        assert [hit["id"] for hit in run(served, "find_title", note(1)).json["result"]] == [2]
        assert [hit["id"] for hit in find(served, note(2)).json["result"]] == [1]


def test_every_write_and_query_over_http_is_held_against_the_model_of_its_vector(folder: Path) -> None:
    with node_in_thread(folder, site=write_site(folder)) as served:
        one, two = embedded(served, "a")[1], version_of(served, "titles")
        both = {"points": [{"id": 7, "vector": {"": PLAIN, "title": TITLE}}]}
        columns = {"batch": {"ids": [8], "vectors": {"": [PLAIN], "title": [TITLE]}}}
        update = {"operations": [{"upsert": both}]}
        for method, path, body in (("PUT", "", both), ("PUT", "", columns), ("POST", "/batch", update)):
            assert asked(served, method, path, body, f"{one}, title={two}").status == 200
            refused = asked(served, method, path, body, one)
            assert (refused.status, "vector `title`, holds embeddings of `wide@1:" in refused.error) == (409, True)
            assert asked(served, method, path, body, f"{two}, title={two}").status == 409
        alone = {"points": [{"id": 7, "vector": {"title": TITLE}}]}
        assert [asked(served, "PUT", "/vectors", alone, told).status for told in (one, two)] == [409, 200]
        titles = {"query": TITLE, "using": "title"}
        older = {"vector": {"name": "title", "vector": TITLE}, "limit": 1}
        within = {"query": {"fusion": "rrf"}, "prefetch": [titles, {"query": PLAIN}]}
        cases: list[tuple[str, Any, str]] = [
            ("/query", titles, two),
            ("/query/batch", {"searches": [titles]}, two),
            ("/search", older, two),
            ("/query/groups", titles | {"group_by": "text"}, two),
            ("/query", within, f"{one},title={two}"),
        ]
        for path, body, told in cases:
            assert (asked(served, "POST", path, body, told).status, path) == (200, path)
            assert (asked(served, "POST", path, body, one).status, path) == (409, path)
        looked_up = {"query": 7, "using": "title", "lookup_from": {"collection": "notes", "vector": ""}}
        assert asked(served, "POST", "/query", looked_up).status == 409
        assert asked(served, "PUT", "", both, "title=nothing").status == 400


def test_a_strict_collection_wants_to_be_told_of_each_vector(folder: Path) -> None:
    with node_in_thread(folder, site=write_site(folder, f"strict = true\n{DECLARED}")) as served:
        one, two = embedded(served, "a")[1], version_of(served, "titles")
        both = {"points": [{"id": 7, "vector": {"": PLAIN, "title": TITLE}}]}
        refused = asked(served, "PUT", "", both, f"title={two}")
        assert (refused.status, "is not told" in refused.error) == (409, True)
        assert asked(served, "PUT", "", both, f"={one},title={two}").status == 200
        assert asked(served, "POST", "/query", {"query": PLAIN}).status == 409
        assert (keep(served, 1).status, run(served, "keep_title", "b", 2).status) == (200, 200)


UNFIT = {
    'model = "wide" }\n': {
        'model = "encoder" }\n': "title.model` is `encoder@1:.*it holds embeddings of `wide@1:",
        'model = "wyde" }\n': "named.title.model` is `wyde`, must be a model of this file",
        'model = "wide@7" }\n': "model `wide`: no version 7",
    },
    '{ model = "wide" }, { search': {
        '{ model = "encoder" }, { search': (
            "`notes`, vector `title`, holds embeddings of `wide@1:.*, this pipeline makes those of `encoder@1:"
        )
    },
}


def test_a_site_file_whose_models_do_not_fit_is_refused(folder: Path) -> None:
    site = write_site(folder)
    with node_in_thread(folder, site=site):
        pass
    check_site(read_site(site))
    good = site.read_text()
    for former, cases in UNFIT.items():
        for now, message in cases.items():
            site.write_text(good.replace(former, now, 1))
            with pytest.raises((SettingError, NotFoundError), match=message):
                check_site(read_site(site))


ONE, TWO = ModelVersion("encoder", "1" * 64, 1), ModelVersion("wide", "2" * 64, 1)
PARAMS = VectorParams(4, "Dot")
CONFIG = CollectionConfig(PARAMS, {"title": PARAMS, "left": PARAMS}, {"words": SparseParams()}, models=(ONE,))


def test_a_vector_has_the_models_of_its_own_or_those_of_the_collection() -> None:
    changed = CONFIG.with_models({"title": (TWO,)})
    assert {name: changed.models_of(name) for name in ("", "title", "left", "words")} == {
        "": (ONE,), "title": (TWO,), "left": (ONE,), "words": (),
    }  # fmt: skip
    again = changed.with_models({"": (TWO,)})
    assert (again.models_of(""), again.models_of("left"), again.all_models) == ((TWO,), (ONE,), (TWO, ONE))
    alone = CollectionConfig(PARAMS).with_models({"": (TWO,)})
    assert (alone.models, alone.named_models) == ((TWO,), {})


def test_what_a_header_and_other_nodes_are_told_is_heard_as_it_was_meant() -> None:
    told = parse_told(f"{ONE}, a%2Cb%3D={TWO}")
    assert (str(told.of("x")), str(told.of("a,b="))) == (str(ONE), str(TWO))
    text = told_by_vector({"a b=": (TWO, ONE), "": (ONE,)})
    heard = heard_by_vector(f"site-7 {text}")
    assert {name: [model.name for model in found] for name, found in heard.items()} == {
        "a b=": ["encoder", "wide"], "": ["encoder"],
    }  # fmt: skip
    assert heard_over_the_mesh(text) == ()
    with pytest.raises(InputError):
        parse_told("title=")


def test_nodes_tell_each_other_the_models_of_all_vectors(folder: Path) -> None:
    site = read_site(write_site(folder))
    table = msgspec.structs.replace(site.collections["notes"], spread=SpreadTable())
    spread = with_spread_models(site._replace(collections={"notes": table})).collections["notes"].spread
    assert spread is not None
    assert [model.name for model in heard_over_the_mesh(spread.model)] == ["encoder"]
    assert [model.name for model in heard_by_vector(spread.model)["title"]] == ["wide"]
    many = {f"title {number}": table.named["title"] for number in range(20)}
    table = msgspec.structs.replace(table, named=many)
    with pytest.raises(SettingError, match="its models take .* at most 400"):
        with_spread_models(site._replace(collections={"notes": table}))


def test_a_snapshot_whose_vectors_are_of_other_models_is_not_taken() -> None:
    there = Collection("notes", CONFIG.with_models({"title": (TWO,)}), shard=None)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match=r"vector `title`, holds embeddings of `wide@1:.* are of `encoder@1"):
        recovered("notes", there, CONFIG)
    taken = recovered("notes", there, CollectionConfig(PARAMS, CONFIG.named, CONFIG.sparse))
    assert taken.models_of("title") == (TWO,)
