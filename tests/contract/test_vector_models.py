"""Two models never mix in a collection: every way in, at the start, at a swap, and while requests run."""

import contextlib
import http.client
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from littoral.errors import InputError, SettingError
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from littoral.vectors.model_version import ModelVersion, parse_version, told_over_the_mesh
from node_fixture import Served, node_in_thread
from raw_http import Reply, send
from two_models import add_version, embedded, find, installation, keep, note, write_notes_site

ONE, TWO = ModelVersion("encoder", "1" * 64, 1), ModelVersion("encoder", "2" * 64, 2)


@pytest.fixture
def folder() -> Iterator[Path]:
    with installation() as folder:
        yield folder


def test_versions_are_compared_by_what_they_compute() -> None:
    assert parse_version(str(ONE)) == ModelVersion("encoder", "1" * 16, 1)
    assert parse_version(f":{'1' * 16}").is_same(ONE)
    assert not parse_version(str(TWO)).is_same(ONE)
    assert ModelVersion("other", "1" * 64, 7).is_same(ONE)
    assert told_over_the_mesh([TWO, ONE]) == f"encoder:{'1' * 16} encoder:{'2' * 16}"


@pytest.mark.parametrize(
    "text", ["", "encoder", "encoder@1", "encoder@x:1111111111111111", ":11", "a b:1111111111111111"]
)
def test_what_is_no_version_is_told(text: str) -> None:
    with pytest.raises(InputError, match="must be `NAME@NUMBER:DIGEST`"):
        parse_version(text)


def raw(served: Served, model: str | None = None, *, size: int = 24, number: int = 9) -> Reply:
    """A point with a vector, over Qdrant's API."""
    body = {"points": [{"id": number, "vector": [1.0] * size, "payload": {"text": note(number)}}]}
    headers = {} if model is None else {"littoral-model": model}
    return send(served.address, "PUT", "/collections/notes/points", json.dumps(body).encode(), headers)


def ask(served: Served, model: str | None = None, route: str = "query") -> Reply:
    body: dict[str, Any] = {"query": [1.0] * 24, "limit": 2}
    if route == "query/batch":
        body = {"searches": [body]}
    headers = {} if model is None else {"littoral-model": model}
    return send(served.address, "POST", f"/collections/notes/points/{route}", json.dumps(body).encode(), headers)


def load(served: Served, name: str = "encoder") -> Reply:
    return send(served.address, "POST", f"/v2/repository/models/{name}/load", b"{}")


def test_the_first_pipeline_that_writes_says_whose_vectors_they_are(folder: Path) -> None:
    with node_in_thread(folder, site=write_notes_site(folder, "")) as served:
        assert read_collection_file(folder / "data" / COLLECTIONS / "notes").config.models == ()
        assert keep(served, 1).status == 200
        (model,) = read_collection_file(folder / "data" / COLLECTIONS / "notes").config.models
        assert (model.name, model.number) == ("encoder", 1)
        assert embedded(served, "a")[1] == str(model)
        other = raw(served, f"encoder@2:{'0' * 16}")
        assert other.status == 409
        assert other.error.startswith(
            f"collection `notes` holds embeddings of `{model}`, these vectors are of `encoder@2:{'0' * 16}` · hint: "
        )
        assert (raw(served, str(model)).status, raw(served).status) == (200, 200)
        assert (ask(served, str(model)).status, ask(served).status) == (200, 200)
        for route in ("query", "query/batch"):
            assert ask(served, f":{'0' * 16}", route).status == 409
        assert raw(served, "no version").status == 400


def test_a_version_does_not_take_over_from_one_whose_vectors_are_kept(folder: Path) -> None:
    site = write_notes_site(folder, "")
    with node_in_thread(folder, site=site) as served:
        assert keep(served, 1).status == 200
        first = embedded(served, note(1))
        add_version(folder, 2)
        refused = load(served)
        assert refused.status == 409
        assert "version 2 does not fit" in refused.error
        assert "collection `notes` holds embeddings of `encoder@1:" in refused.error
        assert embedded(served, note(1)) == first
        assert find(served, note(1)).json["result"][0]["id"] == 1
    with node_in_thread(folder, site=site) as served:  # version 2 serves now, and the collection's pipelines have 1
        assert find(served, note(1)).json["result"][0]["score"] > 0.999
        assert embedded(served, note(1))[1] != first[1]
        vector, model = embedded(served, note(1))
        assert raw(served, model).status == 409
        assert vector != first[0]
    (folder / "encoder" / "1" / "model.wasm").unlink()
    with pytest.raises(SettingError, match="`notes` holds embeddings of `encoder@1:.*this pipeline makes those of"):
        check_site(read_site(site))


def test_a_strict_collection_wants_to_be_told(folder: Path) -> None:
    with node_in_thread(folder, site=write_notes_site(folder, 'model = "encoder"\nstrict = true')) as served:
        (model,) = read_collection_file(folder / "data" / COLLECTIONS / "notes").config.models
        for refused in (raw(served), ask(served)):
            assert refused.status == 409
            assert "the model of these vectors is not told" in refused.error
        assert (raw(served, str(model)).status, ask(served, str(model)).status, keep(served, 1).status) == (200,) * 3


