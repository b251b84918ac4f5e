"""The HTTP server alone: a POST of 200 bytes answered with 2,000 from memory, beside aiohttp's server on the same loop.

Each server is a process of its own, so is the load; servers in turn, the median of rounds.
`python -m bench.http_server SERVER` serves until its standard input ends; its first line is the address.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp.web
import uvloop

from bench.load import Load, http_request, under_load
from bench.rows import Row, row
from littoral.web.messages import Answer, Request
from littoral.web.server import serving

__all__ = ["run"]

ASKED = b"q" * 200
ANSWERED = b"a" * 2000
OCTETS = "application/octet-stream"
CLIENTS = (1, 8)
ROUNDS = 3
SECONDS, WARM_UP_S = 3.0, 0.5


def run() -> list[Row]:
    found: dict[tuple[str, int], list[Load]] = {}
    with contextlib.ExitStack() as stack:
        addresses = {name: stack.enter_context(_running(name)) for name in SERVERS}
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for name, address in addresses.items():
                    found.setdefault((name, clients), []).append(_load(address, clients))
    if failed := sum(load.failed for loads in found.values() for load in loads):
        raise RuntimeError(f"{failed} requests failed")
    at_once = CLIENTS[-1]
    p50_ms = {name: statistics.median(load.at_ms(0.5) for load in found[name, 1]) for name in SERVERS}
    a_second = {name: statistics.median(load.per_second() for load in found[name, at_once]) for name in SERVERS}
    return [
        row("one client, p50", p50_ms["littoral"], "ms", peer="aiohttp", peer_value=p50_ms["aiohttp"]),
        row(f"{at_once} clients", a_second["littoral"], "answers/s", peer="aiohttp", peer_value=a_second["aiohttp"]),
    ]


def _load(address: str, clients: int) -> Load:
    request = http_request("POST", "/", ASKED, content_type=OCTETS)
    return under_load(address, [request], clients=clients, seconds=SECONDS, warm_up_s=WARM_UP_S)


@contextlib.contextmanager
def _running(name: str) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.http_server", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@contextlib.asynccontextmanager
async def _littoral() -> AsyncIterator[str]:
    answer = Answer(ANSWERED, media_type=OCTETS)

    async def handler(request: Request) -> Answer:
        await request.body.read()
        return answer

    async with serving(handler, host="127.0.0.1", port=0) as server:
        yield server.address


@contextlib.asynccontextmanager
async def _aiohttp() -> AsyncIterator[str]:
    async def handler(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        await request.read()
        return aiohttp.web.Response(body=ANSWERED, content_type=OCTETS)

    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(handler))
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


SERVERS = {"littoral": _littoral, "aiohttp": _aiohttp}


async def _serve(name: str) -> None:
    async with SERVERS[name]() as address:
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
