"""Nodes of one site on this machine, for benchmarks: their certificates, ports and site files, and when they are up."""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from littoral.mesh.trust.certificates import issue, make_issuing, make_request, make_root, pem_of_chain, read_request
from littoral.mesh.trust.keys import new_issuing_key, new_node_key, pem_of
from littoral.node.beside import RunningNode
from littoral.node.federation.federation import Federation

__all__ = ["SOCKETS", "certify", "free_ports", "until_here", "until_whole", "write_sites"]

SOCKETS = {"quic": socket.SOCK_DGRAM, "tls": socket.SOCK_STREAM}
PORTS = range(12_000, 20_000)
PAUSE_S = 0.1
SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
[mesh]
site = "bench"
listen = "127.0.0.1:{port}"
transport = "{transport}"
peers = {{ {peers} }}
authority = "../ca.pem"
certificate = "../{name}.pem"
key = "../{name}.key"
"""


def write_sites(folder: Path, names: Sequence[str], rest: str, *, transport: str = "quic") -> dict[str, Path]:
    """By node, its file. rest: of each file, from within `[mesh]` on."""
    certify(folder, names)
    ports = dict(zip(names, free_ports(len(names), transport), strict=True))
    files = {}
    for name in names:
        peers = ", ".join(f'{peer} = "127.0.0.1:{ports[peer]}"' for peer in names if peer != name)
        (folder / name).mkdir()
        files[name] = folder / name / "site.toml"
        files[name].write_text(SITE.format(name=name, port=ports[name], transport=transport, peers=peers) + rest)
    return files


def free_ports(count: int, transport: str) -> list[int]:
    """Different ones, that nothing listens at, and that the system gives to nobody of itself."""
    candidates, found = list(PORTS), []
    random.Random(os.urandom(8)).shuffle(candidates)
    while len(found) < count:
        port = candidates.pop()
        with contextlib.suppress(OSError), socket.socket(type=SOCKETS[transport]) as one:
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def certify(folder: Path, names: Sequence[str]) -> None:
    """Files of PEM for these nodes of one site."""
    now_s = time.time()  # noqa: TID251
    root_key, issuing_key = new_issuing_key(), new_issuing_key()
    root = make_root("bench", root_key, now_s)
    issuing = make_issuing("bench", issuing_key.public_key(), root, root_key, now_s)
    (folder / "ca.pem").write_bytes(pem_of_chain([root]))
    for name in names:
        key = new_node_key()
        request = read_request(make_request(name, key))
        node = issue(request, issuing, issuing_key, now_s=now_s, life_s=86400, hosts=["127.0.0.1"])
        (folder / f"{name}.pem").write_bytes(pem_of_chain([node, issuing]))
        (folder / f"{name}.key").write_bytes(pem_of(key))


async def until_here(federation: Federation) -> None:
    """All nodes are here, and have what they are to hold."""
    while True:
        states = federation.members()
        if not federation.lacking() and all(state.is_here and state.points is not None for state in states):
            return
        await asyncio.sleep(PAUSE_S)


async def until_whole(peer: RunningNode) -> None:
    """It has what it is to hold."""
    with contextlib.closing(peer.client()) as client:
        while (await asyncio.to_thread(client.call, "GET", "/api/mesh"))["lacking"]:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(PAUSE_S)
