"""The guard of a node before a few routes, one for each role, behind the real server; tokens in a real file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.clock import SYSTEM
from littoral.node.access.roles import RIGHTS, Role
from littoral.web import (
    Answer,
    Events,
    Hosts,
    Protocol,
    Request,
    Route,
    Router,
    Socket,
    Stream,
    Upgrade,
    json_answer,
    serving,
)
from littoral.web.access.access import Access
from littoral.web.access.session_api import session_protocol
from littoral.web.access.tokens import Token, TokenFile, new_token, read_tokens, write_tokens
from mesh_site import MovedClock
from raw_http import Reply, ask, request

ROUTES = {
    "open": ("GET", "/"),
    "probes": ("GET", "/livez"),
    "metrics": ("GET", "/metrics"),
    "read": ("GET", "/api/collections"),
    "infer": ("POST", "/pipelines/{name}"),
    "write": ("PUT", "/collections/{collection}/points"),
    "admin": ("POST", "/api/mesh/changes"),
    "steps": ("POST", "/api/steps"),
}
PATHS = {
    need: (method, path.replace("{name}", "p").replace("{collection}", "c")) for need, (method, path) in ROUTES.items()
}


@dataclass
class Guarded:
    """address: of the server. clock: of tokens and guesses."""

    address: str
    file: Path
    access: Access
    clock: MovedClock
    reached: list[str]
    events: Events
    dropped: Mapping[str, int]

    def token(self, *roles: Role, life_s: float | None = None, name: str = "till") -> str:
        """A new one, in the file; the node sees it at once."""
        text, token = new_token(name, roles, self.clock.wall(), life_s=life_s)
        self.write([*read_tokens(self.file), token])
        return text

    def write(self, tokens: list[Token]) -> None:
        write_tokens(self.file, tokens)
        self.clock.move(1.0)

    async def send(self, need: str, body: bytes = b"", **headers: str) -> Reply:
        """To the route of that role."""
        return await self.ask(*PATHS[need], body, headers)

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        return await asyncio.to_thread(ask, self.address, request(method, path, body, headers))


@contextlib.asynccontextmanager
async def guarded(
    folder: Path, *, opened: Iterable[str] = ("probes",), asks_tokens: bool = True, **options: Any
) -> AsyncIterator[Guarded]:
    clock, reached = MovedClock(wall_s=SYSTEM.wall()), list[str]()
    file = folder / "tokens.json"
    access = Access(TokenFile(file, clock) if asks_tokens else None, frozenset(opened), clock, rights=RIGHTS)

    def route(need: str) -> Route:
        async def answer(_: Request) -> Answer:
            reached.append(need)
            return json_answer(need)

        return Route(*ROUTES[need], answer)

    async def socket(_: Request) -> Upgrade:
        async def run(opened_socket: Socket) -> None:
            reached.append("socket")
            await opened_socket.send("hello")
            while await opened_socket.receive() is not None:
                pass

        return Upgrade(run)

    async def events(_: Request) -> Stream:
        return found.events.stream(heartbeat_s=0.1)

    streams = [Route("GET", "/pipelines/{name}/stream", socket), Route("GET", "/api/events", events)]
    router = Router(
        [
            Protocol(("/collections",), [route("write")], lambda message, *_: {"status": {"error": message}}),
            Protocol((), [*(route(need) for need in ROUTES if need != "write"), *streams]),
            session_protocol(access, is_secure=False),
        ],
        hosts=Hosts(["gw-1.shop.example"]),
        admit=access.check,
    )
    async with serving(router, host="127.0.0.1", port=0, **options) as server:
        found = Guarded(server.address, file, access, clock, reached, Events(), server.dropped)
        yield found
