"""A bundle in workerd beside the node that it was taken from: the same vectors, the same hits."""

import concurrent.futures
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.isolated import Isolate

from bundled import (
    OCTETS,
    PICTURES,
    TYPE,
    Both,
    bundled,
    endpoints,
    header_of_png,
    hostile,
    how,
    in_workerd,
    metric,
    of_node,
    post,
    vector,
)
from isolates import Database, database, in_miniflare, points
from littoral.artifact.sections import sections
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import write
from littoral.node.site import read_site
from pictures import natural, png, saved
from raw_http import Reply, connect, read_reply, send
from waiting import until

DATA = 11  # id of the section with what goes into memory
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with bundled() as found:
        yield found


# --- the same results ---


def test_vectors_are_the_nodes_to_the_bit(both: Both) -> None:
    others = [png(natural(40, 40)), saved(natural(300, 200), "JPEG", progressive=True, quality=70)]
    for data in [*PICTURES[:8], *others]:
        assert vector(both.worker, data).tobytes() == of_node(both.node, data).tobytes()


def test_a_picture_has_the_nodes_hits(both: Both) -> None:
    for data in PICTURES[::9]:
        ours, theirs = (
            post(both.worker, "/similarity", data),
            send(both.node.address, "POST", "/pipelines/similar", data),
        )
        assert ours.status == 200
        assert ours.json.keys() == {"result", "status", "time"}
        assert ours.json["status"] == "ok"
        assert ours.json["result"] == theirs.json["result"]


def test_a_vector_comes_in_three_forms(both: Both) -> None:
    data = PICTURES[0]
    plain = vector(both.worker, data)
    told = post(both.worker, "/embed", data).json["result"]["outputs"]["embedding"]
    frame = post(both.worker, "/embed", data, Accept="application/x-safetensors").body
    assert (told["dtype"], told["shape"]) == ("float32", [1, len(plain)])
    assert np.array_equal(np.array(told["data"], np.float32), plain[None])
    assert frame[8 + struct.unpack("<Q", frame[:8])[0] :] == plain.tobytes()


def test_it_starts_with_a_picture_whose_vector_is_known(both: Both) -> None:
    assert send(both.worker.address, "GET", "/warmup").status == 200
    said = send(both.worker.address, "GET", "/healthz").json["result"]
    assert said["pipeline"] == "similar"
    assert said["memory_bytes"] > 0


def test_it_may_start_before_the_first_request(both: Both, tmp_path: Path) -> None:
    site = read_site(both.bundle.parent / "site.toml")
    write(dict(plan_workers(read_recipe(site, "similar"), Options(start="eager")).files), tmp_path / "eager")
    with in_workerd(both.workerd, tmp_path / "eager") as worker:
        assert metric(worker, "memory_bytes") > 0
        assert vector(worker, PICTURES[0]).tobytes() == of_node(both.node, PICTURES[0]).tobytes()


def test_requests_at_once_do_not_mix(both: Both) -> None:
    expected = [of_node(both.node, data).tobytes() for data in PICTURES[:12]]

    def ask(i: int) -> bool:
        return vector(both.worker, PICTURES[i % 12]).tobytes() == expected[i % 12]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(96)))


# --- what is refused ---


def test_hostile_requests_are_refused_and_the_isolate_goes_on(both: Both) -> None:
    cases = list(hostile())
    expected = of_node(both.node, PICTURES[1]).tobytes()
    assert len(cases) >= 60
    for data, statuses in cases:
        with connect(both.worker.address) as connection:
            connection.sendall(data)
            reply = read_reply(connection)
        assert reply.status in statuses, (data[:200], reply)
        assert reply.status == 200 or reply.json["status"]["error"]
        assert vector(both.worker, PICTURES[1]).tobytes() == expected
    assert metric(both.worker, "cold_start_total") == 1


