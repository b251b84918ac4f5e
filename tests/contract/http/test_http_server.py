"""What every handler can rely on: bounds on bytes, time and number, errors that become answers, an orderly end."""

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest

from http_app import LIMITS, App, asked, get, served
from littoral.clock import SYSTEM
from littoral.errors import (
    AgentError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    FullDiskError,
    InputError,
    LittoralError,
    MemoryCapError,
    NotFoundError,
    NotOfferedError,
    PeerError,
    SettingError,
    ShardError,
    SlowRequestError,
    TooLargeError,
    TrapError,
    UnavailableError,
)
from littoral.web import (
    Origins,
    Protocol,
    Route,
    Router,
    serving,
)
from raw_http import NOTHING, connect, read_reply, request
from waiting import until_async

END_S_MAX = 30.0


async def test_it_says_which_port_it_has(address: str) -> None:
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert (await get(address, "/health")).json == "one"


async def test_a_port_that_is_taken_is_said_by_name(app: App, address: str) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(SettingError, match=rf"address `127\.0\.0\.1:{port}` cannot be listened at: Address already in"):
        async with serving(app.router, host="127.0.0.1", port=port):
            pytest.fail("two servers on one port")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
async def test_an_address_that_is_not_ours_is_a_wrong_setting(app: App, host: str) -> None:
    with pytest.raises(SettingError, match="cannot be listened at"):
        async with serving(app.router, host=host, port=0):
            pytest.fail("it serves")


