"""What a node must survive over HTTP: each input gets one clear error, no point is lost, memory stays flat."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from littoral import settings
from littoral.tensors import encode_frame
from littoral.web import Limits
from node_fixture import SIZE, Served, node_in_thread
from pictures import chunk, jpeg, natural, png, saved
from raw_http import Reply, ask, connect, read_reply, request, send, send_json
from supervised import short_folder
from waiting import until

LIMITS = Limits(body_bytes_max=1 << 20, body_s=3.0, header_s=20.0)
GOOD = [0.5] * SIZE
PICTURE = jpeg(natural(120, 80))
PAGE_BYTES = 4096
GROWTH_BYTES_MAX = 24 << 20
ROUNDS = 3
POINT_COUNT = 3


def header_of_png(width: int, height: int) -> bytes:
    sizes = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    pixels = zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes + b"\x08\x02\0\0\0") + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def cmyk() -> bytes:
    return saved(Image.new("CMYK", (32, 32)), "JPEG")


class Bad(NamedTuple):
    """data: what is sent. status and words: what must come back."""

    data: bytes
    status: int
    words: str


POINTS = "/collections/frames/points"
JSON = {"Content-Type": "application/json"}


def posted(path: str, body: Any, method: str = "POST") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(method, path, data, JSON)


def upserted(*points: Any) -> bytes:
    return posted(POINTS, {"points": list(points)}, "PUT")


def point(vector: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": 9, "vector": GOOD if vector is None else vector, **more}


def with_number(text: str) -> bytes:
    """JSON may be written that no JSON library would write."""
    body = json.dumps({"points": [point()]}).replace("0.5", text, 1)
    return posted(POINTS, body.encode(), "PUT")


def queried(**body: Any) -> bytes:
    return posted(f"{POINTS}/query", body)


def pictured(data: bytes, pipeline: str = "similar", **headers: str) -> bytes:
    return request("POST", f"/pipelines/{pipeline}", data, headers)


def framed(**tensors: Any) -> bytes:
    return pictured(encode_frame(tensors), "double", **{"Content-Type": "application/x-safetensors"})


def deep(levels: int, inner: str = "1") -> str:
    return "[" * levels + inner + "]" * levels


def nested_filter(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"key": "a", "match": {"value": 1}}
    for _ in range(levels):
        found = {"must": [found]}
    return found


PICTURES = {
    "an empty body": Bad(pictured(b""), 400, "body is empty"),
    "text as a picture": Bad(pictured(b"this is no picture"), 422, "no picture"),
    "a picture cut short": Bad(pictured(PICTURE[: len(PICTURE) // 2]), 422, "agent `decode`"),
    "only the start of a jpeg": Bad(pictured(PICTURE[:3]), 422, "agent `decode`"),
    "a png cut short": Bad(pictured(png(natural(40, 40))[:200]), 422, "agent `decode`"),
    "a png of 100 megapixels": Bad(pictured(header_of_png(10_000, 10_000)), 413, "agent `decode`"),
    "a png of no pixel": Bad(pictured(header_of_png(0, 10)), 422, "agent `decode`"),
    "a png of 2^31 columns": Bad(pictured(header_of_png(2**31 - 1, 2**31 - 1)), 413, "agent `decode`"),
    "a cmyk jpeg": Bad(pictured(cmyk()), 422, "CMYK"),
    "a gif": Bad(pictured(saved(natural(8, 8), "GIF")), 422, "agent `decode`"),
    "zeros": Bad(pictured(bytes(5000)), 422, "no picture"),
    "an unknown pipeline": Bad(pictured(PICTURE, "nothing"), 404, "pipeline `nothing` is unknown, known: `similar`"),
    "a deadline of nothing": Bad(pictured(PICTURE, **{"Littoral-Deadline-Ms": "0"}), 400, "littoral-deadline-ms"),
    "a deadline in words": Bad(pictured(PICTURE, **{"Littoral-Deadline-Ms": "soon"}), 400, "littoral-deadline-ms"),
    "a deadline of a year": Bad(pictured(PICTURE, **{"Littoral-Deadline-Ms": "9" * 30}), 400, "littoral-deadline-ms"),
}
TENSORS = {
    "a frame of the wrong name": Bad(framed(y=np.ones((1, 3), np.float32)), 400, "expected `x` float32[?, 3]"),
    "a frame of the wrong dtype": Bad(framed(x=np.ones((1, 3), np.float64)), 400, "expected `x` float32[?, 3]"),
    "a frame of the wrong shape": Bad(framed(x=np.ones((1, 4), np.float32)), 400, "expected `x` float32[?, 3]"),
    "a frame with a huge header": Bad(
        pictured(b"\xff" * 8 + b"{}", "double", **{"Content-Type": "application/x-safetensors"}), 413, "safetensors"
    ),
    "a frame of three bytes": Bad(
        pictured(b"abc", "double", **{"Content-Type": "application/x-safetensors"}), 400, "safetensors frame: 3 bytes"
    ),
    "inputs that are no object": Bad(posted("/pipelines/double", [1]), 400, "Expected `object`"),
    "inputs of an unknown name": Bad(posted("/pipelines/double", {"inputs": {"z": [1]}}), 400, "`z` is unknown"),
    "inputs that are missing": Bad(posted("/pipelines/double", {"inputs": {}}), 400, "expected `x`"),
    "inputs that are text": Bad(posted("/pipelines/double", {"inputs": {"x": "abc"}}), 400, "input `x`"),
    "inputs with holes": Bad(posted("/pipelines/double", {"inputs": {"x": [[1, 2], [3]]}}), 400, "input `x`"),
    "inputs nested deep": Bad(
        posted("/pipelines/double", f'{{"inputs": {{"x": {deep(100_000)}}}}}'.encode()), 400, "nested too deep"
    ),
    "a picture for tensors": Bad(pictured(PICTURE, "double"), 400, "body"),
}
BODIES = {
    "no json": Bad(posted(f"{POINTS}/query", b"{"), 400, "body:"),
    "json cut short": Bad(posted(f"{POINTS}/query", b'{"query": [1, 2'), 400, "body:"),
    "an empty json body": Bad(posted(f"{POINTS}/query", b""), 400, "body is empty, expected JSON"),
    "json that is no object": Bad(posted(f"{POINTS}/query", [1, 2]), 400, "Expected `object`"),
    "json nested deep": Bad(
        posted(f"{POINTS}/query", f'{{"query": {deep(200_000)}}}'.encode()), 400, "nested too deep"
    ),
    "json that is not utf-8": Bad(posted(f"{POINTS}/query", b'{"using": "\xff\xfe"}'), 400, "body:"),
    "a field nobody knows": Bad(queried(query=GOOD, qurey=1), 400, "did you mean `query`?"),
    "a limit in words": Bad(queried(query=GOOD, limit="ten"), 400, "`$.limit`"),
    "a query of the wrong size": Bad(queried(query=[1, 2, 3]), 400, f"query: vector has 3 numbers, expected {SIZE}"),
    "a query that is text": Bad(queried(query="nearest"), 400, "point id is `nearest`"),
    "a query of texts": Bad(queried(query=["a"] * SIZE), 400, "query: vector is no list of real numbers"),
    "a query of nothing": Bad(queried(query=[]), 400, "query: vector has 0 numbers"),
    "a query that cannot be pointed": Bad(queried(query=[0.0] * SIZE), 400, "query"),
    "a negative limit": Bad(queried(query=GOOD, limit=-1), 400, "limit is -1"),
    "a limit of nothing": Bad(queried(query=GOOD, limit=0), 400, "limit is 0"),
    "a limit beyond all": Bad(queried(query=GOOD, limit=10**9), 413, "limit and offset add up to"),
    "a limit of a hundred digits": Bad(queried(query=GOOD, limit=10**100), 400, "`$.limit`"),
    "a negative offset": Bad(queried(query=GOOD, offset=-5), 400, "offset is -5"),
    "a deep filter": Bad(queried(query=GOOD, filter=nested_filter(40)), 413, "filter"),
    "a filter nobody knows": Bad(queried(query=GOOD, filter={"musst": []}), 400, "filter"),
    "a search by context": Bad(queried(query={"context": []}), 400, "`context` is empty"),
    "a prefetch of a wrong vector": Bad(queried(query=GOOD, prefetch=[{"query": [1]}]), 400, "1 numbers, expected"),
    "a shard key": Bad(queried(query=GOOD, shard_key="a"), 501, "`shard_key` is not offered"),
    "a vector of another name": Bad(queried(query=GOOD, using="text"), 400, "vector `text`: not existing vector name"),
    "an unknown id to start from": Bad(queried(query=12345), 404, "no point with id `12345`"),
    "a strange payload selector": Bad(queried(query=GOOD, with_payload={"include": 1}), 400, "with_payload"),
    "a strange hnsw_ef": Bad(queried(query=GOOD, params={"hnsw_ef": 10**6}), 400, "hnsw_ef"),
}
WRITES = {
    "a vector of the wrong size": Bad(upserted(point([1, 2])), 400, f"vector has 2 numbers, expected {SIZE}"),
    "NaN": Bad(with_number("NaN"), 400, "body:"),
    "Infinity": Bad(with_number("Infinity"), 400, "body:"),
    "a number beyond float64": Bad(with_number("1e999"), 400, ""),
    "a number beyond float32": Bad(with_number("1e39"), 400, "must be finite"),
    "a vector of nulls": Bad(upserted(point([None] * SIZE)), 400, "point `9`"),
    "no vector": Bad(upserted({"id": 9}), 400, "`vector`"),
    "a named vector": Bad(upserted(point({"text": GOOD})), 400, "vector `text`: not existing vector name"),
    "an id that is a word": Bad(upserted(point(id="frame-1")), 400, "point id is `frame-1`"),
    "a negative id": Bad(upserted(point(id=-1)), 400, "point id is -1"),
    "an id beyond 64 bits": Bad(upserted(point(id=2**64)), 400, "18446744073709551616"),
    "an id of a thousand digits": Bad(upserted(point(id=10**1000)), 400, ""),
    "an id that is no number": Bad(upserted(point(id=1.5)), 400, "point id is of type float"),
    "a good point beside a bad one": Bad(upserted(point(), point([1], id=10)), 400, "point `10`"),
    "a payload that is a list": Bad(upserted(point(payload=[1])), 400, "payload"),
    "a deep payload": Bad(upserted(point(payload={"a": json.loads(deep(60))})), 413, "nested deeper than"),
    "an integer no store holds": Bad(upserted(point(payload={"a": 2**70})), 400, ""),
    "points and batch": Bad(
        posted(POINTS, {"points": [], "batch": {"ids": [], "vectors": []}}, "PUT"), 400, "exactly one"
    ),
    "ids without vectors": Bad(posted(POINTS, {"batch": {"ids": [7], "vectors": []}}, "PUT"), 400, "1 ids, 0 vectors"),
    "a write to no collection": Bad(
        posted("/collections/nothing/points", {"points": [point()]}, "PUT"), 404, "collection `nothing` does not exist"
    ),
    "a wait that is no word": Bad(posted(f"{POINTS}?wait=maybe", {"points": [point()]}, "PUT"), 400, "`wait`"),
    "a timeout that is none": Bad(posted(f"{POINTS}?timeout=-1", {"points": [point()]}, "PUT"), 400, "`timeout`"),
    "a deletion of nothing": Bad(posted(f"{POINTS}/delete", {}), 400, "exactly one of `points`, `filter`"),
    "a deletion of two kinds": Bad(posted(f"{POINTS}/delete", {"points": [1], "filter": {}}), 400, "exactly one"),
    "a payload for nobody": Bad(
        posted(f"{POINTS}/payload", {"payload": {"a": 1}}), 400, "exactly one of points, filter"
    ),
    "a payload for an unknown point": Bad(
        posted(f"{POINTS}/payload", {"payload": {"a": 1}, "points": [77]}), 404, "77"
    ),
    "an operation nobody knows": Bad(posted(f"{POINTS}/batch", {"operations": [{"drop": {}}]}), 400, "operations[0]"),
    "a bad operation after a good one": Bad(
        posted(f"{POINTS}/batch", {"operations": [{"delete": {"points": [1]}}, {"upsert": {"points": 1}}]}),
        400,
        "operations[1]: `upsert`",
    ),
    "a collection without a size": Bad(posted("/collections/new", {"vectors": {}}, "PUT"), 400, "vectors"),
    "a collection of size 0": Bad(
        posted("/collections/new", {"vectors": {"size": 0, "distance": "Dot"}}, "PUT"), 400, "size"
    ),
    "a collection of size 10^9": Bad(
        posted("/collections/new", {"vectors": {"size": 10**9, "distance": "Dot"}}, "PUT"), 400, "size"
    ),
    "a distance nobody knows": Bad(
        posted("/collections/new", {"vectors": {"size": 4, "distance": "Hamming"}}, "PUT"), 400, "distance"
    ),
    "a collection that is there": Bad(
        posted("/collections/frames", {"vectors": {"size": 4, "distance": "Dot"}}, "PUT"), 409, "exists already"
    ),
    "a collection called ..": Bad(
        posted("/collections/%2e%2e", {"vectors": {"size": 4, "distance": "Dot"}}, "PUT"), 400, "collection name"
    ),
    "a named vector of no size": Bad(
        posted("/collections/new", {"vectors": {"a": {"size": 0, "distance": "Dot"}}}, "PUT"), 400, "size"
    ),
    "two shards": Bad(
        posted("/collections/new", {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2}, "PUT"),
        501,
        "`shard_number` is 2",
    ),
}
PATHS = {
    "a path upwards": Bad(request("GET", "/../../etc/passwd"), 404, "nothing at"),
    "a path upwards, encoded": Bad(request("GET", "/assets/%2e%2e/%2e%2e/pyproject.toml"), 404, "nothing at"),
    "a path with a slash encoded": Bad(request("GET", "/assets/..%2f..%2f__init__.py"), 404, "nothing at"),
    "a path with NUL": Bad(request("GET", "/assets/index.html%00.js"), 404, "nothing at"),
    "a path with an escape sequence": Bad(request("GET", "/%1b[2J"), 404, "nothing at `/\ufffd[2J`"),
    "a path that is not utf-8": Bad(request("GET", "/%ff%fe"), 404, "nothing at"),
    "two slashes": Bad(request("GET", "//collections"), 404, "nothing at"),
    "a long path": Bad(request("GET", "/" + "a" * 5000), 400, "path has 5001 characters"),
    "a collection with NUL": Bad(request("GET", "/collections/frames%00"), 400, "collection name"),
    "an id that is none": Bad(request("GET", f"{POINTS}/abc"), 400, "point id is `abc`"),
    "an id that is not there": Bad(request("GET", f"{POINTS}/424242"), 404, "point `424242` does not exist"),
    "an id of fifty digits": Bad(request("GET", f"{POINTS}/{'9' * 50}"), 400, "point id"),
    "an unknown model": Bad(request("GET", "/api/models/nothing"), 404, "model `nothing` is unknown"),
    "a method nobody has": Bad(request("BREW", "/collections"), 400, "Invalid method"),
    "a method of others": Bad(request("PROPFIND", "/collections"), 405, "takes GET"),
    "a get of a pipeline": Bad(request("GET", "/pipelines/similar"), 405, "takes POST"),
    "a delete of the page": Bad(request("DELETE", "/"), 405, "takes GET"),
    "options of everything": Bad(request("OPTIONS", "*"), 404, "nothing at"),
    "a route of qdrant's": Bad(
        posted("/collections/frames/cluster", {}), 501, "`POST /collections/{collection}/cluster`"
    ),
    "a page of another origin": Bad(
        request("POST", f"{POINTS}/delete", b'{"points": [1]}', {"Origin": "http://evil.example"}), 403, "origin"
    ),
}
LENGTHS = {
    "a gigabyte declared": Bad(
        request("POST", "/pipelines/similar", headers={"Content-Length": str(10**9)}), 413, "body has 1000000000 bytes"
    ),
    "a length of thirty digits": Bad(
        request("POST", "/pipelines/similar", headers={"Content-Length": "9" * 30}), 400, ""
    ),
    "a negative length": Bad(request("POST", "/pipelines/similar", headers={"Content-Length": "-1"}), 400, ""),
    "a body too large": Bad(pictured(bytes(LIMITS.body_bytes_max + 1)), 413, "body has 1048577 bytes"),
    "a body that never ends": Bad(
        request("POST", "/pipelines/similar", b"1\r\na\r\n", {"Transfer-Encoding": "chunked"}), 408, "and not its end"
    ),
    "a body that comes slowly": Bad(
        request("POST", "/pipelines/similar", PICTURE[:50], {"Content-Length": "5000"}), 408, "body: 50 bytes"
    ),
    "chunks beyond the limit": Bad(
        request(
            "POST",
            "/pipelines/similar",
            b"100000\r\n" + bytes(1 << 20) + b"\r\n1\r\na\r\n",
            {"Transfer-Encoding": "chunked"},
        ),
        413,
        "and more",
    ),
    "a chunk of no size": Bad(
        request("POST", "/pipelines/similar", b"zz\r\n", {"Transfer-Encoding": "chunked"}), 400, ""
    ),
    "two lengths": Bad(
        b"POST /pipelines/similar HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400, ""
    ),
    "a body in gzip": Bad(pictured(b"x", **{"Content-Encoding": "br"}), 501, "`br`"),
}
HEADS = {
    "no http": Bad(b"hello\r\n\r\n", 400, ""),
    "no version": Bad(b"GET /\r\n\r\n", 400, ""),
    "a header without a colon": Bad(b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, ""),
    "a header of a megabyte": Bad(request("GET", "/healthz", headers={"X": "y" * (1 << 20)}), 431, ""),
    "two hundred headers": Bad(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, ""),
    "a header with NUL": Bad(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, ""),
}
INPUTS = PICTURES | TENSORS | BODIES | WRITES | PATHS | LENGTHS | HEADS


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, limits=LIMITS) as served,
    ):
        points = [{"id": i, "vector": [1.0 + i, *GOOD[1:]], "payload": {"i": i}} for i in range(1, POINT_COUNT + 1)]
        assert send_json(served.address, "PUT", POINTS, {"points": points}).status == 200
        yield served


def count(served: Served) -> int:
    return int(send_json(served.address, "POST", f"{POINTS}/count", {}).json["result"]["count"])


def checked(reply: Reply, bad: Bad) -> None:
    assert reply.status == bad.status, reply
    if bad.words:
        assert bad.words in reply.error
    assert b"Traceback" not in reply.body
    assert b"internal error" not in reply.body


@pytest.mark.parametrize("name", INPUTS)
def test_a_bad_input_is_an_error_and_nothing_else(served: Served, name: str) -> None:
    checked(ask(served.address, INPUTS[name].data), INPUTS[name])
    assert count(served) == POINT_COUNT


def test_there_are_enough_of_them() -> None:
    assert len(INPUTS) >= 60
    assert len(INPUTS) == sum(map(len, (PICTURES, TENSORS, BODIES, WRITES, PATHS, LENGTHS, HEADS)))


def test_a_smuggled_request_is_not_seen(served: Served) -> None:
    """Two lengths that disagree: what follows by the one must not be taken for a request by the other."""
    hidden = b"DELETE /collections/frames HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    head = b"POST /pipelines/similar HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(served.address) as connection:
        connection.sendall(head % len(body) + body)
        assert read_reply(connection).status == 400
        assert read_reply(connection).status == 0
    assert count(served) == POINT_COUNT


def test_after_all_of_it_the_node_works_as_before(served: Served) -> None:
    for bad in INPUTS.values():
        if bad.status != 408:
            ask(served.address, bad.data)
    assert send(served.address, "GET", "/readyz").status == 200
    assert send(served.address, "POST", "/pipelines/similar", PICTURE).status == 200
    assert len(send_json(served.address, "POST", f"{POINTS}/query", {"query": GOOD}).json["result"]["points"]) == 3
    until(lambda: 'littoral_pool_busy{kind="agent",name="decode"} 0.0' in metrics(served))


def metrics(served: Served) -> list[str]:
    return send(served.address, "GET", "/metrics").body.decode().splitlines()


def test_memory_stays_flat(served: Served) -> None:
    def once() -> None:
        for bad in INPUTS.values():
            if bad.status != 408:
                ask(served.address, bad.data)

    once()
    before = resident_bytes()
    for _ in range(ROUNDS):
        once()
    assert resident_bytes() - before < GROWTH_BYTES_MAX


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