def test_a_refusal_says_what_was_wrong(both: Both) -> None:
    reply = send(both.worker.address, "GET", "/similarity")
    assert reply.headers["allow"] == "POST"
    large = send(both.worker.address, "POST", "/embed", header_of_png(2000, 20), TYPE)
    assert large.error == "picture of 2000×20 pixels, at most 1024 on a side"
    half = send(both.worker.address, "POST", "/embed", PICTURES[0][: len(PICTURES[0]) // 2], TYPE)
    assert "cut off" in half.error


# --- the vector database ---


def test_questions_are_qdrants_and_pass_the_trace_on(both: Both) -> None:
    with database(lambda _: points(7)) as qdrant:
        bindings = {"ENDPOINTS": json.dumps([{"url": qdrant.url, "key": "OTHER"}]), "QDRANT_API_KEY": "secret"}
        with in_workerd(both.workerd, both.bundle, bindings) as worker:
            reply = post(worker, "/similarity", PICTURES[0], traceparent=PARENT)
        assert reply.json["result"] == [{"id": 7, "score": pytest.approx(0.3), "payload": {"i": 7}}]
        (question,) = qdrant.questions
    assert question.path == "/collections/frames/points/query"
    assert question.body["limit"] == 5
    assert question.body["with_payload"] is True
    assert np.array_equal(np.array(question.body["query"], np.float32), of_node(both.node, PICTURES[0]))
    assert "api-key" not in question.headers  # of a binding that is not there
    version, trace, span, flags = question.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", PARENT[3:35], "01")
    assert span != PARENT[36:52]


def test_a_secret_goes_to_the_endpoint(both: Both) -> None:
    with (
        database(lambda _: points(1)) as qdrant,
        in_workerd(both.workerd, both.bundle, {"ENDPOINTS": endpoints(qdrant.url), "QDRANT_API_KEY": "s3"}) as worker,
    ):
        assert post(worker, "/similarity", PICTURES[0]).status == 200
        assert qdrant.questions[0].headers["api-key"] == "s3"


def test_the_callers_region_is_asked_first_and_another_if_it_fails(both: Both) -> None:
    with database(lambda _: points(1)) as far, database(lambda _: (503, {"status": {"error": "no"}})) as near:
        regions = [{"url": far.url, "regions": ["NA"]}, {"url": near.url, "regions": ["EU"]}]
        with in_workerd(both.workerd, both.bundle, {"ENDPOINTS": json.dumps(regions)}) as worker:
            assert post(worker, "/similarity", PICTURES[0], littoral_region="NA").status == 200
            assert (len(far.questions), len(near.questions)) == (1, 0)
            assert post(worker, "/similarity", PICTURES[1], littoral_region="EU").status == 200
            assert (len(far.questions), len(near.questions)) == (2, 1)
            assert metric(worker, 'vector_db_error_total{reason="status_503"}') == 1
            assert metric(worker, "vector_db_hedge_total") == 1


def test_a_late_endpoint_is_hedged_once(both: Both) -> None:
    with database(lambda _: points(1), late_s=30) as slow, database(lambda _: points(2)) as quick:
        bindings = {"ENDPOINTS": endpoints(slow.url, quick.url, quick.url), "HEDGE_MS": "20"}
        with in_workerd(both.workerd, both.bundle, bindings) as worker:
            assert post(worker, "/similarity", PICTURES[0]).json["result"][0]["id"] == 2
            until(lambda: len(slow.questions) == 1)
            assert len(quick.questions) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_there_is_a_deadline(both: Both, count: int) -> None:
    with database(lambda _: points(1), late_s=30) as slow:
        bindings = {"ENDPOINTS": endpoints(*[slow.url] * count), "HEDGE_MS": "20", "DEADLINE_MS": "2000"}
        with in_workerd(both.workerd, both.bundle, bindings) as worker:
            reply = post(worker, "/similarity", PICTURES[0])
            assert (reply.status, reply.error) == (504, "vector database: no answer in 2000 ms")
            until(lambda: len(slow.questions) == 2)
            assert vector(worker, PICTURES[0]).any()


@pytest.mark.parametrize(
    ("status", "said", "asked", "message"),
    [
        (404, {"status": {"error": "no such collection"}}, 1, "answered 404: no such collection"),
        (500, {"status": {"error": "broken"}}, 2, "answered 500: broken"),
        (200, {"result": None}, 2, "answer without `result.points`"),
        (200, {"result": {"points": 7}}, 2, "answer without `result.points`"),
    ],
)
def test_a_bad_answer_is_told(both: Both, status: int, said: Any, asked: int, message: str) -> None:
    with database(lambda _: (status, said)) as broken:
        with in_workerd(both.workerd, both.bundle, {"ENDPOINTS": endpoints(broken.url)}) as worker:
            reply = post(worker, "/similarity", PICTURES[0])
        assert reply.status == 502
        assert message in reply.error
        assert len(broken.questions) == asked


def test_without_an_endpoint_it_says_so(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle) as worker:
        reply = post(worker, "/similarity", PICTURES[0])
        assert (reply.status, reply.error) == (503, "binding `ENDPOINTS` names no vector database")
        assert post(worker, "/embed", PICTURES[0]).status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINTS", "{"),
        ("ENDPOINTS", '[{"url": "ftp://x"}]'),
        ("DEADLINE_MS", "soon"),
        ("SIDE_MAX", "0"),
        ("TENANTS", '{"a": {"token": "short"}}'),
        ("ALLOW_ORIGINS", '"https://shop.example"'),
    ],
)
def test_a_wrong_binding_is_named(both: Both, name: str, value: str) -> None:
    with in_workerd(both.workerd, both.bundle, {name: value}) as worker:
        reply = post(worker, "/embed", PICTURES[0])
        assert reply.status == 500
        assert reply.error.startswith(f"binding `{name}` must be ")


def test_pages_of_allowed_origins_may_ask(both: Both) -> None:
    ours, other = {"Origin": "https://shop.example"}, {"Origin": "https://other.example"}
    with in_workerd(both.workerd, both.bundle, {"ALLOW_ORIGINS": '["https://shop.example"]'}) as worker:
        asked = send(worker.address, "OPTIONS", "/embed", headers=ours | {"Access-Control-Request-Method": "POST"})
        assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "POST")
        for data, status in ((PICTURES[0], 200), (b"no picture", 415)):
            replies = [send(worker.address, "POST", "/embed", data, TYPE | origin) for origin in (ours, other, {})]
            assert [reply.status for reply in replies] == [status] * 3
            allowed = [reply.headers.get("access-control-allow-origin") for reply in replies]
            assert allowed == ["https://shop.example", None, None]
    assert (
        "access-control-allow-origin"
        not in send(both.worker.address, "POST", "/embed", PICTURES[0], TYPE | ours).headers
    )


