"""Attacks by way of a visitor's browser: names of others for this node, pages of others, sessions of others."""

import asyncio
import http.client
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guarded_app import PATHS, Guarded, guarded
from littoral.node.access.roles import Role
from littoral.web.access.sessions import COOKIE, SESSION_COUNT_MAX, SESSION_S, Sessions
from littoral.web.access.tokens import read_tokens, without
from mesh_site import MovedClock

FOREIGN = "https://evil.example"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as found:
        yield found


@pytest.fixture
async def unguarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    """As a node at loopback is by default."""
    async with guarded(tmp_path, asks_tokens=False) as found:
        yield found


async def log_in(node: Guarded, *roles: Role) -> str:
    """The cookie of a session, as a browser sends it."""
    reply = await node.ask("POST", "/api/session", b'{"token": "%s"}' % node.token(*roles).encode())
    assert reply.status == 200, reply.body
    return reply.headers["set-cookie"].partition(";")[0]


# DNS rebinding: a page at evil.example, whose name now leads to 127.0.0.1, is of the same origin as this node


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8642",
        "EVIL.example.",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "gw-1.shop.example.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#.localhost ",
        "",
        ":8642",
        "[::1].evil.example",
        "a" * 5000,
    ],
)
@pytest.mark.parametrize("need", ["open", "read", "admin"])
async def test_a_name_of_somebody_else_is_refused(unguarded: Guarded, need: str, host: str) -> None:
    """Also with an origin that agrees with it, as a browser sends then."""
    for more in ({}, {"Origin": f"http://{host}"}):
        reply = await unguarded.send(need, Host=host, **more)
        assert reply.status == 403, host
    assert unguarded.reached == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8642",
        "[::1]:8642",
        "localhost",
        "a.localhost:1",
        "10.0.0.7",
        "gw-1",
        "gw-1.shop.example:80",
        "GW-1.shop.example.",
    ],
)
async def test_names_and_addresses_of_its_own_are_answered(unguarded: Guarded, host: str) -> None:
    assert (await unguarded.send("read", Host=host)).status == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host", "X-HTTP-Host-Override"]
)
async def test_no_other_header_is_taken_for_the_host(unguarded: Guarded, header: str) -> None:
    shown = "host=127.0.0.1" if header == "Forwarded" else "127.0.0.1"
    assert (await unguarded.send("read", **{"Host": "evil.example", header: shown})).status == 403


# pages of other sites


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1:1", "http://node.evil.example"])
@pytest.mark.parametrize("need", ["infer", "write", "admin"])
async def test_a_page_of_another_site_writes_nothing(unguarded: Guarded, need: str, origin: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = await unguarded.send(need, b"{}", Origin=origin, **{"Content-Type": kind})
        assert reply.status == 403
    assert unguarded.reached == []


async def test_a_page_of_another_site_reads_nothing(unguarded: Guarded) -> None:
    """No answer lets it, whatever it asks for leave."""
    asked = {"Origin": FOREIGN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "api-key"}
    for method, path in PATHS.values():
        reply = await unguarded.ask("OPTIONS", path, headers=asked)
        assert reply.status in (404, 405)
        read = await unguarded.ask(method, path, headers={"Origin": FOREIGN})
        for answer in (reply, read):
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_page_of_another_site_opens_no_socket(unguarded: Guarded) -> None:
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    handshake["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    for origin in (FOREIGN, "null", "http://node.evil.example"):
        reply = await unguarded.ask("GET", "/pipelines/p/stream", headers=handshake | {"Origin": origin})
        assert reply.status == 403
    assert unguarded.reached == []


# method tricks


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"])
async def test_no_header_changes_the_method(node: Guarded, header: str) -> None:
    token = node.token(Role.READ)
    for method in ("PUT", "POST", "DELETE"):
        reply = await node.ask("GET", "/api/collections", headers={"api-key": token, header: method})
        assert (reply.status, reply.json) == (200, "read")
        reply = await node.ask("GET", "/api/mesh/changes", headers={"api-key": token, header: method})
        assert reply.status == 405
    assert "admin" not in node.reached


@pytest.mark.parametrize("method", ["post", "PoSt", "TRACE", "TRACK", "CONNECT", "PROPFIND", "X"])
async def test_no_other_method_gets_past_the_table(node: Guarded, method: str) -> None:
    reply = await node.ask(method, "/api/mesh/changes", headers={"api-key": node.token(Role.READ)})
    assert reply.status in (400, 403, 405)
    assert node.reached == []


async def test_head_needs_what_get_needs(node: Guarded) -> None:
    def head() -> int:
        connection = http.client.HTTPConnection(node.address, timeout=60)
        connection.request("HEAD", "/api/collections")
        status = connection.getresponse().status
        connection.close()
        return status

    assert await asyncio.to_thread(head) == 401


@pytest.mark.parametrize(
    "path",
    [
        "//api/mesh/changes",
        "/api//mesh/changes",
        "/api/./mesh/changes",
        "/api/x/../mesh/changes",
        "/livez/../api/mesh/changes",
        "/api/mesh/changes/",
        "/API/mesh/changes",
        "/api/mesh/changes;x",
        "/%2e/api/mesh/changes",
        "/assets/..%2fapi/mesh/changes",
    ],
)
async def test_no_other_way_of_writing_a_path_gets_past_the_table(node: Guarded, path: str) -> None:
    assert (await node.ask("POST", path)).status in (400, 401, 404)
    assert node.reached == []


# sessions of pages


async def test_a_session_reads_and_its_page_writes(node: Guarded) -> None:
    cookie = await log_in(node, Role.WRITE)
    assert (await node.send("read", Cookie=f"other=1; {cookie}")).status == 200
    own = {"Host": node.address, "Origin": f"http://{node.address}"}
    assert (await node.send("write", b"{}", Cookie=cookie, **own)).status == 200
    assert (await node.send("write", b"{}", Cookie=cookie, **{"Sec-Fetch-Site": "same-origin"})).status == 200
    assert (await node.send("admin", b"{}", Cookie=cookie, **own)).status == 403
    told = await node.ask("GET", "/api/session", headers={"Cookie": cookie})
    assert told.json == {"is_needed": True, "name": "till", "roles": ["write"], "tenant": ""}


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(node: Guarded) -> None:
    reply = await node.ask("POST", "/api/session", b'{"token": "%s"}' % node.token(Role.READ).encode())
    said = reply.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_S}"} <= set(said)
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": FOREIGN},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "http://node/"},
    ],
)
@pytest.mark.parametrize("need", ["infer", "write", "admin"])
async def test_a_cookie_alone_writes_nothing(node: Guarded, need: str, headers: dict[str, str]) -> None:
    """As it would go along with a form of another site, if a browser let it."""
    cookie = await log_in(node, Role.ADMIN)
    assert (await node.send(need, b"{}", Cookie=cookie, **headers)).status == 403
    assert node.reached == []


