"""A load generator in a process of its own: requests over kept connections, closed loop or at a rate, timed."""

import asyncio
import json
import subprocess
import sys
from typing import NamedTuple

from littoral.clock import SYSTEM

__all__ = ["Measured", "generate"]

CONNECTIONS_MAX = 256


class Measured(NamedTuple):
    """Milliseconds by status, in the order of the answers. missed: no connection was free when a request was due."""

    seconds: float
    times_ms: dict[int, list[float]]
    missed: int

    def rate(self, status: int = 200) -> float:
        return len(self.times_ms.get(status, [])) / self.seconds


def generate(address: str, path: str, body: bytes, *, seconds: float, clients: int = 0, rate: float = 0.0) -> Measured:
    """clients: each with one request at a time; or rate: requests a second, whatever becomes of them."""
    asked = json.dumps([address, path, seconds, clients, rate])
    command = [sys.executable, "-m", "bench.load", asked]
    told = json.loads(subprocess.run(command, input=body, capture_output=True, check=True).stdout)
    return Measured(told["seconds"], {int(status): times for status, times in told["times_ms"].items()}, told["missed"])


class _Load:
    def __init__(self, address: str, path: str, body: bytes) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self.times_ms: dict[int, list[float]] = {}
        self.missed = 0
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def closed(self, clients: int, seconds: float) -> None:
        until = SYSTEM.monotonic() + seconds

        async def client() -> None:
            while SYSTEM.monotonic() < until:
                await self._ask()

        await asyncio.gather(*(client() for _ in range(clients)))

    async def at_rate(self, rate: float, seconds: float) -> None:
        began, number = SYSTEM.monotonic(), 0
        while (now := SYSTEM.monotonic()) < began + seconds:
            while number < (now - began) * rate:
                number += 1
                self._start()
            await asyncio.sleep(min(0.002, 1 / rate))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def _start(self) -> None:
        if not self._idle and self._open >= CONNECTIONS_MAX:
            self.missed += 1
            return
        task = asyncio.create_task(self._ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self) -> None:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            self._open += 1
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        began = SYSTEM.monotonic()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), b"0")
        await reader.readexactly(int(length))
        took_ms = (SYSTEM.monotonic() - began) * 1000
        self.times_ms.setdefault(int(head[9:12]), []).append(round(took_ms, 3))
        self._idle.append((reader, writer))


async def _run(address: str, path: str, seconds: float, clients: int, rate: float, body: bytes) -> dict[str, object]:
    load = _Load(address, path, body)
    began = SYSTEM.monotonic()
    await (load.closed(clients, seconds) if clients else load.at_rate(rate, seconds))
    return {"seconds": SYSTEM.monotonic() - began, "times_ms": load.times_ms, "missed": load.missed}


def main() -> None:
    address, path, seconds, clients, rate = json.loads(sys.argv[1])
    told = asyncio.run(_run(address, path, seconds, clients, rate, sys.stdin.buffer.read()))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
