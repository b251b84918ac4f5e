"""A small node for tests: `tiny_node.py <data>`; one JSON object per line in and out, on `<data>/node.sock`."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import LittoralError, NotFoundError
from littoral.node.supervisor_link import SupervisorLink
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig, VectorParams

SIZE = 16
NAME = "frames"


async def answer(collections: Collections, link: SupervisorLink, request: dict[str, Any]) -> Any:
    collection = collections.get(NAME)
    match request["do"]:
        case "upsert":
            rows = np.array(request["vectors"], "<f4")
            return await collection.upsert(
                request["ids"], rows, request["payloads"], acknowledge=request["acknowledge"]
            )
        case "count":
            return await collection.count()
        case "children":
            return {name: state.pid for name, state in link.states.items()}
    raise NotFoundError(request["do"])


async def main(data: Path, *, is_stubborn: bool) -> None:
    link = SupervisorLink.from_environment()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, (lambda: None) if is_stubborn else stopped.set)
    async with link:
        collections = await Collections.open(data, link)
        if NAME not in collections:
            await collections.create(NAME, CollectionConfig(VectorParams(SIZE, "Euclid")))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while line := await reader.readline():
                    try:
                        said = {"ok": await answer(collections, link, json.loads(line))}
                    except LittoralError as error:
                        said = {"error": str(error)}
                    writer.write(json.dumps(said).encode() + b"\n")
                    await writer.drain()
            except ConnectionError:
                return
            finally:
                writer.close()

        (data / "node.sock").unlink(missing_ok=True)
        server = await asyncio.start_unix_server(serve, data / "node.sock", limit=1 << 24)
        link.ready()
        await stopped.wait()
        server.close()
        await collections.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), is_stubborn="--stubborn" in sys.argv))