# --- caches and tenants ---


def cached(both: Both, qdrant: Database, **bindings: str) -> Any:
    return in_workerd(both.workerd, both.bundle, {"ENDPOINTS": endpoints(qdrant.url), **bindings})


def test_the_same_picture_has_the_same_answer_for_a_while(both: Both) -> None:
    with database(lambda _: points(1)) as qdrant, cached(both, qdrant) as worker:
        first, second = (post(worker, "/similarity", PICTURES[0]) for _ in range(2))
        assert [how(first)["cache"], how(second)["cache"]] == [None, "exact"]
        assert first.json["result"] == second.json["result"]
        assert len(qdrant.questions) == 1
        assert how(post(worker, "/similarity", PICTURES[0], cache_control="no-cache"))["cache"] is None
        assert how(post(worker, "/embed", PICTURES[0]))["cache"] == "embedding"
        assert how(post(worker, "/embed", PICTURES[1], cache_control="no-store"))["cache"] is None
        assert how(post(worker, "/embed", PICTURES[1]))["cache"] is None


def test_answers_are_not_kept_where_they_must_not_be(both: Both) -> None:
    with database(lambda _: points(1)) as qdrant, cached(both, qdrant, RESULT_TTL_S="0") as worker:
        found = [how(post(worker, "/similarity", PICTURES[0]))["cache"] for _ in range(2)]
        assert found == [None, "embedding"]
        assert len(qdrant.questions) == 2


TENANTS = {
    "acme": {"token": "acme-acme-acme-acme", "collection": "acme"},
    "other": {"token": "other-other-other-other", "filter": {"must": [{"key": "owner", "match": {"value": "other"}}]}},
}


