"""A node of a mesh as a process of its own, for tests that kill and freeze it: `mesh_process.py OPTIONS_JSON`.

Serves `echo`, `never` and `refused`, the count of a reason; ends when its input does. Says `ready`.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

from littoral.mesh.zenoh_log import ZenohLog
from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_transport import ZenohTransport
from littoral.transport.traffic import Refused


async def echo(_: str, body: bytes) -> bytes:
    return body


async def never(_: str, _body: bytes) -> bytes:
    return await asyncio.get_running_loop().create_future()


async def main() -> None:
    ZenohLog.start()
    plain = json.loads(sys.argv[1])
    paths = {name: Path(plain.pop(name)) for name in ("ca", "certificate", "key")}
    async with await ZenohTransport.open(ZenohOptions(**plain, **paths)) as transport:
        await transport.serve("echo", echo)
        await transport.serve("never", never)

        async def refused(_: str, body: bytes) -> bytes:
            return b"%d" % transport.traffic.refused[cast(Refused, body.decode())]

        await transport.serve("refused", refused)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
