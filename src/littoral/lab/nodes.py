"""Nodes of one site for a lab: certificates and a site file for each, and the processes, which end with the lab."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from littoral.clock import SYSTEM, Clock
from littoral.lab.namespaces import address_of
from littoral.lifeline import LIFELINE_VARIABLE, STATUS_VARIABLE
from littoral.mesh.trust.certificates import issue, make_issuing, make_request, make_root, pem_of_chain, read_request
from littoral.mesh.trust.keys import new_issuing_key, new_node_key, pem_of
from littoral.settings import environment

__all__ = ["HTTP_PORT", "LabNodes", "name_of", "write_sites"]

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
data = "data"

[mesh]
site = "{site}"
listen = "{address}:{mesh}"
authority = "../ca.pem"
certificate = "node.pem"
key = "node.key"

[mesh.peers]
{peers}

[collections.notes]
vectors = {{ size = 64, distance = "Cosine" }}

[collections.notes.spread]
strategy = "hash"
shards = {shards}
replicas = 2
"""


def name_of(number: int) -> str:
    return f"gw-{number}"


def write_sites(folder: Path, node_count: int, clock: Clock = SYSTEM) -> dict[int, Path]:
    """A site file for each node, by number. What is there already stays; certificates are new each time."""
    numbers = range(1, node_count + 1)
    _certify(folder, numbers, clock)
    files = {}
    for number in numbers:
        files[number] = file = folder / name_of(number) / "site.toml"
        if not file.exists():
            file.write_text(_site_file(number, numbers))
    return files


def _site_file(number: int, numbers: Iterable[int]) -> str:
    peers = [f'{name_of(other)} = "{address_of(other)}:{MESH_PORT}"' for other in numbers if other != number]
    return SITE_FILE.format(
        name=name_of(number),
        address=address_of(number),
        site=SITE,
        http=HTTP_PORT,
        mesh=MESH_PORT,
        peers="\n".join(peers),
        shards=len(peers) + 1,
    )


def _certify(folder: Path, numbers: Iterable[int], clock: Clock) -> None:
    root_key, issuing_key, now_s = new_issuing_key(), new_issuing_key(), clock.wall()
    root = make_root(SITE, root_key, now_s)
    issuing = make_issuing(SITE, issuing_key.public_key(), root, root_key, now_s)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(pem_of_chain([root]))
    for number in numbers:
        place = folder / name_of(number)
        place.mkdir(exist_ok=True)
        key = new_node_key()
        made = issue(
            read_request(make_request(name_of(number), key)),
            issuing,
            issuing_key,
            now_s=now_s,
            life_s=CERTIFICATE_S,
            hosts=[address_of(number)],
        )
        (place / "node.pem").write_bytes(pem_of_chain([made, issuing]))
        file = os.open(place / "node.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(pem_of(key))


class LabNodes:
    """`littoral up` in each namespace; what each says goes to `log` beside its site file."""

    def __init__(self, sites: Mapping[int, Path], namespaces: Mapping[int, str]) -> None:
        self._alive, alive = os.pipe()
        self._held = alive
        self._processes = [self._started(sites[number], namespaces[number]) for number in sites]

    def stop(self) -> None:
        """All of them, and whatever they started."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.close(self._held)
        os.close(self._alive)

    def _started(self, site: Path, namespace: str) -> subprocess.Popen[bytes]:
        with (site.parent / "log").open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", namespace, sys.executable, "-P", "-m", "littoral", "up", str(site)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._alive, log.fileno()],
                env={
                    **environment(),
                    LIFELINE_VARIABLE: str(self._alive),
                    STATUS_VARIABLE: str(log.fileno()),
                },
            )
