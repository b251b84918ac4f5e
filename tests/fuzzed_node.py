"""A node under changed requests: what is sent, what must come back, and what must be left of the node afterwards."""

import contextlib
import io
import json
import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fake_upstream import Scripted, fake_upstream
from http_seeds import PAYLOAD, SEEDS, SHORT, SNAPSHOT, UUID, Seed, write_fuzzed_site
from littoral import settings
from littoral.node.http import application
from littoral.node.qdrant_api import LACKING
from littoral.telemetry.log import Log, LogOptions
from littoral.web import Limits
from mutations import Mutator
from node_fixture import Served, node_in_thread
from processes import children_of
from raw_http import Reply, connect, request
from supervised import short_folder

__all__ = ["Case", "Findings", "FuzzedNode", "fuzzed_node", "routes_of"]

LIMITS = Limits(body_bytes_max=1 << 20, body_s=0.5, header_s=1.0)
DOCUMENTED = {501, 503, 504}
"""Of five hundred and above: not offered, not now, not in time (docs/reference/http.md)."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW")
KEPT = {"answers", "frames", "fuzzed"}
INDEXES = {"n": "integer", "kind": "keyword", "at": "datetime", "place": "geo"}
RESTORE_EVERY = 100
SNAPSHOTS_EVERY = 10
SLOW = {
    ("PUT", "/collections/{collection}"),
    ("PATCH", "/collections/{collection}"),
    ("PUT", "/collections/{collection}/index"),
    ("DELETE", "/collections/{collection}/index/{field}"),
    ("GET", "/metrics"),
    ("POST", "/api/examined"),
    ("GET", "/api/backup"),
}
REPLY_S = 20.0
STREAM_BYTES = 1 << 16
NO_ANSWER = 0
NO_HTTP = "request is no HTTP/1.1"
BEFORE_ROUTES = {426, 431}
"""No socket, and too long a head: said before a route, and so its protocol, is looked for. So is `NO_HTTP`."""

Routes = Sequence[tuple[str, str]]


class Case(NamedTuple):
    """is_raw: bytes of the head were changed too, so that the connection may just be closed."""

    route: tuple[str, str]
    data: bytes
    is_raw: bool


def routes_of(served: Served) -> Routes:
    """Method and pattern of every route, but for files of the page."""
    return [(r.method, r.pattern) for r in application(served.node).routes if not r.pattern.startswith("/assets/")]


def plain(route: tuple[str, str], seed: Seed) -> bytes:
    """The request of a seed as it is."""
    method, pattern = route
    query = "&".join(f"{key}={quote(value)}" for key, value in seed.query.items())
    path = filled(pattern, seed.names) + (f"?{query}" if query else "")
    return request(method, path, _body(seed), _upgrading(seed.headers))


def changed(route: tuple[str, str], seed: Seed, mutator: Mutator) -> Case:
    """The seed, changed in one place or several."""
    method, pattern = route
    names = {key: mutator.text(value) if mutator.chance(0.12) else value for key, value in seed.names.items()}
    body = _body(seed)
    if seed.body is not None and mutator.chance(0.75):
        body = mutator.bytes(body) if isinstance(seed.body, bytes) else mutator.json(seed.body)
    query = mutator.query(seed.query) if mutator.chance(0.25) else "&".join(f"{k}={v}" for k, v in seed.query.items())
    headers = mutator.headers(seed.headers) if mutator.chance(0.25) else dict(seed.headers)
    method = mutator.one(METHODS) if mutator.chance(0.02) else method
    path = filled(pattern, names) + (f"?{_line(query)}" if query else "")
    data = request(method, path, body, _upgrading(headers))
    is_raw = mutator.chance(0.03)
    return Case(route, mutator.bytes(data) if is_raw else data, is_raw)


def filled(pattern: str, names: Mapping[str, str]) -> str:
    """The pattern with its names, escaped."""
    return re.sub(r"\{(\w+)\}", lambda found: quote(names.get(found[1], "x"), safe="", errors="replace"), pattern)


def _body(seed: Seed) -> bytes:
    if seed.body is None or isinstance(seed.body, bytes):
        return seed.body or b""
    return json.dumps(seed.body).encode()


def _upgrading(headers: Mapping[str, str]) -> dict[str, str]:
    headers = {"Host" if name == "host" else name: value for name, value in headers.items()}
    if "upgrade" not in headers:
        return dict(headers)
    return {**headers, "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": "x" * 22 + "=="}


def _line(text: str) -> str:
    """What may stand in the first line of a request."""
    return quote(text, safe="=&%+-._~,:;/?[]{}()*'!$@", errors="replace")


class Talk:
    """One connection at a time, kept as long as the node keeps it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: socket.socket | None = None

    def ask(self, data: bytes, *, is_raw: bool) -> Reply:
        """An answer; of a stream its beginning. A connection that was closed meanwhile is made anew once."""
        for is_again in (False, True):
            is_fresh = self._connection is None
            reply = self._ask(data, is_raw=is_raw)
            if reply.status != NO_ANSWER or is_fresh or is_again:
                break
        return reply

    def _ask(self, data: bytes, *, is_raw: bool) -> Reply:
        if self._connection is None:
            self._connection = connect(self._address, REPLY_S)
        connection = self._connection
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if is_raw:
                connection.shutdown(socket.SHUT_WR)
        reply, is_kept = _read(connection, is_head=data.startswith(b"HEAD "))
        if not is_kept or is_raw:
            self.close()
        return reply

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _read(connection: socket.socket, *, is_head: bool) -> tuple[Reply, bool]:
    """The answer, and whether the connection can be used again."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := _received(connection)):
            return Reply(NO_ANSWER, {}, data), False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if status == 101 or "content-length" not in headers:
        return Reply(status, headers, body), False
    length = 0 if is_head else int(headers["content-length"])
    while len(body) < length:
        if not (more := _received(connection)):
            return Reply(NO_ANSWER, headers, body), False
        body += more
    return Reply(status, headers, body[:length]), headers.get("connection", "").lower() != "close"


def _received(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(STREAM_BYTES)
    return b""


class Findings:
    """statuses: how often each came. faults: what must not be, each kind once."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.faults: dict[str, str] = {}

    def judge(self, case: Case, number: object, reply: Reply, log: list[str]) -> None:
        self.statuses[reply.status] += 1
        if (wrong := _wrong(case, reply)) is not None:
            kind = re.sub(r"`?[0-9a-f]{8}`?", "…", f"{' '.join(case.route)}: {wrong}")
            tail = log[-1] if log and reply.status == 500 else ""
            self.faults.setdefault(kind, f"case {number}\n  sent {case.data[:700]!r}\n  {tail}")
        log.clear()

    def report(self) -> str:
        return "\n\n".join(f"{kind}\n  {more}" for kind, more in list(self.faults.items())[:12])


