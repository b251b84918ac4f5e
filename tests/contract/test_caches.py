"""Caches of a node against what its shard says: the same answers, told as what they are, and none out of date."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import UnavailableError
from littoral.vectors.doubt import Doubt
from node_fixture import Served
from raw_http import Reply, send, send_json
from text_node import SITE, how, text_node
from waiting import until

RNG = np.random.default_rng(5)
COUNT = 400
PLACES = RNG.normal(size=(COUNT, 8)).astype(np.float32)
NOTES = RNG.normal(size=(COUNT, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with text_node() as served:
        fill(served)
        yield served


def fill(served: Served) -> None:
    for name, vectors in (("places", PLACES), ("notes", NOTES)):
        points = [{"id": i, "vector": v.tolist(), "payload": {"n": i % 7}} for i, v in enumerate(vectors)]
        assert send_json(served.address, "PUT", f"/collections/{name}/points", {"points": points}).status == 200


def query(served: Served, name: str, vector: Any, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    body = {"query": np.asarray(vector, np.float64).tolist(), "limit": 5, "with_payload": True} | more
    data = json.dumps(body).encode()
    reply = send(served.address, "POST", f"/collections/{name}/points/query", data, headers)
    assert reply.status == 200, reply.body
    return reply


def exact(served: Served, name: str, vector: Any, **more: Any) -> Reply:
    return query(served, name, vector, {"Cache-Control": "no-store"}, params={"exact": True}, **more)


def cache_of(reply: Reply) -> str | None:
    found = how(reply.headers)["cache"]
    assert found is None or isinstance(found, str)
    return found


def filled(served: Served) -> float:
    """When all lists are made that were asked for."""
    filler = served.node.caches.filler
    until(lambda: not filler._waiting and (filler._running is None or filler._running.done()))
    text = send(served.address, "GET", "/metrics").body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("littoral_cache_fills_total")]
    return float(line.split()[-1])


def test_the_same_body_again_gets_the_same_answer(served: Served) -> None:
    vector = RNG.normal(size=8)
    first = query(served, "places", vector, params={"exact": True})
    second = query(served, "places", vector, params={"exact": True})
    assert (cache_of(first), cache_of(second)) == (None, "exact")
    assert first.json["result"] == second.json["result"]
    assert how(first.headers)["search"] == how(second.headers)["search"]
    assert (
        cache_of(query(served, "places", vector, {"Cache-Control": "max-age=0, no-cache"}, params={"exact": True}))
        is None
    )
    other = query(served, "places", vector, params={"exact": True}, limit=6)
    assert cache_of(other) != "exact"


@pytest.mark.parametrize("name", ["places", "notes"])
def test_near_answers_are_those_of_the_shard(served: Served, name: str) -> None:
    vectors = PLACES if name == "places" else NOTES
    proven = 0
    for i in range(25):
        vector = vectors[i] + 0.05 * RNG.normal(size=vectors.shape[1])
        query(served, name, vector)
        filled(served)
        for step in (1e-6, 1e-3, 1e-2):
            near = vector + step * RNG.normal(size=len(vector))
            reply = query(served, name, near)
            if cache_of(reply) != "near":
                continue
            proven += 1
            assert how(reply.headers)["search"] == {
                "asked": 1,
                "answered": 1,
                "missing": [],
                "certified": True,
                "expected_recall": 1.0,
            }
            assert_same(reply, exact(served, name, near))
    assert proven >= 40


def assert_same(got: Reply, want: Reply) -> None:
    ours, theirs = got.json["result"]["points"], want.json["result"]["points"]
    bare = [{key: value for key, value in point.items() if key != "score"} for point in ours]
    assert bare == [{key: value for key, value in point.items() if key != "score"} for point in theirs]
    np.testing.assert_allclose([p["score"] for p in ours], [p["score"] for p in theirs], rtol=1e-5, atol=1e-6)


def test_near_answers_know_filters_pages_thresholds_and_payloads(served: Served) -> None:
    vector = PLACES[3]
    asked: list[dict[str, Any]] = [
        {"filter": {"must": [{"key": "n", "match": {"value": 2}}]}},
        {"offset": 2, "limit": 4},
        {"score_threshold": 2.2},
        {"with_payload": ["other"]},
        {"with_payload": False},
        {"limit": 60},
    ]
    for more in asked:
        query(served, "places", vector, **more)
        filled(served)
        near = vector + 1e-5 * RNG.normal(size=8)
        reply = query(served, "places", near, **more)
        assert cache_of(reply) == "near", more
        assert_same(reply, exact(served, "places", near, **more))


@pytest.mark.parametrize("more", [{"with_vector": True}, {"limit": 65}, {"params": {"indexed_only": True}}])
def test_what_has_no_certificate_goes_to_the_shard(served: Served, more: dict[str, Any]) -> None:
    before = filled(served)
    for step in range(3):
        assert cache_of(query(served, "places", PLACES[9] + 1e-6 * step, **more)) is None
    assert filled(served) == before


@pytest.mark.parametrize("vector", [[0.0] * 24, [1e30] * 24, [1.0] * 23, [1e300] * 24])
def test_a_vector_that_a_search_refuses_is_refused(served: Served, vector: list[float]) -> None:
    query(served, "notes", NOTES[0])
    body = json.dumps({"query": vector, "limit": 5}).encode()
    for _ in range(2):
        assert send(served.address, "POST", "/collections/notes/points/query", body).status == 400


def test_a_filter_with_a_number_beyond_64_bits_is_refused_before_it_is_looked_for(served: Served) -> None:
    body = {"vector": PLACES[0].tolist(), "limit": 3}
    for test in ({"match": {"value": 10**30}}, {"values_count": {"gt": 10**30}}):
        more = {"filter": {"must": [{"key": "n"} | test]}}
        reply = send(served.address, "POST", "/collections/places/points/search", json.dumps(body | more).encode())
        assert reply.status == 400, (more, reply.body)


def test_a_write_makes_everything_before_it_void(served: Served) -> None:
    vector = PLACES[20]
    for _ in range(2):
        query(served, "places", vector, params={"exact": True})
    assert cache_of(query(served, "places", vector, params={"exact": True})) == "exact"
    point = {"id": 9000, "vector": vector.tolist(), "payload": {"n": 0}}
    send_json(served.address, "PUT", "/collections/places/points?wait=true", {"points": [point]})
    found = query(served, "places", vector, params={"exact": True})
    assert cache_of(found) is None
    assert 9000 in [hit["id"] for hit in found.json["result"]["points"]]
    near = query(served, "places", vector + 1e-6)  # by the shard, or by a list made since
    assert 9000 in [hit["id"] for hit in near.json["result"]["points"]]
    send_json(served.address, "POST", "/collections/places/points/delete?wait=false", {"points": [9000]})
    gone = query(served, "places", vector, params={"exact": True})
    assert 9000 not in [hit["id"] for hit in gone.json["result"]["points"]]


def test_a_collection_made_again_starts_without_answers(served: Served) -> None:
    made = {"vectors": {"size": 8, "distance": "Euclid"}}
    body = {"query": [1.0] * 8, "limit": 5}
    for name in ("first", "second"):
        send_json(served.address, "PUT", "/collections/again", made)
        point = {"id": 1, "vector": [1.0] * 8, "payload": {"name": name}}
        send_json(served.address, "PUT", "/collections/again/points", {"points": [point]})
        for _ in range(2):
            found = send_json(served.address, "POST", "/collections/again/points/query", body | {"with_payload": True})
            assert found.json["result"]["points"][0]["payload"] == {"name": name}
        send_json(served.address, "DELETE", "/collections/again", None)


def test_a_pipeline_tells_where_its_hits_come_from(served: Served) -> None:
    def ask(text: str, **headers: str) -> Any:
        reply = send(served.address, "POST", "/pipelines/find", text.encode(), headers)
        assert reply.status == 200
        return reply.json

    first, second = ask("one question"), ask("one question")
    assert (first["how"]["cache"], second["how"]["cache"]) == (None, "exact")
    assert first["result"] == second["result"]
    assert first["how"]["search"] == second["how"]["search"]
    assert (set(first["how"]["stages"]), second["how"]["stages"]) == ({"words", "encoder", "search"}, {})
    assert ask("one question", **{"Cache-Control": "no-cache"})["how"]["cache"] is None
    points = [{"id": 7000, "vector": NOTES[0].tolist(), "payload": {"n": 1}}]
    send_json(served.address, "PUT", "/collections/notes/points", {"points": points})
    assert ask("one question")["how"]["cache"] is None
    assert ask("one question")["how"]["cache"] == "exact"


def test_searches_by_other_queries_are_not_kept(served: Served) -> None:
    body = {"query": 3, "limit": 2}
    for _ in range(2):
        reply = send_json(served.address, "POST", "/collections/places/points/query", body)
        assert reply.status == 200
        assert cache_of(reply) is None


def test_the_same_request_for_embeddings_is_told_again_until_the_model_is_another(served: Served) -> None:
    def ask(**headers: str) -> Reply:
        body = {"model": "sentences", "input": ["told again", "and this"], "encoding_format": "base64"}
        reply = send(served.address, "POST", "/v1/embeddings", json.dumps(body).encode(), headers)
        assert reply.status == 200
        return reply

    caches = served.node.caches
    before = hits_of_embeddings(served)
    first, second, third = ask(), ask(), ask()
    assert [cache_of(reply) for reply in (first, second, third)] == [None, "embedding", "embedding"]
    assert first.body == second.body == third.body
    assert caches.told_again_count == 2
    assert hits_of_embeddings(served) == before + 4
    assert cache_of(ask(**{"Cache-Control": "no-cache"})) is None
    assert cache_of(ask(**{"Cache-Control": "no-store"})) is None
    assert caches.told_again_count == 2
    (key,) = (key for key, _ in caches.told_embeddings.items() if b"told again" in key[1])
    told = caches.told_embeddings.find(key)
    assert told is not None
    caches.told_embeddings.keep(key, told._replace(source=b"another model"), 100)
    assert ask().body == first.body
    assert caches.told_again_count == 2


def hits_of_embeddings(served: Served) -> float:
    text = send(served.address, "GET", "/metrics").body.decode()
    (line,) = [one for one in text.splitlines() if one.startswith('littoral_cache_hits_total{cache="embedding"}')]
    return float(line.split()[-1])


def test_without_caches_everything_is_asked_anew() -> None:
    off = "\n[cache]\nembeddings_mb = 0\nresults_mb = 0\n"
    with text_node(SITE + off) as served:
        fill(served)
        for _ in range(2):
            assert cache_of(query(served, "places", PLACES[0])) is None
            body = {"model": "sentences", "input": "a text"}
            assert cache_of(send_json(served.address, "POST", "/v1/embeddings", body)) is None


def test_metrics_tell_the_share_of_near_answers(served: Served) -> None:
    query(served, "places", PLACES[5])
    filled(served)
    assert cache_of(query(served, "places", PLACES[5] + 1e-5 * RNG.normal(size=8))) == "near"
    text = send(served.address, "GET", "/metrics").body.decode()
    found = {
        line.split()[0]: float(line.split()[-1]) for line in text.splitlines() if line.startswith("littoral_cache")
    }
    proven = found['littoral_cache_hits_total{cache="near"}']
    asked = proven + found['littoral_cache_misses_total{cache="near"}']
    assert proven > 0
    assert found["littoral_cache_near_share"] == pytest.approx(proven / asked)
    assert found['littoral_cache_bytes{cache="near"}'] <= 8 << 20
    assert found['littoral_cache_hits_total{cache="exact"}'] > 0


def test_a_write_without_an_answer_puts_the_collection_in_doubt() -> None:
    doubt = Doubt()
    first, second = doubt.started(), doubt.started()
    doubt.lost()
    assert not doubt.is_settled
    doubt.acknowledged(first)
    doubt.acknowledged(second)
    assert not doubt.is_settled  # both were sent before the loss was known
    doubt.acknowledged(doubt.started())
    assert doubt.is_settled


def test_in_doubt_nothing_is_told_from_the_cache(served: Served) -> None:
    collection = served.node.collections.get("places")
    for _ in range(2):
        query(served, "places", PLACES[30], params={"exact": True})
    with pytest.raises(UnavailableError):
        asyncio.run(collection.upsert([1], PLACES[:1], deadline_s=0.0))
    assert cache_of(query(served, "places", PLACES[30], params={"exact": True})) is None
    points = [{"id": 1, "vector": PLACES[1].tolist(), "payload": {"n": 1}}]
    send_json(served.address, "PUT", "/collections/places/points", {"points": points})
    for want in (None, "exact"):
        assert cache_of(query(served, "places", PLACES[30], params={"exact": True})) == want


def test_embeddings_survive_a_restart(tmp_path: Path) -> None:
    site = SITE.replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:0"\ndata = "{tmp_path}/data"')
    body = {"model": "sentences", "input": ["kept on disk", "this too"]}
    with text_node(site + "\n[cache]\ndisk_mb = 1\n") as served:
        first = send_json(served.address, "POST", "/v1/embeddings", body)
    path = tmp_path / "data" / "cache" / "embeddings.log"
    assert path.stat().st_mode & 0o77 == 0
    with text_node(site + "\n[cache]\ndisk_mb = 1\n") as served:
        again = send_json(served.address, "POST", "/v1/embeddings", body)
        assert cache_of(again) == "embedding"
        assert again.json == first.json
    changed = site.replace("max_tokens = 32", "max_tokens = 30")
    with text_node(changed + "\n[cache]\ndisk_mb = 1\n") as served:
        assert cache_of(send_json(served.address, "POST", "/v1/embeddings", body)) is None
