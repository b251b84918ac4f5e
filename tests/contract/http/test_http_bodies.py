"""Bodies: bounded in bytes, in time and all together, compressed or not."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from http_app import LIMITS, App, asked, get, served
from raw_http import connect, read_reply, request
from waiting import until_async


async def test_a_body_up_to_the_limit_is_taken(app: App, address: str) -> None:
    body = bytes(range(250)) * 4
    assert (await asked(address, request("POST", "/echo", body))).body == body
    chunked = b"".join(b"%x\r\n%b\r\n" % (250, body[i : i + 250]) for i in range(0, 1000, 250)) + b"0\r\n\r\n"
    reply = await asked(address, request("POST", "/echo", chunked, {"Transfer-Encoding": "chunked"}))
    assert reply.body == body
    assert app.bodies == [body, body]


async def test_a_large_declared_body_is_refused_before_it_comes(app: App, address: str) -> None:
    reply = await asked(address, request("POST", "/echo", headers={"Content-Length": str(10**9)}))
    assert (reply.status, reply.error) == (413, "body has 1000000000 bytes, at most 1000")
    assert reply.headers["connection"] == "close"
    assert app.bodies == []


async def test_an_endless_body_is_cut_off(app: App, address: str) -> None:
    chunks = b"3e8\r\n" + bytes(1000) + b"\r\n1\r\n0\r\n"
    reply = await asked(address, request("POST", "/echo", chunks, {"Transfer-Encoding": "chunked"}))
    assert (reply.status, reply.error) == (413, "body has 1001 bytes and more, at most 1000")
    assert app.bodies == []


async def test_a_slow_body_is_not_waited_for(app: App, address: str) -> None:
    reply = await asked(address, request("POST", "/echo", b"ab", {"Content-Length": "5"}))
    assert (reply.status, reply.error) == (408, "body: 2 bytes came in 1.5 s, and not its end")
    assert app.bodies == []


async def test_all_bodies_together_have_a_limit(app: App) -> None:
    async with served(app, limits=LIMITS._replace(body_s=10, bodies_bytes_max=1500)) as address:
        with connect(address) as first:
            first.sendall(request("POST", "/echo", bytes(900), {"Content-Length": "1000"}))
            await until_async(lambda: app.router.busy_count == 1)
            reply = await asked(address, request("POST", "/echo", bytes(900)))
            assert (reply.status, reply.error) == (503, "bodies of all requests together have more than 1500 bytes")
            first.sendall(bytes(100))
            assert (await asyncio.to_thread(read_reply, first)).status == 200
        assert (await asked(address, request("POST", "/echo", bytes(900)))).status == 200


async def test_half_a_body_never_reaches_a_handler(app: App, address: str) -> None:
    await asked(address, request("POST", "/echo", b"ab", {"Content-Length": "5"}), half_close=True)
    assert app.bodies == []
    assert (await get(address, "/health")).status == 200


async def test_a_body_that_nobody_wants_does_not_hide_the_answer(address: str) -> None:
    assert (await asked(address, request("POST", "/nothing", bytes(1000)))).status == 404


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_decompressed(
    app: App, address: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    data = bytes(range(250)) * 4
    reply = await asked(address, request("POST", "/echo", compress(data), {"Content-Encoding": encoding}))
    assert (reply.status, app.bodies) == (200, [data])


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("br", b"x", 501, "body is encoded as `br` · hint: send it as gzip, deflate or as it is"),
        ("gzip", b"xyz", 400, "body is no gzip: "),
        ("deflate", zlib.compress(b"x" * 99)[:-2], 400, "body: deflate is cut off"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"more", 400, "body: gzip has 4 bytes behind its end"),
        ("gzip", gzip.compress(bytes(200_000), mtime=0), 413, "bytes when it is decompressed, at most "),
    ],
)
async def test_a_body_that_is_compressed_wrongly_or_too_well_is_refused(
    app: App, address: str, encoding: str, body: bytes, status: int, message: str
) -> None:
    reply = await asked(address, request("POST", "/echo", body, {"Content-Encoding": encoding}))
    assert reply.status == status
    assert message in reply.error
    assert app.bodies == []
