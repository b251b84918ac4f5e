"""Nodes of one site for a lab: certificates and a site file for each, and the processes, which end with the lab."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import ConflictError, NotFoundError
from littoral.lab import processes
from littoral.lab.namespaces import address_of, connect
from littoral.lifeline import LIFELINE_VARIABLE, STATUS_VARIABLE
from littoral.mesh.trust.certificates import issue, make_issuing, make_request, make_root, pem_of_chain, read_request
from littoral.mesh.trust.keys import new_issuing_key, new_node_key, pem_of
from littoral.settings import environment

__all__ = ["HTTP_PORT", "LabNodes", "Place", "name_of", "places_of", "write_sites"]

SITE = "lab"
HTTP_PORT = 8642
MESH_PORT = 7447
CERTIFICATE_S = 30 * 86_400
STOP_S = 10.0

SITE_FILE = """\
# Made by `littoral lab up`, and kept as it is from then on: change it, and start the lab again.
[node]
name = "{name}"
listen = "{address}:{http}"
beyond_loopback = "without token and TLS"
data = "data"

[mesh]
site = "{site}"
listen = "{address}:{mesh}"
authority = "../ca.pem"
certificate = "node.pem"
key = "node.key"
deadline_ms = {deadline_ms}

[mesh.peers]
{peers}
"""
NOTES = """
[collections.notes]
vectors = { size = 64, distance = "Cosine" }

[collections.notes.spread]
strategy = "hash"
shards = {shards}
replicas = 2
"""


def name_of(number: int) -> str:
    return f"gw-{number}"


class Place(NamedTuple):
    """Where a node is reached by HTTP and by the others."""

    host: str
    http: int = HTTP_PORT
    mesh: int = MESH_PORT


def places_of(node_count: int) -> dict[int, Place]:
    """Of the nodes of a lab."""
    return {number: Place(address_of(number)) for number in range(1, node_count + 1)}


def write_sites(
    folder: Path,
    places: Mapping[int, Place],
    *,
    collections: str = NOTES,
    deadline_ms: int = 1000,
    clock: Clock = SYSTEM,
) -> dict[int, Path]:
    """A site file for each node, by number. What is there already stays; certificates are new each time.

    collections: tables of the site file, `{shards}` in them the number of nodes.
    """
    _certify(folder, places, clock)
    files = {}
    for number in places:
        files[number] = file = folder / name_of(number) / "site.toml"
        if not file.exists():
            file.write_text(_site_file(number, places, collections, deadline_ms))
    return files


def _site_file(number: int, places: Mapping[int, Place], collections: str, deadline_ms: int) -> str:
    own = places[number]
    peers = [f'{name_of(one)} = "{at.host}:{at.mesh}"' for one, at in places.items() if one != number]
    head = SITE_FILE.format(
        name=name_of(number),
        address=own.host,
        site=SITE,
        http=own.http,
        mesh=own.mesh,
        deadline_ms=deadline_ms,
        peers="\n".join(peers),
    )
    return head + collections.replace("{shards}", str(len(places)))


def _certify(folder: Path, places: Mapping[int, Place], clock: Clock) -> None:
    root_key, issuing_key, now_s = new_issuing_key(), new_issuing_key(), clock.wall()
    root = make_root(SITE, root_key, now_s)
    issuing = make_issuing(SITE, issuing_key.public_key(), root, root_key, now_s)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(pem_of_chain([root]))
    for number, at in places.items():
        place = folder / name_of(number)
        place.mkdir(exist_ok=True)
        key = new_node_key()
        made = issue(
            read_request(make_request(name_of(number), key)),
            issuing,
            issuing_key,
            now_s=now_s,
            life_s=CERTIFICATE_S,
            hosts=[at.host],
        )
        (place / "node.pem").write_bytes(pem_of_chain([made, issuing]))
        file = os.open(place / "node.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(pem_of(key))


class LabNodes:
    """`littoral up` in each namespace; what each says goes to `log` beside its site file.

    namespaces: of the nodes that have one.
    """

    def __init__(self, sites: Mapping[int, Path], namespaces: Mapping[int, str]) -> None:
        self._alive, alive = os.pipe()
        self._held = alive
        self._sites = sites
        self._namespaces = namespaces
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.frozen: set[int] = set()
        for number in sites:
            self.start(number)

    def within(self, number: int) -> list[str]:
        """What runs a command where that node runs."""
        namespace = self._namespaces.get(number)
        return [] if namespace is None else ["ip", "netns", "exec", namespace]

    def connect(self, number: int, at: Place, timeout_s: float) -> socket.socket:
        """To its HTTP port, from where it runs. Raises OSError."""
        if (namespace := self._namespaces.get(number)) is None:
            return socket.create_connection((at.host, at.http), timeout_s)
        return connect(namespace, (at.host, at.http), timeout_s)

    def is_up(self, number: int) -> bool:
        """Whether its processes are there, and not frozen."""
        return number in self._processes and number not in self.frozen

    def start(self, number: int) -> None:
        """Raises ConflictError for one that runs."""
        if number in self._processes:
            raise ConflictError(f"node {number} runs already")
        self._processes[number] = self._started(number)

    def kill(self, number: int) -> None:
        """As a power cut would, but for what the system has not written to the disk yet. Raises NotFoundError."""
        process = self._running(number)
        processes.kill(process.pid)
        process.wait()
        del self._processes[number]
        self.frozen.discard(number)

    def freeze(self, number: int) -> None:
        """It stands still, and its connections stay. Raises NotFoundError."""
        processes.freeze(self._running(number).pid)
        self.frozen.add(number)

    def thaw(self, number: int) -> None:
        """It goes on. Raises NotFoundError."""
        processes.thaw(self._running(number).pid)
        self.frozen.discard(number)

    def stop(self) -> None:
        """All of them, and whatever they started."""
        for number in list(self.frozen):
            self.thaw(number)
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                processes.kill(process.pid)
                process.wait()
        os.close(self._held)
        os.close(self._alive)

    def _running(self, number: int) -> "subprocess.Popen[bytes]":
        if (process := self._processes.get(number)) is None:
            raise NotFoundError(f"node {number} does not run")
        return process

    def _started(self, number: int) -> "subprocess.Popen[bytes]":
        site = self._sites[number]
        with (site.parent / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.within(number), sys.executable, "-P", "-m", "littoral", "up", str(site)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._alive, log.fileno()],
                process_group=0,  # Ctrl-C at the terminal is the lab's
                env={
                    **environment(),
                    LIFELINE_VARIABLE: str(self._alive),
                    STATUS_VARIABLE: str(log.fileno()),
                },
            )
