"""Echoes between two processes over Zenoh by QUIC and by TLS, and over gRPC, each with certificates at both ends."""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc

from bench.mesh_peer import CALLER, PEER, credentials, options
from bench.mesh_sites import certify, free_ports
from bench.rows import Row, row
from littoral.mesh.zenoh_transport import ZenohTransport

__all__ = ["run"]

SIZES = {
    "2 KB": (2_000, 1000),
    "20 KB": (20_000, 1000),
    "150 KB": (150_000, 300),
    "600 KB": (600_000, 100),
    "4 MB": (4_000_000, 20),
}
IN_FLIGHT, REQUESTS = 16, 4000
DEADLINE_S = 10.0
P50_MS_MAX = 2.0

Echo = Callable[[bytes], Awaitable[bytes]]


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        certify(folder := Path(name), (CALLER, PEER))
        measured = {
            "QUIC": asyncio.run(over_zenoh(folder, "quic")),
            "TLS": asyncio.run(over_zenoh(folder, "tls")),
        }
        peer = asyncio.run(over_grpc(folder))
    return [
        row(
            f"{kind}: {key}",
            value,
            unit_of(key),
            limit=P50_MS_MAX if key == "20 KB echo, p50" else None,
            peer="gRPC",
            peer_value=peer[key],
        )
        for kind, values in measured.items()
        for key, value in values.items()
    ]


def unit_of(key: str) -> str:
    return "µs" if key.endswith("a request") else "ms"


@contextlib.asynccontextmanager
async def peer_process(*arguments: object) -> AsyncIterator[int]:
    """The port at which the other end listens, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.mesh_peer", *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def over_zenoh(folder: Path, protocol: str) -> dict[str, float]:
    (port,) = free_ports(1, protocol)
    async with peer_process(protocol, folder, port):
        here = options(folder, protocol, CALLER, "127.0.0.1:0", {PEER: f"127.0.0.1:{port}"})
        async with await ZenohTransport.open(here) as transport:
            met = asyncio.Event()
            transport.watch(lambda _, is_here: met.set() if is_here else None)
            await met.wait()
            return await measured(lambda body: transport.request(PEER, "echo", body, deadline_s=DEADLINE_S))


async def over_grpc(folder: Path) -> dict[str, float]:
    ca, key, certificate = credentials(folder, CALLER)
    async with (
        peer_process("grpc", folder) as port,
        grpc.aio.secure_channel(
            f"127.0.0.1:{port}",
            grpc.ssl_channel_credentials(ca, key, certificate),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        ) as channel,
    ):
        return await measured(channel.unary_unary("/bench/echo"))


async def measured(echo: Echo) -> dict[str, float]:
    found = {}
    for name, (size, repeats) in SIZES.items():
        body = bytes(size)
        times = []
        for _ in range(repeats + repeats // 10):
            began = time.perf_counter()
            assert len(await echo(body)) == size
            times.append((time.perf_counter() - began) * 1e3)
        times = times[repeats // 10 :]
        found[f"{name} echo, p50"] = statistics.median(times)
        if repeats >= 1000:
            found[f"{name} echo, p99"] = statistics.quantiles(times, n=100)[98]
    found[f"2 KB, {IN_FLIGHT} in flight: a request"] = await crowded(echo, bytes(2000))
    return found


async def crowded(echo: Echo, body: bytes) -> float:
    """Microseconds for each of many, of which some are always under way."""

    async def one_after_another() -> None:
        for _ in range(REQUESTS // IN_FLIGHT):
            await echo(body)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    return (time.perf_counter() - began) / REQUESTS * 1e6
