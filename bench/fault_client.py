"""A client at one node of a site under load: `python -m bench.fault_client SPEC`, until its input ends.

Reads and writes at a steady pace, and writes what became of each as a line of JSON. The answer to every read is known:
points that are written meanwhile lie far from where it looks.
"""

import http.client
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from littoral.clock import SYSTEM

__all__ = ["FAR", "Done", "Spec", "base_points", "owned_ids", "truth"]

SIZE, POINTS, K = 16, 400, 10
FAR = 40.0
WRITE_IDS, BATCH = 12, 3
FIRST_ID, IDS_APART = 1_000_000, 1000
PATIENCE_S = 40.0
AWAY_PAUSE_S = 0.05
ROUNDING = 1e-5


class Spec(msgspec.Struct):
    """reads, writes: a second. read_from, write_to: collections; each write collection has a thread of its own.

    shards: of each base point, by collection. holders: by shard, by collection. out: file.
    """

    number: int
    host: str
    port: int
    read_from: list[str]
    write_to: list[str]
    reads: float
    writes: float
    shards: dict[str, list[int]]
    holders: dict[str, dict[int, list[str]]]
    out: str


class Done(msgspec.Struct):
    """One request. is_right: of a read that had an answer. points, turn: that were written, by number."""

    client: int
    kind: str
    collection: str
    began_s: float
    ended_s: float
    status: int
    is_right: bool = False
    missing: list[str] = []
    points: list[int] = []
    turn: int = 0
    why: str = ""


def base_points() -> np.ndarray:
    """float32[POINTS, SIZE]; the id of each is its row."""
    return np.random.default_rng(5).standard_normal((POINTS, SIZE)).astype("<f4")


def owned_ids(client: int, thread: int) -> range:
    """Of points that nobody else writes."""
    first = FIRST_ID + (10 * client + thread) * IDS_APART
    return range(first, first + WRITE_IDS)


def truth(query: np.ndarray, without: np.ndarray) -> list[int]:
    """Ids of the nearest points, those left out for which `without` is true."""
    apart = ((base_points() - query) ** 2).sum(axis=1)
    apart[without] = np.inf
    return np.argsort(apart, kind="stable")[:K].tolist()


def are_nearest(query: np.ndarray, ids: list[int], without: np.ndarray) -> bool:
    """Whether these are the nearest of the points that are not left out. Of two as near to within rounding either may
    come first, and a host rounds in another way than this.
    """
    nearest = truth(query, without)
    if len(set(ids)) != len(nearest) or max(ids) >= len(without) or without[ids].any():
        return False
    apart = ((base_points() - query) ** 2).sum(axis=1)
    return bool(np.allclose(apart[ids], apart[nearest], rtol=ROUNDING))


class Client:
    """Threads share nothing but the file."""

    def __init__(self, spec: Spec, out: IO[bytes]) -> None:
        self._spec = spec
        self._out = out
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._base = base_points()

    def run(self) -> None:
        threads = [threading.Thread(target=self._read, args=(name,)) for name in self._spec.read_from]
        threads += [
            threading.Thread(target=self._write, args=(name, at)) for at, name in enumerate(self._spec.write_to)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._end.set()
        for thread in threads:
            thread.join()

    def _read(self, name: str) -> None:
        rng = np.random.default_rng(self._spec.number)
        asking = Asking(self._spec)
        for _ in self._paced(self._spec.reads):
            query = rng.standard_normal(SIZE).astype("<f4")
            body = {"query": query.tolist(), "limit": K, "params": {"exact": True}}
            began_s = SYSTEM.monotonic()
            status, said, how = asking.post("POST", f"/collections/{name}/points/query", body)
            done = Done(self._spec.number, "read", name, began_s, SYSTEM.monotonic(), status)
            if status == 200:
                told = json.loads(how)["search"]
                done.missing = told["missing"]
                ids = [hit["id"] for hit in json.loads(said)["result"]["points"]]
                done.is_right, done.why = self._judged(name, query, ids, told)
            self._note(done)

    def _judged(self, name: str, query: np.ndarray, ids: list[int], told: dict[str, object]) -> tuple[bool, str]:
        """Whether these are the nearest of all points but those of some shards that only the missing nodes hold."""
        missing = set(told["missing"])  # type: ignore[call-overload]
        holders = self._spec.holders[name]
        dark = [shard for shard, nodes in holders.items() if missing.issuperset(nodes)]
        shard_of = np.array(self._spec.shards[name])
        for lost in itertools.chain.from_iterable(itertools.combinations(dark, n) for n in range(len(dark) + 1)):
            named = {node for shard in lost for node in holders[shard]}
            if named == missing and are_nearest(query, ids, np.isin(shard_of, lost)):
                is_honest = not (missing and told["certified"])
                return is_honest, "" if is_honest else f"certain without {sorted(missing)}"
        return False, f"found {ids}, nearest {truth(query, np.isin(shard_of, []))}, {told}"

    def _write(self, name: str, thread: int) -> None:
        rng = np.random.default_rng(1000 + self._spec.number)
        asking, ids = Asking(self._spec), owned_ids(self._spec.number, thread)
        for turn, _ in enumerate(self._paced(self._spec.writes), 1):
            some = rng.choice(ids, BATCH, replace=False).tolist()
            rows = rng.standard_normal((BATCH, SIZE)) + FAR
            points = [
                {"id": one, "vector": row.tolist(), "payload": {"turn": turn}}
                for one, row in zip(some, rows, strict=True)
            ]
            began_s = SYSTEM.monotonic()
            status, said, _ = asking.post("PUT", f"/collections/{name}/points?wait=true", {"points": points})
            why = "" if status == 200 else said.decode(errors="replace")[:300]
            ended_s = SYSTEM.monotonic()
            self._note(Done(self._spec.number, "write", name, began_s, ended_s, status, False, [], some, turn, why))

    def _paced(self, rate: float) -> Iterator[None]:
        """What is late is left out, not made up for."""
        due_s = SYSTEM.monotonic()
        while not self._end.wait(max(0.0, due_s - SYSTEM.monotonic())):
            yield
            due_s = max(due_s + 1 / rate, SYSTEM.monotonic())

    def _note(self, done: Done) -> None:
        with self._lock:
            self._out.write(msgspec.json.encode(done) + b"\n")
            self._out.flush()
        if done.status == 0:
            self._end.wait(AWAY_PAUSE_S)


class Asking:
    """One connection, made anew after a failure. Status 0: no answer."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._connection: http.client.HTTPConnection | None = None

    def post(self, verb: str, path: str, body: object) -> tuple[int, bytes, str]:
        """Status, body, and the header `littoral-how`."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._spec.host, self._spec.port, timeout=PATIENCE_S)
        try:
            self._connection.request(verb, path, json.dumps(body).encode(), {"content-type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("littoral-how", "")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            return 0, repr(error).encode(), ""


if __name__ == "__main__":
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Spec)
    with Path(spec.out).open("ab") as out:
        Client(spec, out).run()