def _wrong(case: Case, reply: Reply) -> str | None:
    if reply.status == NO_ANSWER:
        return None if case.is_raw else "no answer"
    if reply.status >= 500 and reply.status not in DOCUMENTED:
        return f"status {reply.status}: {reply.body[:200]!r}"
    if reply.status < 400 or reply.status in BEFORE_ROUTES or not reply.body or case.is_raw:
        return None
    try:
        said = json.loads(reply.body)
    except ValueError:
        return f"status {reply.status} without JSON: {reply.body[:120]!r}"
    if isinstance(said, dict) and str(said.get("error")).startswith(NO_HTTP):
        return None
    path = case.data.split(b" ", 2)[1].decode("latin-1")
    with contextlib.suppress(KeyError, TypeError):
        if _is_of_its_shape(path, said):
            return None
    return f"error in another protocol's shape: {reply.status} {str(said)[:200]}"


def _is_of_its_shape(path: str, said: Any) -> bool:
    """What a client of that protocol expects of an error."""
    match path.split("?", maxsplit=1)[0].split("/")[1]:
        case "v1":
            return bool(said["error"]["message"]) and {"type", "param", "code"} <= said["error"].keys()
        case "collections" | "pipelines" | "aliases" | "cluster" | "telemetry" | "locks" | "issues":
            return bool(said["status"]["error"]) and said["time"] >= 0
        case "snapshots":
            return bool(said["status"]["error"])
    return "error" in said or "status" in said or "ready" in said or "live" in said


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record)[-1500:])


def _weight(route: tuple[str, str]) -> float:
    """What takes long, and what is always refused, comes more rarely."""
    method, pattern = route
    if route in LACKING:
        return 0.05
    if "snapshots" in pattern:
        return 0.02 if method != "GET" else 0.3
    return 0.15 if route in SLOW or pattern.endswith("/vectors/{vector}") else 1.0


