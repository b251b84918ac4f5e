"""A site of real nodes under load, to which something happens: killed, frozen, cut off, and healed.

In a lab (`littoral.lab`) where this machine can have one, else on loopback, where nothing can be cut.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.fault_client import SIZE, Done, Spec, base_points
from bench.mesh_sites import free_ports
from littoral.clock import SYSTEM
from littoral.errors import NodeError, SetupError
from littoral.lab.lab import Order, end, tell
from littoral.lab.namespaces import checked_machine
from littoral.lab.nodes import LabNodes, Place, name_of, places_of, write_sites
from littoral.lab.shape import LAN, Shape
from littoral.mesh.shard_map import ShardMapFile, Spread
from littoral.node.federation.placing import placing_of
from littoral.vectors.records import CollectionConfig, VectorParams

__all__ = ["FAULTS", "FaultSite", "Window", "fault_site", "has_lab", "lost_writes", "running_lab"]

READ_FROM, WRITE_TO = ["kept", "thin"], ["kept", "both"]
HTTP_S = 30.0
READY_S, WHOLE_S = 180.0, 180.0
LAG_S_MAX = 3.0
POLL_S = 0.2
FAULTS = ("kill", "freeze", "cut", "out", "in")
PAGE = 1000
LOG_LINES = 20
COLLECTION = """
[collections.{name}]
vectors = {{ size = {size}, distance = "Euclid" }}
spread = {{ shards = {shards}, replicas = {replicas}, holders = {holders}, recall = 1.0 }}
"""


class Window(NamedTuple):
    """One fault. Times of the monotonic clock: it began, it was taken back, everything was as before."""

    fault: str
    victim: int
    began_s: float
    healed_s: float
    whole_s: float


class FaultSite:
    """Nodes that hold `kept` (two replicas), `both` (two, and both must have a write) and `thin` (one)."""

    def __init__(self, folder: Path, places: dict[int, Place], nodes: LabNodes, lab: str | None) -> None:
        self.folder = folder
        self.places = places
        self.nodes = nodes
        self._lab = lab
        self._clients: list[subprocess.Popen[bytes]] = []
        self.windows: list[Window] = []

    @property
    def has_cuts(self) -> bool:
        return self._lab is not None

    def get(self, number: int, path: str, body: object = None, verb: str = "GET") -> Any:
        """JSON. Raises OSError."""
        at = self.places[number]
        asking = http.client.HTTPConnection(at.host, at.http)
        asking.sock = self.nodes.connect(number, at, HTTP_S)
        with contextlib.closing(asking):
            data = None if body is None else json.dumps(body)
            asking.request(verb, path, data, {"content-type": "application/json"})
            answer = asking.getresponse()
            if answer.status >= 400:
                raise OSError(f"node {number}: {path}: status {answer.status}")
            return json.load(answer)

    def is_whole(self) -> bool:
        """Whether every node sees every other, holds what it should, and is up to date."""
        return all(self._is_whole(number) for number in self.places)

    def _is_whole(self, number: int) -> bool:
        try:
            told = self.get(number, "/api/mesh")
        except OSError:
            return False
        here = [one for one in told["members"] if one["is_here"] and (one["lag_s"] or 0) <= LAG_S_MAX]
        return len(here) == len(self.places) and not told["lacking"] and len(told["collections"]) == 3

    def wait_whole(self, timeout_s: float) -> float:
        """When it was. Raises AssertionError."""
        give_up = SYSTEM.monotonic() + timeout_s
        while not self.is_whole():
            if SYSTEM.monotonic() > give_up:
                raise AssertionError(f"not whole after {timeout_s} s: {self.told()}")
            time.sleep(POLL_S)
        return SYSTEM.monotonic()

    def told(self) -> str:
        """What each node says of the mesh."""
        said = []
        for number in self.places:
            try:
                members = self.get(number, "/api/mesh")["members"]
                said.append(f"{number}: {[(one['name'], one['is_here'], one['lag_s']) for one in members]}")
            except OSError as error:
                said.append(f"{number}: {error!r}")
            said += (self.folder / name_of(number) / "log").read_text().splitlines()[-LOG_LINES:]
        return "\n".join(said)

    def fill(self) -> None:
        rows = base_points()
        points = [{"id": at, "vector": row.tolist()} for at, row in enumerate(rows)]
        for name in READ_FROM:
            self.get(1, f"/collections/{name}/points?wait=true", {"points": points}, "PUT")

    def spread(self, name: str) -> Spread:
        """As the first node has it."""
        return ShardMapFile(self.folder / name_of(1) / "data" / "mesh").map.spreads[name]

    def load(self, *, reads: float, writes: float) -> None:
        """Clients at every node, until `unload`."""
        config = CollectionConfig(VectorParams(SIZE, "Euclid"))
        spreads = {name: self.spread(name) for name in READ_FROM}
        ids = list(range(len(base_points())))
        shards = {name: placing_of(spread, config).of_ids(ids) for name, spread in spreads.items()}
        holders = {name: dict(spread.places.items()) for name, spread in spreads.items()}
        for number, at in self.places.items():
            out = self.folder / f"client-{number}.jsonl"
            spec = Spec(number, at.host, at.http, READ_FROM, WRITE_TO, reads, writes, shards, holders, str(out))
            file = self.folder / f"client-{number}.json"
            file.write_bytes(msgspec.json.encode(spec))
            within = self.nodes.within(number)
            self._clients.append(
                subprocess.Popen(
                    [*within, sys.executable, "-m", "bench.fault_client", str(file)], stdin=subprocess.PIPE
                )
            )

    def unload(self) -> list[Done]:
        """Ends the clients; what became of all they asked."""
        for client in self._clients:
            assert client.stdin is not None
            client.stdin.close()
        for client in self._clients:
            client.wait()
        self._clients.clear()
        decode = msgspec.json.Decoder(Done).decode
        files = [self.folder / f"client-{number}.jsonl" for number in self.places]
        return sorted(
            (decode(line) for file in files for line in file.read_bytes().splitlines()), key=lambda done: done.ended_s
        )

    def suffer(self, fault: str, victim: int, *, lasts_s: float) -> Window:
        """One fault, for so long, and its end; waits until the site is whole."""
        began_s = SYSTEM.monotonic()
        self._begin(fault, victim)
        time.sleep(max(0.0, began_s + lasts_s - SYSTEM.monotonic()))
        healed_s = self._heal(fault, victim)
        window = Window(fault, victim, began_s, healed_s, self.wait_whole(WHOLE_S))
        self.windows.append(window)
        return window

    def _begin(self, fault: str, victim: int) -> None:
        if fault == "kill":
            self.nodes.kill(victim)
        elif fault == "freeze":
            self.nodes.freeze(victim)
        else:
            assert self._lab is not None
            way = "both" if fault == "cut" else fault
            tell(self._lab, msgspec.convert({"verb": "cut", "nodes": [victim], "way": way}, Order))

    def _heal(self, fault: str, victim: int) -> float:
        """From when it can be whole: a node that was killed is first to be ready."""
        if fault == "kill":
            self.nodes.start(victim)
            while not self.is_ready(victim):
                time.sleep(POLL_S)
            return SYSTEM.monotonic()
        if fault == "freeze":
            self.nodes.thaw(victim)
        else:
            assert self._lab is not None
            tell(self._lab, Order("heal"))
        return SYSTEM.monotonic()

    def is_ready(self, number: int) -> bool:
        try:
            return bool(self.get(number, "/readyz")["ready"])
        except OSError:
            return False

    def points(self, number: int, name: str) -> dict[int, int]:
        """Turn of every point that was written, as this node has it: its own replicas first."""
        found: dict[int, int] = {}
        offset = None
        while True:
            body = {"limit": PAGE, "offset": offset, "with_payload": True}
            said = self.get(number, f"/collections/{name}/points/scroll", body, "POST")["result"]
            found |= {one["id"]: (one["payload"] or {}).get("turn", 0) for one in said["points"]}
            if (offset := said["next_page_offset"]) is None:
                return found


def lost_writes(done: Sequence[Done], found: dict[str, dict[int, int]]) -> list[str]:
    """Acknowledged turns that a point has not, nor a later one. found: turns by collection and point."""
    promised: dict[tuple[str, int], int] = {}
    for one in done:
        if one.kind == "write" and one.status == 200:
            for point in one.points:
                promised[one.collection, point] = max(one.turn, promised.get((one.collection, point), 0))
    return [
        f"{name} {point}: turn {turn} was acknowledged, {found[name].get(point)} is there"
        for (name, point), turn in promised.items()
        if found[name].get(point, 0) < turn
    ]


def has_lab() -> bool:
    """Whether this machine can have one."""
    try:
        checked_machine()
    except SetupError:
        return False
    return True


@contextlib.contextmanager
def fault_site(
    folder: Path, node_count: int, *, in_lab: bool, shape: Shape = LAN, deadline_ms: int = 1000, seed: int = 0
) -> Iterator[FaultSite]:
    """Nodes that are whole, and filled. Raises NodeError where there can be no lab."""
    name = f"fault{os.getpid()}"
    collections = "".join(
        COLLECTION.format(name=one, size=SIZE, shards=shards, replicas=replicas, holders=holders)
        for one, shards, replicas, holders in (
            ("kept", node_count, 2, 1),
            ("both", 2, 2, 2),
            ("thin", node_count, 1, 1),
        )
    )
    with contextlib.ExitStack() as opened:
        places = places_of(node_count) if in_lab else free_places(node_count)
        namespaces = opened.enter_context(running_lab(name, node_count, shape, seed)) if in_lab else {}
        sites = write_sites(folder, places, collections=collections, deadline_ms=deadline_ms)
        nodes = LabNodes(sites, namespaces)
        opened.callback(nodes.stop)
        site = FaultSite(folder, places, nodes, name if in_lab else None)
        site.wait_whole(READY_S)
        site.fill()
        yield site


@contextlib.contextmanager
def running_lab(name: str, node_count: int, shape: Shape, seed: int) -> Iterator[dict[int, str]]:
    """Namespaces by node; the switch is a process of its own."""
    script = (
        "import json, sys; from littoral.lab.lab import Lab, Shape;"
        "name, count, shape, seed = json.loads(sys.argv[1]);"
        "lab = Lab(name, count, Shape(*shape), seed=seed, with_host=False);"
        "print('ready', flush=True); lab.run(); lab.close()"
    )
    asked = json.dumps([name, node_count, list(shape), seed])
    with subprocess.Popen([sys.executable, "-c", script, asked], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise NodeError("no lab on this machine")
        try:
            yield {node.number: node.namespace for node in tell(name, Order("state")).nodes}
        finally:
            end(name)


def free_places(node_count: int) -> dict[int, Place]:
    """On loopback."""
    ports = zip(free_ports(node_count, "tls"), free_ports(node_count, "quic"), strict=True)
    return {number: Place("127.0.0.1", *pair) for number, pair in enumerate(ports, 1)}
