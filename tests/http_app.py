"""A small application behind the real HTTP server, whose routes do what their names say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from littoral.web import Answer, Events, Limits, Protocol, Request, Route, Router, Seen, Stream, json_answer, serving
from raw_http import Reply, ask, request

__all__ = ["LIMITS", "App", "asked", "get", "served"]

LIMITS = Limits(body_bytes_max=1000, body_s=1.5, header_s=2.0)


class App:
    """Routes that do what their name says; `release` lets those go that wait."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = 0
        self.bodies: list[bytes] = []
        self.error: Exception | None = None
        self.events = Events(listener_count_max=2, queue_count_max=3)
        self.seen: list[Seen] = []
        routes = [
            Route("POST", "/echo", self.echo),
            Route("GET", "/wait", self.wait),
            Route("GET", "/fail", self.fail),
            Route("GET", "/events", self.listen, is_always_taken=True),
            Route("GET", "/things/{name}", self.named),
            Route("PUT", "/things/{name}", self.named),
            Route("GET", "/things/one", self.one),
            Route("GET", "/health", self.one, is_always_taken=True),
        ]
        self.router = Router([Protocol(("/things",), routes, _shape)], observe=self.seen.append, request_count_max=2)

    async def echo(self, asked: Request) -> Answer:
        self.bodies.append(await asked.body.read())
        return Answer(self.bodies[-1], media_type="application/octet-stream")

    async def wait(self, _: Request) -> Answer:
        self.waiting += 1
        try:
            await self.release.wait()
        finally:
            self.waiting -= 1
        return json_answer("waited")

    async def fail(self, _: Request) -> Answer:
        assert self.error is not None
        raise self.error

    async def listen(self, _: Request) -> Stream:
        return self.events.stream(heartbeat_s=60)

    async def named(self, asked: Request) -> Answer:
        return json_answer({"name": asked.names["name"], "query": asked.query})

    async def one(self, _: Request) -> Answer:
        return json_answer("one")


def _shape(message: str, _status: int, _time_s: float) -> object:
    return {"status": {"error": message}}


@contextlib.asynccontextmanager
async def served(app: App, **options: Any) -> AsyncIterator[str]:
    async with serving(app.router, host="127.0.0.1", port=0, **{"limits": LIMITS, **options}) as server:
        yield server.address


async def asked(address: str, data: bytes, **options: Any) -> Reply:
    return await asyncio.to_thread(ask, address, data, **options)


async def get(address: str, path: str, **headers: str) -> Reply:
    return await asked(address, request("GET", path, headers=headers))