def bearing(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {TENANTS[name]['token']}"}


def test_tenants_share_nothing(both: Both) -> None:
    def answer(question: Any) -> Any:
        return points(1 if question.path == "/collections/acme/points/query" else 2)

    with database(answer) as qdrant, cached(both, qdrant, TENANTS=json.dumps(TENANTS)) as worker:
        found = [post(worker, "/similarity", PICTURES[0], **bearing(name)) for name in ("acme", "other", "acme")]
        assert [reply.json["result"][0]["id"] for reply in found] == [1, 2, 1]
        assert [how(reply)["cache"] for reply in found] == [None, None, "exact"]
        assert qdrant.questions[1].body["filter"] == TENANTS["other"]["filter"]
        assert "filter" not in qdrant.questions[0].body
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "acme-acme-acme-acme"}):
            refused = post(worker, "/similarity", PICTURES[0], **header)
            assert (refused.status, refused.error) == (401, "no token of a tenant")


def test_embeddings_outlive_an_isolate_in_kv_each_tenants_apart(both: Both, tmp_path: Path) -> None:
    def asked(worker: Any, name: str) -> Reply:
        return post(worker, "/embed", PICTURES[0], **bearing(name), **OCTETS)

    tenants, expected = json.dumps(TENANTS), of_node(both.node, PICTURES[0]).tobytes()
    with in_miniflare(both.bundle, tmp_path, TENANTS=tenants) as worker:
        assert [how(asked(worker, name))["cache"] for name in ("acme", "other", "acme")] == [None, None, "embedding"]
        until(lambda: len(worker.keys()) == 2)
        keys = worker.keys()
        assert {key.split("/")[0] for key in keys} == {"acme", "other"}
        assert len({key.partition("/")[2] for key in keys}) == 1
    with in_miniflare(both.bundle, tmp_path, TENANTS=tenants) as worker:
        worker.keys(f"put {next(key for key in keys if key.startswith('other'))} damaged")
        found = [asked(worker, name) for name in ("acme", "other")]
        assert [how(reply)["cache"] for reply in found] == ["embedding", None]
        assert {reply.body for reply in found} == {expected}


def test_metrics_may_need_a_token(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle, {"METRICS_TOKEN": "t"}) as worker:
        assert send(worker.address, "GET", "/metrics").status == 401
        assert send(worker.address, "GET", "/metrics", headers={"Authorization": "Bearer t"}).status == 200


# --- two versions ---


def test_callers_are_shared_between_two_versions(both: Both, tmp_path: Path) -> None:
    for name, side in (("current", 1024), ("next", 100)):
        site = read_site(both.bundle.parent / "site.toml")
        write(dict(plan_workers(read_recipe(site, "similar"), Options(side_max=side)).files), tmp_path / name)

    def served(worker: Isolate, **headers: str) -> tuple[str, int]:
        reply = post(worker, "/embed", PICTURES[0], **headers)
        return reply.headers["littoral-switch"], reply.status

    for share, least, most in ((0, 0, 0), (30, 15, 45), (100, 100, 100)):
        with in_workerd(both.workerd, tmp_path / "next", {"SHARE": str(share)}, "switch.capnp") as worker:
            assert served(worker, littoral_version="current") == ("current", 200)
            assert served(worker, littoral_version="next") == ("next", 413)
            found = [served(worker, littoral_key=f"caller {i}")[0] for i in range(100)]
            assert least <= found.count("next") <= most
            assert found[:5] == [served(worker, littoral_key=f"caller {i}")[0] for i in range(5)]


# --- what an isolate can check of itself ---


@pytest.mark.parametrize("file", ["agent.wasm", "model.wasm"])
def test_another_module_than_the_bundles_is_noticed(both: Both, tmp_path: Path, file: str) -> None:
    for path in both.bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    wasm = (tmp_path / file).read_bytes()
    at = next(section for section in sections(wasm) if section.id == DATA).stop - 1
    (tmp_path / file).write_bytes(wasm[:at] + bytes([wasm[at] ^ 1]) + wasm[at + 1 :])
    with in_workerd(both.workerd, tmp_path) as worker:
        reply = post(worker, "/embed", PICTURES[0])
        assert reply.status == 503
        assert re.search(f"of the {file.removesuffix('.wasm')} `.*`: SHA-256 is ", reply.error)
        assert send(worker.address, "GET", "/healthz").status == 503