def streamed(served: Served, pipeline: str, text: bytes) -> bytes:
    """The events of a stream of one frame."""
    with contextlib.closing(http.client.HTTPConnection(served.address, timeout=60)) as connection:
        headers = {"Content-Type": "application/x-littoral-frames"}
        connection.request("POST", f"/pipelines/{pipeline}/stream", struct.pack("<I", len(text)) + text, headers)
        return connection.getresponse().read()


def test_pipelines_over_every_protocol_meet_only_their_own_vectors(folder: Path) -> None:
    """A collection that somebody else has said whose it is, after the pipelines were bound."""
    with node_in_thread(folder, site=write_notes_site(folder, "")) as served:
        assert raw(served, f"other@1:{'0' * 16}").status == 200
        text = note(1).encode()
        infer = {"inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": [note(1)]}]}
        for pipeline in ("keep", "find"):
            plain = send(served.address, "POST", f"/pipelines/{pipeline}", text)
            told = send(served.address, "POST", f"/v2/models/{pipeline}/infer", json.dumps(infer).encode())
            assert (plain.status, told.status) == (409, 409)
            for body in (plain.body, told.body, streamed(served, pipeline, text)):
                assert b"holds embeddings of `other@1:0000000000000000`, these vectors are of `encoder@1:" in body
        assert send(served.address, "POST", "/collections/notes/points/count", b"{}").json["result"]["count"] == 1


def test_answers_that_are_remembered_are_those_of_the_model(folder: Path) -> None:
    site = write_notes_site(folder, "", (1, 2))
    with node_in_thread(folder, site=site) as served:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            second = client.embeddings.create(model="sentences", input=note(1)).data[0].embedding
            assert client.embeddings.create(model="sentences", input=note(1)).data[0].embedding == second
            back = {"parameters": {"config": json.dumps({"version_policy": {"specific": {"versions": [1]}}})}}
            reply = send(served.address, "POST", "/v2/repository/models/encoder/load", json.dumps(back).encode())
            assert reply.status == 200
            first = client.embeddings.create(model="sentences", input=note(1)).data[0].embedding
        assert first != second
        assert keep(served, 1).status == 200
        assert load(served).status == 409
        assert embedded(served, note(1))[1].startswith("encoder@1:")


def test_points_of_another_collection_are_looked_up_for_their_own_model_alone(folder: Path) -> None:
    site = write_notes_site(folder, "")
    site.write_text(site.read_text() + '[collections.others]\nvectors = { size = 24, distance = "Cosine" }\n')
    with node_in_thread(folder, site=site) as served:
        assert keep(served, 1).status == 200
        body = {"points": [{"id": 5, "vector": [1.0] * 24}]}
        headers = {"littoral-model": f"other:{'0' * 16}"}
        path = "/collections/others/points"
        assert send(served.address, "PUT", path, json.dumps(body).encode(), headers).status == 200
        query = {"query": 5, "lookup_from": {"collection": "others"}}
        refused = send(served.address, "POST", "/collections/notes/points/query", json.dumps(query).encode())
        assert refused.status == 409
        assert "these vectors are of `other:0000000000000000`" in refused.error


def test_pipelines_of_two_models_do_not_feed_one_collection(folder: Path) -> None:
    site = write_notes_site(folder, "", (1, 2))
    text = site.read_text().replace('[models.wide]\npath = "wide.wasm"', '[models.wide]\npath = "encoder/1/model.wasm"')
    both = text.replace(
        '[pipelines.find]\nsteps = [{ agent = "words" }, { model = "encoder" }',
        '[pipelines.find]\nsteps = [{ agent = "words" }, { model = "wide" }',
    )
    site.write_text(both)
    with pytest.raises(SettingError, match="pipelines `keep` .* and `find` .* both feed collection `notes`"):
        check_site(read_site(site))
    site.write_text(both.replace('distance = "Cosine" }', 'distance = "Cosine" }\nmodel = ["encoder", "wide"]'))
    with node_in_thread(folder, site=site) as served:
        assert (keep(served, 1).status, find(served, note(1)).status) == (200, 200)
        models = read_collection_file(folder / "data" / COLLECTIONS / "notes").config.models
        assert [model.name for model in models] == ["encoder", "wide"]


def test_a_snapshot_of_another_model_is_not_taken(folder: Path) -> None:
    with node_in_thread(folder, site=write_notes_site(folder, "")) as served:
        assert keep(served, 1).status == 200
        made = send(served.address, "POST", "/collections/notes/snapshots").json["result"]["name"]
        location = (folder / "data" / "snapshots" / "notes" / made).as_uri()
        body = msgspec.json.encode({"location": location})
        assert send(served.address, "PUT", "/collections/copy/snapshots/recover", body).status == 200
        headers = {"littoral-model": f"other:{'0' * 16}"}
        config = json.dumps({"vectors": {"size": 24, "distance": "Cosine"}}).encode()
        assert send(served.address, "PUT", "/collections/strange", config).status == 200
        points = json.dumps({"points": [{"id": 1, "vector": [1.0] * 24}]}).encode()
        assert send(served.address, "PUT", "/collections/strange/points", points, headers).status == 200
        refused = send(served.address, "PUT", "/collections/strange/snapshots/recover", body)
        assert refused.status == 409
        copied = read_collection_file(folder / "data" / COLLECTIONS / "copy").config.models
        assert [model.name for model in copied] == ["encoder"]
