"""Attacks on the HTTP of a real node, by kind, over sockets of their own: each is refused, and the node serves on.

What else is attacked: tokens in `test_token_attacks`, pages in `test_page_attacks`, WebSockets in
`test_socket_attacks`, TLS in `http/test_handshake_floods`, gRPC in `test_grpc_attacks`.
"""

import contextlib
import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from littoral import settings
from littoral.node.access.roles import Role
from littoral.web import Limits
from littoral.web.access.tokens import new_token, write_tokens
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from raw_http import ask, connect, request
from supervised import short_folder

LIMITS = Limits(
    body_bytes_max=1 << 16, body_s=4.0, header_s=3.0, header_bytes_max=16 << 10, stalled_s=2.0, connection_count_max=32
)
RUN = "/pipelines/double"
POINTS = "/collections/frames/points"
CANARY = "/assets/canary"
SMUGGLED = f"GET {CANARY} HTTP/1.1\r\nHost: node\r\n\r\n".encode()
REPLY_S = 30.0


class Target(NamedTuple):
    served: Served
    admin: str
    reader: str

    @property
    def address(self) -> str:
        return self.served.address


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        admin, kept_admin = new_token("admin", [Role.ADMIN], time.time())
        reader, kept_reader = new_token("reader", [Role.READ], time.time())
        write_tokens(folder / "tokens.json", [kept_admin, kept_reader])
        site = write_site(folder, SITE + DOUBLE + "\n[auth]\n")
        with node_in_thread(folder, site=site, limits=LIMITS) as served:
            yield Target(served, admin, reader)


class Got(NamedTuple):
    """statuses: of all answers on one connection, in their order. is_closed: by the node."""

    statuses: Sequence[int]
    data: bytes
    is_closed: bool


def talk(target: Target, *parts: bytes, pause_s: float = 0.0) -> Got:
    """Sends the parts, with pauses between them, and takes what comes until the node closes or says nothing more."""
    with connect(target.address, REPLY_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, is_closed = b"", False
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
                if pause_s:
                    time.sleep(pause_s)
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(1 << 16):
                data += more
        is_closed = True
    return Got([int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)], data, is_closed)


LENGTH = "Content-Length: {}"


