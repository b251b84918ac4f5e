"""A node of a site as a process: its identity, Zenoh, renewals. Says `here`, answers `hello`, does what stdin says.

    python mesh_node.py DATA PORT PROTOCOL [PEER=HOST:PORT …]

`ask PEER` is answered by the peer's word or `no: …`, `renew` by `renewed` or the failure; the end of stdin ends it.
"""

import asyncio
import random
import sys
from pathlib import Path

from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.mesh.document_sync import DocumentSync
from littoral.mesh.identity.admission import Admission, GuardedTransport
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.renewal import Renewal, asking, serve_renewals
from littoral.mesh.zenoh_transport import ZenohTransport
from mesh_site import zenoh_options

DEADLINE_S = 1.0


async def main(data: Path, port: int, protocol: str, *peers: str) -> None:
    identity = Identity.open(data, SYSTEM)
    known = {name: place or None for name, _, place in (peer.partition("=") for peer in peers)}
    zenoh = await ZenohTransport.open(zenoh_options(identity, port, known, protocol))  # type: ignore[arg-type]
    transport = GuardedTransport(zenoh, admission := Admission(identity))
    documents = DocumentSync(identity.documents, transport, lambda _document: None)

    async def hello(caller: str, body: bytes) -> bytes:
        return b"hello " + caller.encode()

    await transport.serve("hello", hello)
    await serve_renewals(identity, transport)
    await documents.start()
    renewal = Renewal(identity, asking(transport), random.Random(0))
    print("here", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, _, rest = line.strip().partition(" ")
        try:
            print(await told(verb, rest, identity, transport, documents, renewal, admission), flush=True)
        except LittoralError as error:
            print(f"no: {error}", flush=True)
    await transport.close()


async def told(verb, rest, identity, transport, documents, renewal, admission) -> str:
    if verb == "ask":
        return (await transport.request(rest, "hello", b"", deadline_s=DEADLINE_S)).decode()
    if verb == "renew":
        return "renewed" if await renewal.tick() else f"not renewed: {renewal.state.failure}"
    if verb == "pull":
        return str(await documents.pull(rest))
    if verb == "revoke":
        Issuer(identity).write(lambda roster: roster.without(rest, identity.clock.wall()))
        return "revoked"
    assert verb == "refused"
    return str({reason: count for reason, count in admission.refused.items() if count})


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
