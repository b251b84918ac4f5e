"""A node with a replica, as a process: `replica_process.py NAME FOLDER PEER …`; JSON lines on `FOLDER/NAME.ask`."""

import asyncio
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.mesh.sync import ShippingTimes, Sync
from littoral.node.supervise import Patience
from littoral.node.supervisor import embedded
from littoral.vectors.collections import Collections
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.replication.entries import id_of
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import found_ids, read_points
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.shared_log import SharedLog
from unix_mesh import UnixMesh

SIZE = 8
SHARD = "frames-0"
CONFIG = CollectionConfig(VectorParams(SIZE, "Cosine"))
TIMES = ShippingTimes(pull_s=0.5, compare_s=3.0, request_s=2.0, pause_max_s=0.5)


async def points(replica: Replica) -> dict[str, Any]:
    """Every point as the shard has it, with its version."""
    found = await read_points(replica.shard, await found_ids(replica.shard))
    versions = await replica.pipeline.read(lambda journal: journal.versions(range(4096)))
    told: dict[str, Any] = {}
    for key, version in versions.items():
        change = found.pop(id_of(key), None)
        vectors = change.vectors.hex() if change is not None and isinstance(change.vectors, bytes) else None
        told[str(id_of(key))] = [version.time, version.origin, vectors, change and change.payload]
    assert found == {}, "points without a version"
    return told


async def answer(replica: Replica, sync: Sync, hosts: Any, asked: dict[str, Any]) -> Any:
    match asked["do"]:
        case "upsert":
            rows = np.array(asked["vectors"], "<f4")
            payloads = [{"turn": asked["turn"]}] * len(asked["ids"])
            stamp = await replica.upsert_points(PointBatch(asked["ids"], rows.tobytes(), payloads), deadline_s=10)
        case "delete":
            stamp = await replica.delete(asked["ids"], deadline_s=10)
        case "merge":
            change = PayloadChange(how="merge", ids=asked["ids"], payload={"turn": asked["turn"]})
            stamp = await replica.change_payload(change, deadline_s=10)
        case "points":
            return await points(replica)
        case "root":
            return [(await replica.pipeline.read(Journal.digests)).of([0])[0].hex(), replica.vector]
        case "hosts":
            return [state.pid for state in hosts.states.values()]
    found = await sync.copies(SHARD, stamp.origin, stamp.number, count=asked.get("copies", 1), deadline_s=5)
    return [stamp.time, stamp.origin, found.have]


async def main(name: str, folder: Path, peers: list[str]) -> None:
    data = folder / name
    data.mkdir(exist_ok=True)
    with embedded(data, patience=Patience(pause_max_ready_s=0.05)) as link:
        async with link:
            collections = await Collections.open(data, link)
            if "frames" not in collections:
                await collections.create("frames", CONFIG)
            replica = await Replica.open(data / "frames.journal", collections.get("frames"), name)
            mesh = UnixMesh(name, folder)
            sync = Sync(mesh, clock=SYSTEM, rng=Random(name), times=TIMES)
            await sync.start()
            await mesh.start()
            sync.add(SharedLog(SHARD, replica), peers)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    while line := await reader.readline():
                        try:
                            said = {"ok": await answer(replica, sync, link, json.loads(line))}
                        except LittoralError as error:
                            said = {"error": str(error)}
                        writer.write(json.dumps(said).encode() + b"\n")
                        await writer.drain()
                except ConnectionError:
                    return
                finally:
                    writer.close()

            path = folder / f"{name}.ask"
            path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(serve, path, limit=1 << 24)
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
