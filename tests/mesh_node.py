"""A node of a site as a process: its identity over Zenoh, kept. Says `here`, answers `hello`, does what stdin says.

    python mesh_node.py DATA PORT PROTOCOL

`ask PEER` is answered by the peer's word or `no: …`; `tick` lets a round of the keeper pass, `renew` of the
renewal alone, whose links stay as they are; the end of stdin ends it.
"""

import asyncio
import random
import sys
from pathlib import Path
from typing import Literal, cast

from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.keeper import Keeper, peers_of
from littoral.mesh.zenoh_transport import ZenohTransport
from mesh_site import zenoh_options

DEADLINE_S = 1.0
Protocol = Literal["quic", "tls"]


async def main(data: Path, port: int, protocol: Protocol) -> None:
    identity = Identity.open(data, SYSTEM)
    roster = identity.roster()
    assert roster is not None
    options = zenoh_options(identity, port, peers_of(roster, identity.name, protocol), protocol)
    async with await ZenohTransport.open(options) as links:
        said: list[str] = []
        keeper = Keeper(identity, links, protocol=protocol, told=lambda _: None, say=said.append, rng=random.Random(0))

        async def hello(caller: str, _body: bytes) -> bytes:
            return b"hello " + caller.encode()

        await keeper.transport.serve("hello", hello)
        await keeper.start()
        print("here", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                print(await told(line.split(), keeper, said), flush=True)
            except LittoralError as error:
                print(f"no: {error}", flush=True)


async def told(words: list[str], keeper: Keeper, said: list[str]) -> str:
    match words:
        case ["ask", peer]:
            return (await keeper.transport.request(peer, "hello", b"", deadline_s=DEADLINE_S)).decode()
        case ["tick"]:
            before = keeper.renewal.state.renewed_count
            await keeper.tick()
            number = keeper.identity.documents.numbers()["roster"]
            renewed = keeper.renewal.state.renewed_count - before
            return f"roster {number}, renewed {renewed}, {keeper.renewal.state.failure or 'no failure'}"
        case ["renew"]:
            return str(await keeper.renewal.tick())
    return f"what? {said}"


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), cast(Protocol, sys.argv[3])))
