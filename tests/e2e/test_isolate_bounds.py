"""What an isolate may take, and what it must not be talked into: memory, slow bodies, other tenants' answers."""

import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bench.isolate_memory import damaged, mixed, sampled
from bench.isolated import compiled

from bundled import (
    OCTETS,
    PICTURES,
    TYPE,
    Both,
    bundled,
    endpoints,
    hostile,
    how,
    in_workerd,
    metric,
    of_node,
    post,
    vector,
)
from isolates import database, in_miniflare, points
from raw_http import connect, read_reply, request, send
from waiting import until

MIB = 1 << 20
BUFFERS_BYTES_MAX, CACHES_BYTES_MAX, GUESTS_BYTES_MAX = 16 * MIB, 6 * MIB, 24 * MIB
OWN_MB_MAX = 64


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with bundled() as found:
        yield found


# --- memory ---


def test_memory_is_bounded_under_pictures_of_all_kinds(both: Both) -> None:
    good = mixed(32)
    bad, rng = damaged(good[::8]), random.Random(1)
    with (
        database(lambda _: points(1, 2, 3)) as qdrant,
        in_workerd(
            both.workerd,
            both.bundle,
            {"ENDPOINTS": endpoints(qdrant.url)},
            compiled(both.workerd, both.bundle),
            is_inspected=True,
        ) as worker,
    ):

        def ask(data: bytes, statuses: set[int]) -> None:
            path = rng.choice(("/embed", "/similarity"))
            control = rng.choice(("no-store", "no-cache", "max-age=60"))
            headers = {"Content-Type": "application/octet-stream", "Cache-Control": control}
            assert send(worker.address, "POST", path, data, headers).status in statuses

        for data in good * 3:
            ask(data, {200})
        guests = metric(worker, "memory_bytes")
        for _ in range(300):
            if rng.random() < 0.2:
                ask(rng.choice(bad), {200, 413, 415, 422})
            else:
                ask(rng.choice(good), {200})
        assert metric(worker, "memory_bytes") <= min(1.1 * guests, GUESTS_BYTES_MAX)
        assert metric(worker, "body_buffer_bytes") <= BUFFERS_BYTES_MAX
        assert metric(worker, "cache_bytes") <= CACHES_BYTES_MAX
        assert metric(worker, "cold_start_total") == 1
        assert sampled(worker).own <= OWN_MB_MAX


def test_answers_that_are_kept_are_bounded_in_bytes(both: Both) -> None:
    payload = {"thumbnail": "x" * 300_000}
    with (
        database(lambda _: (200, {"result": {"points": [{"id": 1, "score": 1, "payload": payload}]}})) as qdrant,
        in_workerd(both.workerd, both.bundle, {"ENDPOINTS": endpoints(qdrant.url), "RESULT_TTL_S": "600"}) as worker,
    ):
        for data in PICTURES[:16]:
            assert post(worker, "/similarity", data).json["result"][0]["payload"] == payload
        assert 1 * MIB < metric(worker, "cache_bytes") <= CACHES_BYTES_MAX
        found = [how(post(worker, "/similarity", data))["cache"] for data in (PICTURES[15], PICTURES[0])]
        assert found == ["exact", "embedding"]


# --- bodies ---


def opened(address: str, declared: int, stack: ExitStack) -> socket.socket:
    """A request that has not sent its body yet."""
    connection = stack.enter_context(connect(address))
    head = request("POST", "/embed", b"", TYPE | {"Content-Length": str(declared)})
    connection.sendall(head + PICTURES[0][:100])
    return connection


def test_who_declares_much_and_sends_little_takes_little(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle) as worker, ExitStack() as stack:
        for _ in range(100):
            opened(worker.address, 4 * MIB, stack)
        until(lambda: metric(worker, "body_buffer_bytes") >= 100 * 65_536)
        assert metric(worker, "body_buffer_bytes") < 101 * 65_536
        assert vector(worker, PICTURES[1]).tobytes() == of_node(both.node, PICTURES[1]).tobytes()