def head(method: str, path: str, *lines: str, host: str = "node") -> bytes:
    """As the attack wants it, not as HTTP does."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def with_token(token: str, *lines: str) -> tuple[str, ...]:
    return (f"api-key: {token}", *lines)


# --- smuggling: two readers that see other borders between requests ---

CHUNKED = "Transfer-Encoding: chunked"
SMUGGLING: Mapping[str, bytes] = {
    "CL.TE": head("POST", RUN, "Content-Length: 6", CHUNKED) + b"0\r\n\r\n" + SMUGGLED,
    "TE.CL": head("POST", RUN, CHUNKED, "Content-Length: 4") + b"5c\r\n" + SMUGGLED + b"0\r\n\r\n",
    "CL.CL, other values": head("POST", RUN, "Content-Length: 0", "Content-Length: 60") + SMUGGLED,
    "CL.CL, the same value": head("POST", RUN, "Content-Length: 0", "Content-Length: 0") + SMUGGLED,
    "CL as a list": head("POST", RUN, "Content-Length: 0, 60") + SMUGGLED,
    "CL with a sign": head("POST", RUN, "Content-Length: +0") + SMUGGLED,
    "CL in hexadecimal": head("POST", RUN, "Content-Length: 0x00") + SMUGGLED,
    "CL with an underscore": head("POST", RUN, "Content-Length: 0_0") + SMUGGLED,
    "CL beyond 64 bits": head("POST", RUN, "Content-Length: 18446744073709551616") + SMUGGLED,
    "CL in digits of another script": head("POST", RUN, "Content-Length: \xb2") + SMUGGLED,
    "CL empty": head("POST", RUN, "Content-Length:") + SMUGGLED,
    "TE.TE, identity last": head("POST", RUN, CHUNKED, "Transfer-Encoding: identity") + b"0\r\n\r\n" + SMUGGLED,
    "TE.TE, chunked twice": head("POST", RUN, CHUNKED, CHUNKED) + b"0\r\n\r\n" + SMUGGLED,
    "TE chunked, chunked": head("POST", RUN, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "TE gzip, chunked": head("POST", RUN, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "TE xchunked": head("POST", RUN, "Transfer-Encoding: xchunked", "Content-Length: 0") + SMUGGLED,
    "TE with a vertical tab": head("POST", RUN, "Transfer-Encoding:\x0bchunked", "Content-Length: 0") + SMUGGLED,
    "TE quoted": head("POST", RUN, 'Transfer-Encoding: "chunked"', "Content-Length: 0") + SMUGGLED,
    "TE folded": head("POST", RUN, "Transfer-Encoding:", " chunked") + b"0\r\n\r\n" + SMUGGLED,
    "TE before a space": head("POST", RUN, "Transfer-Encoding : chunked", "Content-Length: 0") + SMUGGLED,
    "TE behind a NUL": head("POST", RUN, "\0Transfer-Encoding: chunked", "Content-Length: 0") + SMUGGLED,
    "TE in HTTP/1.0": b"POST " + RUN.encode() + b" HTTP/1.0\r\nHost: node\r\nConnection: keep-alive\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a size of a chunk with spaces": head("POST", RUN, CHUNKED) + b"0 0\r\n\r\n" + SMUGGLED,
    "a size of a chunk with a sign": head("POST", RUN, CHUNKED) + b"+0\r\n\r\n" + SMUGGLED,
    "a size of a chunk in 0x": head("POST", RUN, CHUNKED) + b"0x0\r\n\r\n" + SMUGGLED,
    "a size of a chunk beyond 64 bits": head("POST", RUN, CHUNKED) + b"10000000000000000\r\n\r\n" + SMUGGLED,
    "a chunk ended by LF": head("POST", RUN, CHUNKED) + b"1\r\na\n0\r\n\r\n" + SMUGGLED,
    "a size of a chunk ended by LF": head("POST", RUN, CHUNKED) + b"0\n\n" + SMUGGLED,
    "an extension of a chunk with LF": head("POST", RUN, CHUNKED) + b"0;a=\n\r\n\r\n" + SMUGGLED,
    "an extension of a chunk with CR": head("POST", RUN, CHUNKED) + b"0;a=\rb\r\n\r\n" + SMUGGLED,
    "lines ended by LF": b"POST " + RUN.encode() + b" HTTP/1.1\nHost: node\nContent-Length: 0\n\n" + SMUGGLED,
    "a line ended by CR": head("POST", RUN, "X: a\rContent-Length: 0") + SMUGGLED,
    "a head ended by CR CR LF": b"POST " + RUN.encode() + b" HTTP/1.1\r\nHost: node\r\n\r\r\n" + SMUGGLED,
    "a folded header": head("GET", "/livez", "X: a", "\tContent-Length: 60") + SMUGGLED,
    "a header without a colon": head("GET", "/livez", "Content-Length 60") + SMUGGLED,
    "a header without a name": head("GET", "/livez", ": x") + SMUGGLED,
    "NUL in a header": head("GET", "/livez", "X: a\0b") + SMUGGLED,
    "two hosts": head("GET", "/livez", "Host: other") + SMUGGLED,
    "no host": b"GET /livez HTTP/1.1\r\n\r\n" + SMUGGLED,
    "another host in the address": head("GET", "http://other/livez") + SMUGGLED,
    "a user in the address": head("GET", "http://node@other/livez") + SMUGGLED,
    "a tab in the first line": b"GET\t/livez HTTP/1.1\r\nHost: node\r\n\r\n" + SMUGGLED,
    "HTTP/1.2": b"GET /livez HTTP/1.2\r\nHost: node\r\n\r\n" + SMUGGLED,
    "HTTP/0.9": b"GET /livez\r\n\r\n" + SMUGGLED,
    "HTTP/2 by knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a tunnel": head("CONNECT", "node:22") + SMUGGLED,
    "a WebSocket that was refused": head(
        "GET", f"{RUN}/stream", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"
    )
    + SMUGGLED,
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_no_request_is_smuggled(target: Target, name: str) -> None:
    """One answer, a refusal, and the connection ends: what follows is not read as a request."""
    got = talk(target, SMUGGLING[name])
    assert len(got.statuses) == 1, got
    assert 400 <= got.statuses[0] < 500, got
    assert CANARY.encode() not in got.data


def test_what_asks_for_http2_is_one_request_like_any_other(target: Target) -> None:
    """`Upgrade: h2c` opens no tunnel behind the node's back; nor does its body become a request."""
    upgrade = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk")
    got = talk(target, head("GET", "/livez", *upgrade) + request("GET", "/livez", headers={"Connection": "close"}))
    assert got.statuses == [200, 200]
    posted = head("POST", RUN, *upgrade, f"Content-Length: {len(SMUGGLED)}", "Connection: close") + SMUGGLED
    assert len(talk(target, posted).statuses) == 1