class FuzzedNode:
    """Sends cases; sees to it that what seeds speak of is there."""

    def __init__(self, served: Served, log: _Log) -> None:
        self.served = served
        self.talk = Talk(served.address)
        self.routes = routes_of(served)
        self._log = log
        self._snapshot = ""
        self._restored = 0
        self.restore()

    def fuzz(self, seed: int, count: int) -> Findings:
        """So many cases; each can be repeated alone by its number."""
        findings = Findings()
        self._log.lines.clear()
        weights = [_weight(route) for route in self.routes]
        for number in range(count):
            mutator = Mutator((seed, number))
            (route,) = mutator.rng.choices(self.routes, weights)
            case = changed(route, mutator.one(self.seeds(route)), mutator)
            reply = self.talk.ask(case.data, is_raw=case.is_raw)
            findings.judge(case, (seed, number), reply, self._log.lines)
            if number % RESTORE_EVERY == RESTORE_EVERY - 1:
                self.restore()
        return findings

    def seeds(self, route: tuple[str, str]) -> list[Seed]:
        """Those of the route, with the snapshot that is there."""
        if "/snapshots" not in route[1] or route[1].endswith("/upload"):
            return SEEDS[route]
        text = json.dumps([seed[:] for seed in SEEDS[route]]).replace(SNAPSHOT, self._snapshot)
        return [Seed(*fields) for fields in json.loads(text)]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Without changes; it must be taken."""
        data = b"" if body is None else json.dumps(body).encode()
        reply = self.talk.ask(request(method, path, data, {"Content-Type": "application/json"}), is_raw=False)
        assert 200 <= reply.status < 300, f"{method} {path}: {reply.status} {reply.body[:500]!r}"
        return reply.json if reply.body else None

    def restore(self, *, is_whole: bool = False) -> None:
        """Healthy, and the collections and models of the seeds, no others. is_whole: snapshots too, every time."""
        assert self.talk.ask(request("GET", "/healthz"), is_raw=False).status == 200
        names = {one["name"] for one in self.ask("GET", "/collections")["result"]["collections"]}
        for name in names - KEPT:
            self.ask("DELETE", f"/collections/{quote(name, safe='')}")
        for alias in self.ask("GET", "/aliases")["result"]["aliases"]:
            action = {"delete_alias": {"alias_name": alias["alias_name"]}}
            self.ask("POST", "/collections/aliases", {"actions": [action]})
        for name, size in (("fuzzed", 4), ("frames", 192)):
            if name not in names:
                self.ask("PUT", f"/collections/{name}", {"vectors": {"size": size, "distance": "Cosine"}})
        points = [{"id": i, "vector": SHORT, "payload": PAYLOAD} for i in (1, 2, 3, UUID)]
        self.ask("PUT", "/collections/fuzzed/points?wait=true", {"points": points})
        known = self.ask("GET", "/collections/fuzzed")["result"]["payload_schema"]
        for field, kind in INDEXES.items():
            if known.get(field, {}).get("data_type") != kind:
                self.ask("PUT", "/collections/fuzzed/index?wait=true", {"field_name": field, "field_schema": kind})
        if is_whole or self._restored % SNAPSHOTS_EVERY == 0:
            self._restore_snapshots()
        self._restored += 1
        for model in self.ask("POST", "/v2/repository/index", {}):
            if model.get("state") != "READY":
                self.ask("POST", f"/v2/repository/models/{quote(model['name'], safe='')}/load")

    def _restore_snapshots(self) -> None:
        """One, of `fuzzed`."""
        folder = "/collections/fuzzed/snapshots"
        for name in KEPT:
            for snapshot in self.ask("GET", f"/collections/{name}/snapshots")["result"]:
                if (name, snapshot["name"]) != ("fuzzed", self._snapshot):
                    self.ask("DELETE", f"/collections/{name}/snapshots/{snapshot['name']}")
        if self._snapshot not in [one["name"] for one in self.ask("GET", folder)["result"]]:
            self._snapshot = self.ask("POST", folder)["result"]["name"]

    def resident_bytes(self) -> dict[str, int]:
        """Of this process, which has the node in it, and of the host of `fuzzed`."""
        found = {"node": _resident_bytes("self")}
        for pid, line in children_of(os.getpid()).items():
            if "/collections/fuzzed/" in line:
                found["host"] = _resident_bytes(str(pid))
        return found


def _resident_bytes(pid: str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def fuzzed_node() -> Iterator[FuzzedNode]:
    log = _Log()
    logging.getLogger("littoral").addHandler(log)
    try:
        with (
            short_folder() as folder,
            settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
            fake_upstream() as fake,
            node_in_thread(folder, site=write_fuzzed_site(folder, fake.url), limits=LIMITS) as served,
        ):
            fake.otherwise = Scripted("an answer")
            served.node.log = kept = Log.start(LogOptions(), io.StringIO())
            node = FuzzedNode(served, log)
            try:
                yield node
            finally:
                node.talk.close()
                kept.stop()
    finally:
        logging.getLogger("littoral").removeHandler(log)