def test_more_pictures_at_once_than_there_is_room_for_are_refused_and_the_room_comes_back(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle) as worker:
        with ExitStack() as stack:
            for _ in range(256):
                opened(worker.address, 4 * MIB, stack)
            until(lambda: metric(worker, "body_buffer_bytes") == BUFFERS_BYTES_MAX)
            refused = post(worker, "/embed", PICTURES[0])
            assert (refused.status, refused.error) == (503, "too many pictures at once")
            assert refused.headers["retry-after"] == "1"
        until(lambda: post(worker, "/embed", PICTURES[0]).status == 200)
        assert metric(worker, "body_buffer_bytes") <= BUFFERS_BYTES_MAX


def test_a_body_that_does_not_come_is_given_up(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle, {"BODY_DEADLINE_MS": "200"}) as worker:
        with ExitStack() as stack:
            reply = read_reply(opened(worker.address, 1000, stack))
        assert (reply.status, reply.error) == (408, "body did not come in 200 ms")
        until(lambda: post(worker, "/embed", PICTURES[0]).status == 200)


def test_a_body_without_a_length_grows_its_buffer_and_is_bounded(both: Both) -> None:
    chunked = TYPE | OCTETS | {"Transfer-Encoding": "chunked"}

    def asked(data: bytes) -> Any:
        pieces = (data[at : at + 50_000] for at in range(0, len(data), 50_000))
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return send(both.worker.address, "POST", "/embed", body, chunked)

    largest = max(mixed(16), key=len)
    assert len(largest) > 2 * MIB
    assert asked(largest).body == of_node(both.node, largest).tobytes()
    assert asked(bytes(5 * MIB)).status == 413
    assert asked(PICTURES[0]).body == of_node(both.node, PICTURES[0]).tobytes()


# --- hostile requests in another host of workerd ---


def test_hostile_requests_are_refused_under_miniflare_too(both: Both, tmp_path: Path) -> None:
    expected = of_node(both.node, PICTURES[1]).tobytes()
    with in_miniflare(both.bundle, tmp_path) as worker:
        cases = list(hostile())
        assert len(cases) >= 60
        for data, statuses in cases:
            with connect(worker.address) as connection:
                connection.sendall(data)
                reply = read_reply(connection)
            assert reply.status in statuses, (data[:200], reply)
            assert reply.status == 200 or reply.json["status"]["error"]
        after = post(worker, "/embed", PICTURES[1], Accept="application/octet-stream", Cache_Control="no-store")
        assert after.body == expected


# --- one tenant's answers and another's questions ---

NAMES = ["a", "A", "a/b", "b", "a/", "ä", "a\u0308", "a\nb", ".", "\u202ea", "ü" * 128, "constructor", "__proto__"]


def token_of(i: int) -> str:
    return f"token-of-tenant-{i}"


def bearing(i: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(i)}"}


def test_tenants_of_similar_names_share_nothing_in_kv(both: Both, tmp_path: Path) -> None:
    told = {name: {"token": token_of(i), "collection": "c", "name": "a"} for i, name in enumerate(NAMES)}
    with in_miniflare(both.bundle, tmp_path, TENANTS=json.dumps(told)) as worker:
        for _ in range(2):
            found = [how(post(worker, "/embed", PICTURES[0], **bearing(i)))["cache"] for i in range(len(NAMES))]
        assert found == ["embedding"] * len(NAMES)
        until(lambda: len(worker.keys()) == len(NAMES))
        keys = worker.keys()
        assert len({key[-129:] for key in keys}) == 1


