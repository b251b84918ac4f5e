"""Inside a namespace of a lab: `lab_peer.py udp ADDRESS COUNT ANSWER_S` or `lab_peer.py mesh OPTIONS_JSON PEER COUNT`.

Prints the milliseconds of each round trip, `null` for one that had no answer, as one line of JSON.
"""

import asyncio
import json
import socket
import sys
import time
from pathlib import Path

from littoral.errors import PeerError
from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_transport import ZenohTransport

PORT = 7
ANSWER_S = 20.0


def udp(address: str, count: int, answer_s: float) -> list[float | None]:
    found: list[float | None] = []
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(answer_s)
        for _ in range(count):
            began = time.perf_counter()
            asking.sendto(b"x", (address, PORT))
            try:
                asking.recv(16)
                found.append((time.perf_counter() - began) * 1000)
            except TimeoutError:
                found.append(None)
    return found


async def mesh(options: str, peer: str, count: int) -> list[float | None]:
    plain = json.loads(options)
    paths = {name: Path(plain.pop(name)) for name in ("ca", "certificate", "key")}
    found: list[float | None] = []
    async with await ZenohTransport.open(ZenohOptions(**plain, **paths)) as transport:
        met = asyncio.Event()
        transport.watch(lambda name, is_here: met.set() if is_here and name == peer else None)
        await asyncio.wait_for(met.wait(), 60)
        for _ in range(count):
            began = time.perf_counter()
            try:
                await transport.request(peer, "echo", bytes(2000), deadline_s=ANSWER_S)
                found.append((time.perf_counter() - began) * 1000)
            except PeerError:
                found.append(None)
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["udp", address, count, answer_s]:
            print(json.dumps(udp(address, int(count), float(answer_s))))
        case ["mesh", options, peer, count]:
            print(json.dumps(asyncio.run(mesh(options, peer, int(count)))))
