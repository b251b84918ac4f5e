"""What goes on ends with the token or session that began it, within two seconds; what others began does not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from guarded_app import Guarded, guarded
from littoral.node.access.roles import Role
from littoral.web.access.sessions import SESSION_S
from littoral.web.access.tokens import new_token, read_tokens, without
from raw_http import connect, request
from waiting import until_async

SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
EVENTS, STREAM = "/api/events", "/pipelines/p/stream"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as found:
        yield found


class Open:
    """A stream that goes on: its connection, and what came until it was looked at."""

    def __init__(self, node: Guarded, path: str, headers: Mapping[str, str]) -> None:
        self._connection = connect(node.address)
        self._connection.sendall(request("GET", path, b"", {**headers, **(SOCKET if path == STREAM else {})}))
        self.data = self._connection.recv(1 << 16)
        assert self.data.split(b" ")[1] in (b"200", b"101"), self.data

    def to_end(self) -> bytes:
        """What comes until the node closes it."""
        while more := self._more():
            self.data += more
        self._connection.close()
        return self.data

    def goes_on(self) -> bool:
        """Whether events, or an answer to a ping, still come."""
        if b" 101 " in self.data.partition(b"\r\n")[0]:
            self._connection.sendall(b"\x89\x84\0\0\0\0ping")
        more = self._more()
        self._connection.close()
        return bool(more)

    def _more(self) -> bytes:
        try:
            return self._connection.recv(1 << 16)
        except ConnectionResetError:
            return b""


async def opened(node: Guarded, path: str, **headers: str) -> Open:
    return await asyncio.to_thread(Open, node, path, headers)


def revoke(node: Guarded) -> None:
    node.write(without(read_tokens(node.file), "till")[0])


def expire(node: Guarded) -> None:
    node.clock.move(100.0)


def lessen(node: Guarded) -> None:
    """The file is written by hand: the same token, other roles."""
    kept = [one for one in read_tokens(node.file) if one.name != "till"]
    _, other = new_token("till", [Role.WRITE], node.clock.wall())
    (one,) = (one for one in read_tokens(node.file) if one.name == "till")
    node.write([*kept, type(one)(one.id, one.name, other.roles, one.sha256, one.made_at_s)])


ENDS: Mapping[str, Callable[[Guarded], None]] = {"revoked": revoke, "expired": expire, "other roles": lessen}


@pytest.mark.parametrize("path", [EVENTS, STREAM])
@pytest.mark.parametrize("end", ENDS)
async def test_what_is_open_ends_with_its_token(node: Guarded, path: str, end: str) -> None:
    own = node.token(Role.ADMIN, life_s=50.0)
    other = node.token(Role.ADMIN, name="other")
    ending, staying = await opened(node, path, **{"api-key": own}), await opened(node, path, **{"api-key": other})
    ENDS[end](node)
    data = await asyncio.to_thread(ending.to_end)
    if path == STREAM:
        assert data[-60:].find((1008).to_bytes(2, "big")) > 0, "the close frame says why: a policy"
    else:
        assert not data.endswith(b"0\r\n\r\n"), "a stream that was cut off does not look whole"
    assert await asyncio.to_thread(staying.goes_on)
    counts = {reading.labels[0]: reading.value for reading in node.access.readings()}
    assert counts["ended"] == 1


@pytest.mark.parametrize("path", [EVENTS, STREAM])
@pytest.mark.parametrize("way", ["logged out", "too old"])
async def test_what_a_page_opened_ends_with_its_session(node: Guarded, path: str, way: str) -> None:
    body = b'{"token": "%s"}' % node.token(Role.ADMIN).encode()
    cookie = (await node.ask("POST", "/api/session", body)).headers["set-cookie"].partition(";")[0]
    own = {"Cookie": cookie, "Host": node.address, "Origin": f"http://{node.address}"}
    ending = await opened(node, path, **own)
    if way == "too old":
        node.clock.move(SESSION_S)
    else:
        assert (await node.ask("DELETE", "/api/session", headers=own)).status == 200
    assert await asyncio.to_thread(ending.to_end)


async def test_who_takes_nothing_is_cut_off_too(node: Guarded) -> None:
    """What waits in the node for a caller that does not read is not for it any more."""
    connection = connect(node.address)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    token = node.token(Role.ADMIN)
    await asyncio.to_thread(connection.sendall, request("GET", EVENTS, b"", {"api-key": token}))
    await until_async(lambda: node.events.listener_count == 1)
    for _ in range(200):
        node.events.tell("request", "x" * 16_384)
    revoke(node)
    await until_async(lambda: node.events.listener_count == 0)
    connection.close()


async def test_without_tokens_nothing_ends(tmp_path: Path) -> None:
    async with guarded(tmp_path, asks_tokens=False) as node:
        open_one = await opened(node, EVENTS)
        expire(node)
        assert await asyncio.to_thread(open_one.goes_on)