def test_no_header_but_the_token_says_whose_a_request_is(both: Both) -> None:
    tenants = {name: {"token": token_of(i), "collection": name} for i, name in enumerate(("acme", "other"))}
    spoofs = [
        {"Littoral-Tenant": "acme"},
        {"X-Tenant": "acme"},
        {"Littoral-Key": token_of(0)},
        {"Cookie": f"Authorization=Bearer {token_of(0)}"},
    ]
    with (
        database(lambda question: points(1 if "/acme/" in question.path else 2)) as qdrant,
        in_workerd(
            both.workerd, both.bundle, {"ENDPOINTS": endpoints(qdrant.url), "TENANTS": json.dumps(tenants)}
        ) as worker,
    ):
        assert post(worker, "/similarity", PICTURES[0], **bearing(0)).json["result"][0]["id"] == 1
        for spoof in spoofs:
            reply = post(worker, "/similarity", PICTURES[0], **bearing(1), **spoof)
            assert reply.json["result"][0]["id"] == 2
            assert post(worker, "/similarity", PICTURES[0], **spoof).status == 401
        for wrong in (
            f"Bearer {token_of(0)}, Bearer {token_of(1)}",
            f"Bearer {token_of(0)} {token_of(1)}",
            f"Basic {token_of(0)}",
            f"Bearer {token_of(0)[:-1]}",
            f"Bearer {token_of(0)}0",
            "Bearer undefined",
            "Bearer ",
        ):
            assert post(worker, "/similarity", PICTURES[0], Authorization=wrong).status == 401


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANTS", "null"),
        ("TENANTS", "[]"),
        ("TENANTS", '{"": {"token": "token-of-tenant-0"}}'),
        ("TENANTS", '{"\\ud800": {"token": "token-of-tenant-0"}}'),
        ("TENANTS", json.dumps({"ü" * 129: {"token": token_of(0)}})),
        ("TENANTS", '{"a": {"token": "with a space in it"}}'),
        ("TENANTS", '{"a": {"token": "token-of-tenant-0", "collection": ".."}}'),
        ("TENANTS", '{"a": {"token": "token-of-tenant-0", "filter": "all"}}'),
        ("ENDPOINTS", '[{"url": "https://name:password@qdrant.example"}]'),
        ("ENDPOINTS", '[{"url": "https://qdrant.example/?a="}]'),
        ("ENDPOINTS", '[{"url": {}}]'),
        ("BODY_BYTES_MAX", "1024.5"),
    ],
)
def test_a_binding_that_would_open_more_than_meant_is_refused(both: Both, name: str, value: str) -> None:
    with in_workerd(both.workerd, both.bundle, {name: value}) as worker:
        reply = post(worker, "/embed", PICTURES[0])
        assert (reply.status, reply.error.startswith(f"binding `{name}` must be ")) == (500, True)


def test_no_store_is_meant_whatever_its_letters(both: Both) -> None:
    with in_workerd(both.workerd, both.bundle) as worker:
        found = [how(post(worker, "/embed", PICTURES[0], Cache_Control="No-Store"))["cache"] for _ in range(2)]
        assert found == [None, None]
        assert metric(worker, "cache_bytes") == 0


# --- vector databases that are not what they should be ---


@contextmanager
def redirecting(to: str) -> Iterator[str]:
    """Every question to the same path there."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("Location", to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_key_does_not_follow_a_redirect(both: Both) -> None:
    with database(lambda _: points(1)) as elsewhere, redirecting(elsewhere.url) as url:
        bindings = {"ENDPOINTS": endpoints(url), "QDRANT_API_KEY": "secret"}
        with in_workerd(both.workerd, both.bundle, bindings) as worker:
            reply = post(worker, "/similarity", PICTURES[0])
        assert (reply.status, elsewhere.questions) == (502, [])
        assert "answered 307" in reply.error


def test_an_answer_without_end_is_cut_off(both: Both) -> None:
    payload = {"text": "x" * 1_500_000}
    with (
        database(lambda _: (200, {"result": {"points": [{"id": 1, "score": 1, "payload": payload}]}})) as large,
        in_workerd(both.workerd, both.bundle, {"ENDPOINTS": endpoints(large.url)}) as worker,
    ):
        reply = post(worker, "/similarity", PICTURES[0])
        assert (reply.status, reply.error) == (502, "vector database: answer over 1048576 bytes")
        assert len(large.questions) == 1