def test_trailers_say_nothing(target: Target) -> None:
    """Not who asks, nor whom: what stands before a node looks at heads."""
    body = b'{"inputs": {"x": [[1, 2, 3]]}}'
    chunked = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    trailed = head("POST", RUN, CHUNKED, "Trailer: api-key", "Connection: close") + chunked
    assert talk(target, trailed + f"api-key: {target.admin}\r\n\r\n".encode()).statuses == [401]
    known = head("POST", RUN, CHUNKED, "Connection: close", *with_token(target.admin)) + chunked
    got = talk(target, known + b"Host: other\r\nContent-Encoding: gzip\r\n\r\n")
    assert got.statuses == [200], got


# --- paths, methods and hosts ---

TRAVERSAL = (
    "/assets/../pyproject.toml",
    "/assets/%2e%2e/%2e%2e/site.toml",
    "/assets/..%2f..%2fsite.toml",
    "/assets/..%5c..%5csite.toml",
    "/assets/%252e%252e%252fsite.toml",
    "/assets/..%c0%afsite.toml",
    "/assets/%00/etc/passwd",
    "/assets//etc/passwd",
    "/assets/....//....//site.toml",
    "/pages/..%2f..%2fsite.toml",
    "/file:///etc/passwd",
    f"{POINTS.replace('frames', '..%2f..%2fetc')}/1",
    "/collections/..%2f..%2f/snapshots/tokens.json",
    "/collections/frames/snapshots/..%2f..%2ftokens.json",
    "/collections/frames/snapshots/%2fetc%2fpasswd",
    "/api/models/..%2f..%2ftokens.json",
    "/v2/models/..%2f..%2fetc/config",
    "/.git/config",
    "/tokens.json",
)


@pytest.mark.parametrize("path", TRAVERSAL)
def test_no_path_leads_out_of_the_node(target: Target, path: str) -> None:
    got = talk(target, head("GET", path, *with_token(target.admin), "Connection: close"))
    assert got.statuses[0] in (400, 404), got
    assert b"sha256" not in got.data
    assert b"root:" not in got.data


LOCATIONS = (
    "file:///etc/passwd",
    "file:///proc/self/environ",
    "http://169.254.169.254/latest/meta-data/",
    "http://node/collections/frames/snapshots/..%2f..%2ftokens.json",
    "gopher://127.0.0.1:6379/_",
)


@pytest.mark.parametrize("location", LOCATIONS)
def test_no_location_makes_the_node_read_elsewhere(target: Target, location: str) -> None:
    """Requests forged by the server."""
    body = json.dumps({"location": location}).encode()
    sent = head(
        "PUT", "/collections/frames/snapshots/recover", *with_token(target.admin), f"Content-Length: {len(body)}"
    )
    reply = ask(target.address, sent + body)
    assert reply.status in (400, 404, 501), reply