async def test_every_answer_is_guarded(address: str) -> None:
    for path in ("/health", "/fail", "/nothing"):
        headers = (await get(address, path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "littoral"


# --- connections ---


@pytest.mark.parametrize("said", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: a\r\n"])
async def test_who_does_not_finish_a_head_is_hung_up_on(address: str, said: bytes) -> None:
    assert await asked(address, said) == NOTHING


async def test_silent_connections_do_not_keep_others_out(app: App) -> None:
    async with served(app, limits=LIMITS._replace(connection_count_max=20)) as address:
        silent = [connect(address) for _ in range(40)]
        try:
            assert (await get(address, "/health")).status == 200
        finally:
            for connection in silent:
                connection.close()


async def test_two_requests_on_one_connection(address: str) -> None:
    def twice() -> list[int]:
        with connect(address) as connection:
            found = []
            for _ in range(2):
                connection.sendall(request("GET", "/health"))
                found.append(read_reply(connection).status)
            return found

    assert await asyncio.to_thread(twice) == [200, 200]


# --- routes ---


async def test_names_in_a_path_reach_the_handler(address: str) -> None:
    assert (await get(address, "/things/a%20b?x=1&y=")).json == {"name": "a b", "query": {"x": "1", "y": ""}}
    assert (await get(address, "/things/one")).json == "one"


async def test_another_method_is_told_which_there_are(address: str) -> None:
    reply = await asked(address, request("DELETE", "/things/one"))
    assert (reply.status, reply.headers["allow"]) == (405, "GET, PUT")
    assert reply.json == {"status": {"error": "`/things/one` takes GET, PUT, not DELETE"}}
    assert (await asked(address, request("PUT", "/things/one"))).json == {"name": "one", "query": {}}


async def test_a_head_is_a_get_without_a_body(address: str) -> None:
    reply = await asked(address, request("HEAD", "/health") + b"")
    assert (reply.status, reply.body) == (200, b"")


async def test_an_unknown_path_has_the_shape_of_its_neighbours(address: str) -> None:
    assert (await get(address, "/nothing/here")).json == {"error": "nothing at `/nothing/here`"}
    assert (await get(address, "/things/a/b")).json == {"status": {"error": "nothing at `/things/a/b`"}}
    assert (await get(address, "/thingsx")).json == {"error": "nothing at `/thingsx`"}


async def test_too_many_query_fields_are_refused(address: str) -> None:
    assert (await get(address, "/things/x?" + "a=1&" * 65)).status == 400


async def test_a_page_from_elsewhere_cannot_write(address: str) -> None:
    foreign = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    reply = await asked(address, request("PUT", "/things/x", b"1", foreign))
    assert (reply.status, reply.error) == (403, "requests that write are not taken from pages of another origin")
    assert (await asked(address, request("PUT", "/things/x", headers={"Origin": "http://node"}))).status == 200
    assert (await get(address, "/things/x", Origin="http://evil.example")).status == 200


async def test_a_page_that_the_site_names_may_ask(app: App) -> None:
    shop = "https://shop.example"
    router = Router([Protocol((), [Route("PUT", "/things/{name}", app.named)])], origins=Origins([shop]))
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    async with serving(router, host="127.0.0.1", port=0) as server:
        allowed = await asked(server.address, request("OPTIONS", "/things/x", headers={"Origin": shop, **asks}))
        assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (204, shop)
        assert "PUT" in allowed.headers["access-control-allow-methods"]
        assert allowed.headers["access-control-allow-headers"] == "content-type"
        written = await asked(server.address, request("PUT", "/things/x", b"1", {"Origin": shop}))
        assert (written.status, written.headers["access-control-allow-origin"]) == (200, shop)
        for other in ("https://evil.example", "http://shop.example", "null"):
            refused = await asked(server.address, request("OPTIONS", "/things/x", headers={"Origin": other, **asks}))
            assert (refused.status, "access-control-allow-origin" in refused.headers) == (405, False)
            assert (await asked(server.address, request("PUT", "/things/x", b"1", {"Origin": other}))).status == 403


async def test_what_was_answered_is_told(app: App, address: str) -> None:
    await get(address, "/things/x")
    await get(address, "/nothing/here/x")
    assert [(seen.method, seen.route, seen.status) for seen in app.seen] == [
        ("GET", "/things/{name}", 200),
        ("GET", "unknown", 404),
    ]


# --- errors ---

STATUSES: list[tuple[Exception, int]] = [
    (InputError("x"), 400),
    (ForbiddenError("x"), 403),
    (NotFoundError("x"), 404),
    (SlowRequestError("x"), 408),
    (ConflictError("x"), 409),
    (TooLargeError("x"), 413),
    (NotOfferedError("x"), 501),
    (UnavailableError("x"), 503),
    (DeadlineError("x"), 504),
    (PeerError("x"), 502),
    (ShardError("x"), 500),
    (FullDiskError("x"), 507),
    (TrapError("x", code="unreachable"), 500),
    (MemoryCapError("x"), 500),
    (SettingError("x"), 500),
    (AgentError("x", number=-1), 422),
    (AgentError("x", number=-2), 413),
    (AgentError("x", number=-3), 422),
    (AgentError("x", number=-4), 500),
    (AgentError("x", number=-7), 500),
    (AgentError("x", number=-100), 422),
]


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: type(value).__name__)
async def test_every_error_has_its_status(app: App, address: str, error: Exception, status: int) -> None:
    app.error = error
    reply = await get(address, "/fail")
    assert (reply.status, reply.json) == (status, {"error": "x"})
    assert ("retry-after" in reply.headers) == (status == 503)


async def test_a_hint_reaches_the_caller(app: App, address: str) -> None:
    app.error = LittoralError("this is wrong", hint="do that")
    assert (await get(address, "/fail")).error == "this is wrong · hint: do that"


async def test_what_nobody_expected_is_in_the_log_only(
    app: App, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.error = ZeroDivisionError("the secret")
    with caplog.at_level(logging.ERROR, "littoral.web"):
        reply = await get(address, "/fail")
    assert reply.status == 500
    assert "secret" not in reply.error
    number = reply.error.split("`")[1]
    (record,) = caplog.records
    assert number in record.getMessage()
    assert "the secret" in str(record.exc_info)


# --- many at a time ---


async def test_more_than_it_can_carry_is_refused_at_once(app: App, address: str) -> None:
    running = [asyncio.create_task(get(address, "/wait")) for _ in range(2)]
    await until_async(lambda: app.waiting == 2)
    reply = await get(address, "/things/x")
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.error == "2 requests are being answered, which is the most · hint: try again"
    assert (await get(address, "/health")).status == 200
    app.release.set()
    assert [reply.status for reply in await asyncio.gather(*running)] == [200, 200]
    assert (await get(address, "/things/x")).status == 200


# --- events ---


def listening(address: str) -> socket.socket:
    connection = connect(address)
    connection.sendall(request("GET", "/events"))
    return connection


def received(connection: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data and (more := connection.recv(1 << 16)):
        data += more
    return data


async def test_events_come_as_they_happen(app: App, address: str) -> None:
    with listening(address) as listener:
        assert b"text/event-stream" in await asyncio.to_thread(received, listener, b": connected")
        app.events.tell("request", {"name": "one\ntwo", "ok": True})
        assert b'event: request\ndata: {"name":"one\\ntwo","ok":true}\n\n' in await asyncio.to_thread(
            received, listener, b"true}"
        )
        assert app.events.listener_count == 1


async def test_who_leaves_is_forgotten(app: App, address: str) -> None:
    listener = listening(address)
    await asyncio.to_thread(received, listener, b": connected")
    listener.close()

    def is_gone() -> bool:
        app.events.tell("request", 1)
        return app.events.listener_count == 0

    await until_async(is_gone)


async def test_listeners_are_counted(app: App, address: str) -> None:
    listeners = [listening(address) for _ in range(2)]
    try:
        for listener in listeners:
            await asyncio.to_thread(received, listener, b": connected")
        reply = await get(address, "/events")
        assert (reply.status, reply.error) == (503, "2 listeners are there, which is the most")
    finally:
        for listener in listeners:
            listener.close()


async def test_a_slow_listener_loses_the_oldest(app: App) -> None:
    stream = app.events.stream()
    chunks = aiter(stream.chunks)
    assert await anext(chunks) == b": connected\n\n"
    for i in range(5):
        app.events.tell("request", i)
    assert await anext(chunks) == b"".join(b"event: request\ndata: %d\n\n" % i for i in (2, 3, 4))
    assert app.events.dropped_count == 2
    await stream.chunks.aclose()  # type: ignore[attr-defined]
    assert app.events.listener_count == 0


# --- the end ---


async def test_at_the_end_running_requests_get_their_answers(app: App) -> None:
    async with served(app) as address:
        running = asyncio.create_task(get(address, "/wait"))
        await until_async(lambda: app.waiting == 1)
        asyncio.get_running_loop().call_later(0.2, app.release.set)
    assert (await running).json == "waited"


async def test_the_end_waits_for_nobody_for_long(app: App) -> None:
    async with served(app, grace_s=0.3) as address:
        running = asyncio.create_task(get(address, "/wait"))
        idle = connect(address)
        listener = listening(address)
        await until_async(lambda: app.waiting == app.events.listener_count == 1)
        began = SYSTEM.monotonic()
    assert SYSTEM.monotonic() - began < END_S_MAX
    reply = await running
    assert (reply.status, reply.error) == (503, "the node is stopping")
    assert app.waiting == app.events.listener_count == 0
    for connection in (idle, listener):
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        connect(address)


async def test_new_connections_are_refused_while_it_ends(app: App) -> None:
    refused: list[type[Exception]] = []

    def try_it(address: str) -> None:
        try:
            connect(address).close()
        except OSError as error:
            refused.append(type(error))
            app.release.set()

    async with served(app) as address:
        running = asyncio.create_task(get(address, "/wait"))
        await until_async(lambda: app.waiting == 1)
        trying = asyncio.create_task(until_async_trying(lambda: try_it(address), refused))
    await trying
    assert refused[0] is ConnectionRefusedError
    assert (await running).status == 200


async def until_async_trying(attempt: Callable[[], None], refused: list[type[Exception]]) -> None:
    def is_refused() -> bool:
        attempt()
        return bool(refused)

    await until_async(is_refused)
