"""The other end of `mesh_transport`: echoes over Zenoh or gRPC until its input ends. Says where it listens."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc

from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_transport import ZenohTransport

__all__ = ["CALLER", "PEER", "credentials", "options"]

CALLER, PEER = "caller", "peer"


def credentials(folder: Path, name: str) -> tuple[bytes, bytes, bytes]:
    """Authority, key, certificate, as gRPC takes them."""
    return tuple((folder / file).read_bytes() for file in ("ca.pem", f"{name}.key", f"{name}.pem"))  # type: ignore[return-value]


def options(folder: Path, protocol: Any, name: str, listen: str, peers: dict[str, str | None]) -> ZenohOptions:
    return ZenohOptions(
        "bench", name, listen, peers, folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key", protocol
    )


async def echo(_: object, body: bytes, *_context: object) -> bytes:
    return body


async def serve_zenoh(folder: Path, protocol: str, port: str) -> None:
    opened = await ZenohTransport.open(options(folder, protocol, PEER, f"127.0.0.1:{port}", {CALLER: None}))
    await opened.serve("echo", echo)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await opened.close()


async def serve_grpc(folder: Path) -> None:
    async def answer(body: bytes, _: object) -> bytes:
        return body

    ca, key, certificate = credentials(folder, PEER)
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench", {"echo": handler})])
    shown = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    print(server.add_secure_port("127.0.0.1:0", shown), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    kind, place, *rest = sys.argv[1:]
    asyncio.run(serve_grpc(Path(place)) if kind == "grpc" else serve_zenoh(Path(place), kind, *rest))