TRICKS: Mapping[str, tuple[bytes, set[int]]] = {
    "TRACE": (head("TRACE", "/api/node", "Cookie: secret"), {405}),
    "TRACK": (head("TRACK", "/api/node"), {400, 405}),
    "DEBUG": (head("DEBUG", "/api/node"), {400, 405}),
    "a method in small letters": (head("get", "/api/node"), {400}),
    "a method of another's making": (head("GETT", "/api/node"), {400}),
    "OPTIONS of all": (head("OPTIONS", "*"), {404}),
    "PURGE": (head("PURGE", "/assets/app.js"), {404, 405}),
    "an overridden method": (head("POST", "/api/collections", "X-HTTP-Method-Override: DELETE"), {405}),
    "an overridden address": (head("GET", "/api/node", "X-Original-URL: /livez"), {401}),
    "a rewritten address": (head("GET", "/api/node", "X-Rewrite-URL: /livez"), {401}),
    "said to come from here": (head("GET", "/api/node", "X-Forwarded-For: 127.0.0.1"), {401}),
    "a host elsewhere": (head("GET", "/livez", host="evil.example"), {403}),
    "a host elsewhere, with a port": (head("GET", "/livez", host="evil.example:8642"), {403}),
    "a host elsewhere, rebound": (head("GET", "/livez", host="127.0.0.1.evil.example"), {403}),
    "a host with a user": (head("GET", "/livez", host="node@evil.example"), {403}),
    "a host with a path": (head("GET", "/livez", host="node/evil.example"), {403}),
    "a host of two": (head("GET", "/livez", host="node, evil.example"), {403}),
    "a host with a line": (head("GET", "/livez", host="node\x1b[2J"), {400, 403}),
    "an empty host": (head("GET", "/livez", host=""), {403}),
    "a forwarded host": (head("GET", "/livez", "X-Forwarded-Host: node", host="evil.example"), {403}),
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_method_header_or_host_gets_past_the_table(target: Target, name: str) -> None:
    sent, statuses = TRICKS[name]
    assert ask(target.address, sent).status in statuses


# --- too much ---

DEEP = 50_000
BOMB = gzip.compress(bytes(64 << 20), 9)


_Sent = Callable[[Target], bytes]


def asked(path: str, *lines: str) -> _Sent:
    return lambda target: head("GET", path, *with_token(target.admin), *lines)


def posted(path: str, body: bytes, *lines: str) -> _Sent:
    return lambda target: head("POST", path, *with_token(target.admin), LENGTH.format(len(body)), *lines) + body


def chunked(*parts: bytes) -> _Sent:
    """The parts as they are."""
    return lambda target: head("POST", RUN, *with_token(target.admin), CHUNKED) + b"".join(parts)


def compressed(data: bytes, encoding: str) -> _Sent:
    return posted("/v2/models/plain/infer", data, f"Content-Encoding: {encoding}")


QUERY, BATCH = f"{POINTS}/query", f"{POINTS}/batch"
CHUNK = b"fff\r\n" + bytes(4095) + b"\r\n"
TRAILERS = b"".join(b"t%d: x\r\n" % number for number in range(1 << 16))
TOO_MUCH: Mapping[str, tuple[_Sent, set[int]]] = {
    "a header of a megabyte": (asked("/livez", f"X: {'y' * (1 << 20)}"), {431}),
    "a name of a header of 64 KiB": (asked("/livez", f"{'y' * (1 << 16)}: x"), {431}),
    "a thousand headers": (asked("/livez", *(f"X-{number}: y" for number in range(1000))), {431}),
    "an address of 64 KiB": (asked(f"/{'y' * (1 << 16)}"), {431}),
    "an address of 8 KiB": (asked(f"/{'y' * (8 << 10)}"), {400}),
    "a thousand parameters": (asked(f"/metrics?{'&'.join(['a=b'] * 1000)}"), {400}),
    "a body declared of a terabyte": (
        lambda target: head("POST", RUN, *with_token(target.admin), LENGTH.format(1 << 40)),
        {413},
    ),
    "a body beyond the bound": (posted(RUN, bytes(LIMITS.body_bytes_max + 1)), {413}),
    "chunks beyond the bound": (chunked(CHUNK * 20), {413}),
    "extensions of a chunk without end": (chunked(b"1;", b"a" * (1 << 20)), {400, 503}),
    "trailers without end": (chunked(b"0\r\n", TRAILERS), {400, 503}),
    "one trailer without end": (chunked(b"0\r\nt: ", b"x" * (1 << 20)), {400, 503}),
    "JSON nested deep, lists": (posted(QUERY, b'{"query":' + b"[" * DEEP), {400}),
    "JSON nested deep, objects": (posted(QUERY, b'{"filter":' + b'{"must":' * (DEEP // 8)), {400}),
    "JSON nested deep, in tensors": (posted(RUN, b'{"inputs":{"x":' + b"[" * DEEP), {400}),
    "JSON nested deep, read later": (
        posted(BATCH, b'{"operations":[{"upsert":' + b"[" * (DEEP // 2) + b"]" * (DEEP // 2) + b"}]}"),
        {400, 413},
    ),
    "a number of a thousand digits": (posted(QUERY, b'{"limit":' + b"9" * 1000 + b"}"), {400}),
    "an exponent of a thousand digits": (posted(QUERY, b'{"limit":1e' + b"9" * 1000 + b"}"), {400}),
    "a gzip bomb, cut off": (compressed(BOMB[:30_000], "gzip"), {400, 413}),
    "a gzip bomb": (compressed(gzip.compress(bytes(32 << 20), 9), "gzip"), {413}),
    "a deflate bomb": (compressed(zlib.compress(bytes(32 << 20), 9), "deflate"), {413}),
    "a bomb in a bomb": (compressed(gzip.compress(BOMB), "gzip, gzip"), {501}),
    "gzip with more behind it": (compressed(gzip.compress(b"{}") * 2, "gzip"), {400}),
    "gzip that is cut off": (compressed(gzip.compress(b"{}" * 100)[:-9], "gzip"), {400}),
    "brotli": (compressed(b"\x0b", "br"), {501}),
    "zstandard": (compressed(b"\x28\xb5\x2f\xfd", "zstd"), {501}),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_of_anything_is_refused(target: Target, name: str) -> None:
    make, statuses = TOO_MUCH[name]
    reply = ask(target.address, make(target))
    assert reply.status in statuses, reply


# --- too slow ---


def drops(count: int, *, first: bytes = b"", drop: bytes = b"a") -> list[bytes]:
    return [first, *(drop for _ in range(count))]


SLOW: Mapping[str, tuple[Sequence[bytes] | Callable[[Target], Sequence[bytes]], tuple[int, ...]]] = {
    "a head in drops": (drops(40, first=b"GET /livez HTTP/1.1\r\nX: "), ()),
    "a line of the head in drops": (drops(40, first=b"GET /livez HTTP/1.1\r\n", drop=b"X: y\r\n"), ()),
    "empty lines before a head": (drops(40, drop=b"\r\n"), ()),
    "nothing": ([b""], ()),
    "a body in drops": (lambda target: drops(60, first=_began(target, LENGTH.format(1000))), (408,)),
    "chunks of a byte": (lambda target: drops(60, first=_began(target, CHUNKED), drop=b"1\r\na\r\n"), (408,)),
    "an extension of a chunk in drops": (lambda target: drops(60, first=_began(target, CHUNKED) + b"1;"), (408,)),
    "a trailer in drops": (
        lambda target: drops(60, first=_began(target, CHUNKED) + b"1\r\na\r\n0\r\nt:"),
        (408,),
    ),
    "a body that nobody wants": (drops(60, first=head("POST", "/nothing", LENGTH.format(1000))), (404,)),
    "a second head in drops": (drops(40, first=request("GET", "/livez") + b"GET /livez HTTP/1.1\r\nX: "), (200,)),
}


def _began(target: Target, length: str) -> bytes:
    return head("POST", RUN, *with_token(target.admin), length)


@pytest.mark.parametrize("name", SLOW)
def test_who_is_slow_is_hung_up_on(target: Target, name: str) -> None:
    """Drops come for longer than the node waits, whatever they are."""
    parts, statuses = SLOW[name]
    got = talk(target, *(parts(target) if callable(parts) else parts), pause_s=0.2)
    assert tuple(got.statuses) == statuses
    assert got.is_closed


def test_slow_ones_from_one_address_do_not_keep_others_out(target: Target) -> None:
    """More connections than there are places, each with half a head: who comes last is answered."""
    with contextlib.ExitStack() as held:
        for _ in range(2 * LIMITS.connection_count_max):
            one = held.enter_context(connect(target.address))
            one.sendall(b"GET /livez HTTP/1.1\r\nX: y")
        assert ask(target.address, request("GET", "/livez")).status == 200


def test_who_asks_much_and_takes_nothing_is_asked_no_more_for(target: Target) -> None:
    """Requests sent ahead, whose answers nobody reads: the node stops reading, so it holds a bounded part of them."""
    asking = request("GET", "/api/openapi.json")
    with connect(target.address, 5.0) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        sent, refused = 0, 0
        deadline = time.monotonic() + 60
        while refused < 20 and time.monotonic() < deadline:
            try:
                sent += connection.send(asking * 8)
                refused = 0
            except BlockingIOError:
                refused += 1
                time.sleep(0.05)
            except (ConnectionResetError, BrokenPipeError):
                break
        assert sent < 64 << 20
    assert ask(target.address, request("GET", "/livez")).status == 200


# --- other origins ---

FOREIGN = "Origin: https://evil.example"
PREFLIGHT = "Access-Control-Request-"
CROSS: Mapping[str, tuple[str, str, Sequence[str], int]] = {
    "a form": ("POST", RUN, (FOREIGN, "Content-Type: text/plain", LENGTH.format(0)), 403),
    "a form of a page without an origin": ("POST", RUN, ("Origin: null", LENGTH.format(0)), 403),
    "a form of a name that begins like the node's": ("POST", RUN, ("Origin: http://node.evil.example",), 403),
    "a form of another port": ("POST", RUN, ("Origin: http://node:81",), 403),
    "a deletion": ("DELETE", "/collections/frames", (FOREIGN,), 403),
    "a login": ("POST", "/api/session", (FOREIGN, LENGTH.format(0)), 403),
    "a question whether it may write": ("OPTIONS", RUN, (FOREIGN, f"{PREFLIGHT}Method: POST"), 405),
    "a question whether it may show a token": (
        "OPTIONS",
        "/api/node",
        (FOREIGN, f"{PREFLIGHT}Method: GET", f"{PREFLIGHT}Headers: api-key"),
        405,
    ),
    "a question whether it may reach a private network": (
        "OPTIONS",
        RUN,
        (FOREIGN, f"{PREFLIGHT}Method: POST", f"{PREFLIGHT}Private-Network: true"),
        405,
    ),
}


@pytest.mark.parametrize("name", CROSS)
def test_pages_of_other_sites_do_and_learn_nothing(target: Target, name: str) -> None:
    method, path, lines, status = CROSS[name]
    reply = ask(target.address, head(method, path, *with_token(target.admin), *lines))
    assert reply.status == status
    assert not [header for header in reply.headers if header.startswith("access-control-")]


def test_what_another_site_embeds_is_not_its_to_read(target: Target) -> None:
    """As a script, a picture or a frame."""
    reply = ask(target.address, head("GET", "/api/node", FOREIGN, *with_token(target.reader)))
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert "access-control-allow-origin" not in reply.headers


def test_every_kind_has_at_least_three(target: Target) -> None:
    kinds: Sequence[Sequence[str] | Mapping[str, object]] = (
        SMUGGLING,
        TRAVERSAL,
        LOCATIONS,
        TRICKS,
        TOO_MUCH,
        SLOW,
        CROSS,
    )
    assert min(map(len, kinds)) >= 3
    assert target.served.node.is_ready


def test_the_node_is_as_it_was(target: Target, tmp_path: Path) -> None:
    """After all of them: it answers, no request is left, and its collection is there."""
    reply = ask(target.address, head("GET", "/api/collections", *with_token(target.reader)))
    assert [one["name"] for one in reply.json] == ["frames"]
    metrics = ask(target.address, head("GET", "/metrics", *with_token(target.reader), "Connection: close"))
    assert metrics.status == 200