async def test_a_cookie_alone_opens_no_socket(node: Guarded) -> None:
    cookie = await log_in(node, Role.ADMIN)
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Cookie": cookie}
    handshake["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    assert (await node.ask("GET", "/pipelines/p/stream", headers=handshake)).status == 403
    own = handshake | {"Host": node.address, "Origin": f"http://{node.address}"}
    assert (await node.ask("GET", "/pipelines/p/stream", headers=own)).status == 101
    assert node.reached == ["socket"]


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE}=",
        f"{COOKIE}={'A' * 43}",
        f"{COOKIE}=../../x",
        f"{COOKIE}=\xff",
        "littoral_sessionx=1",
        "=",
        ";" * 500,
    ],
)
async def test_a_session_of_ones_own_making_is_none(node: Guarded, cookie: str) -> None:
    await log_in(node, Role.ADMIN)
    assert (await node.send("read", Cookie=cookie)).status == 401


async def test_a_session_ends_with_its_token_with_time_and_when_told(node: Guarded) -> None:
    cookie = await log_in(node, Role.READ)
    node.write(without(read_tokens(node.file), "till")[0])
    assert (await node.send("read", Cookie=cookie)).status == 401
    cookie = await log_in(node, Role.READ)
    ended = await node.ask("DELETE", "/api/session", headers={"Cookie": cookie})
    assert "Max-Age=0" in ended.headers["set-cookie"]
    assert (await node.send("read", Cookie=cookie)).status == 401
    cookie = await log_in(node, Role.READ)
    node.clock.move(SESSION_S)
    assert (await node.send("read", Cookie=cookie)).status == 401


async def test_a_page_of_another_site_logs_nobody_in(node: Guarded) -> None:
    token = node.token(Role.ADMIN)
    reply = await node.ask("POST", "/api/session", b'{"token": "%s"}' % token.encode(), {"Origin": FOREIGN})
    assert (reply.status, "set-cookie" in reply.headers) == (403, False)


def test_sessions_are_bounded() -> None:
    sessions = Sessions(MovedClock())
    first = sessions.begin("0" * 12)
    for _ in range(SESSION_COUNT_MAX):
        sessions.begin("1" * 12)
    assert sessions.token_id(first) == ""


async def test_a_page_that_asks_while_nobody_is_logged_in_is_told_so(node: Guarded, unguarded: Guarded) -> None:
    assert (await node.ask("GET", "/api/session")).json == {"is_needed": True, "name": None, "roles": [], "tenant": ""}
    assert (await unguarded.ask("GET", "/api/session")).json == {
        "is_needed": False,
        "name": None,
        "roles": [],
        "tenant": "",
    }
    assert (await unguarded.ask("POST", "/api/session", b'{"token": "x"}')).status == 404


async def test_many_at_once_are_answered_alike(node: Guarded) -> None:
    token = node.token(Role.READ)
    replies = await asyncio.gather(
        *(node.send("read", **({"api-key": token} if number % 2 else {})) for number in range(20))
    )
    assert [reply.status for reply in replies] == [401, 200] * 10
