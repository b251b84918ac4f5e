"""An orchestrator in this process, behind the real HTTP server, with tokens of each role and nodes that enrolled."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from described import misfit, route_of
from littoral.clock import SYSTEM, Clock
from littoral.orchestrator.file import read_file
from littoral.orchestrator.openapi import document
from littoral.orchestrator.places import open_objects
from littoral.orchestrator.rights import Role
from littoral.orchestrator.service import Orchestrator, opened, serving_fleet
from littoral.orchestrator.signing import KEYS, ObjectsMetadata, Signing
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.keys import KeyRing
from littoral.web.access.tokens import new_token, read_tokens, write_tokens
from placeholder_models import model_of
from raw_http import Reply, ask, request

FILE = """[orchestrator]
name = "reef"
listen = "127.0.0.1:0"
poll_s = 1
offline_s = 60

[auth]
tokens = "tokens.json"
"""


@dataclass
class Kept:
    """address: of its server. tokens: by role, and of enrolled nodes by their names."""

    folder: Path
    address: str
    found: Orchestrator
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask(self, who: str, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """who: a role, a node, or '' for nobody. body: bytes as they are, anything else as JSON. The answer is as the
        OpenAPI document says.
        """
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = dict(headers) | ({"Authorization": f"Bearer {self.tokens[who]}"} if who else {})
        reply = await asyncio.to_thread(ask, self.address, request(method, path, data, given))
        if (route := route_of(document(), method, path)) is not None:
            assert (told := misfit(document(), route, reply)) is None, (route, told, reply.body[:400])
        return reply

    async def done(self, who: str, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The JSON of an answer that must be fine."""
        reply = await self.ask(who, method, path, body, **headers)
        assert reply.status in (200, 201, 204), (reply.status, reply.body)
        return reply.json if reply.body else None

    async def artifact(
        self, name: str = "embedder", data: bytes = model_of(b"1"), kind: str = "models", **more: Any
    ) -> Any:
        query = "&".join(f"{key}={value}" for key, value in ({"kind": kind, "name": name} | more).items())
        return await self.done("publisher", "POST", f"/api/fleet/artifacts?{query}", data)

    async def enrolled(self, *names: str, **claim: Any) -> None:
        """Each of these, by one code."""
        asked: dict[str, object] = {"count": 1, "uses": len(names)} | claim
        (made,) = await self.done("operator", "POST", "/api/fleet/claims", asked)
        for name in names:
            said = {"claim": made["code"], "public_key": "PEM", "node": name}
            self.tokens[name] = (await self.done("", "POST", "/fleet/v1/enrol", said))["token"]


@contextlib.asynccontextmanager
async def orchestrated(
    folder: Path, text: str = FILE, clock: Clock = SYSTEM, *, has_keys: bool = True, delegates_uploads: bool = True
) -> AsyncIterator[Kept]:
    """Once more over the same folder, it goes on with what is there. Keys of people are in its `offline`."""
    file = folder / "orchestrator.toml"
    file.write_text(text)
    tokens = {}
    for role in Role:
        tokens[str(role)], token = new_token(f"{role}-1", [role], clock.wall())
        write_tokens(folder / "tokens.json", [*read_tokens(folder / "tokens.json"), token])
    described = read_file(file)
    objects, keys = open_objects(described), described.data / KEYS
    if has_keys and not Signing(objects, keys, clock).is_begun:
        offline = new_offline_keys(folder / "offline")
        begin(ObjectsMetadata(objects), KeyRing(keys), offline, delegates_uploads=delegates_uploads, clock=clock)
    async with opened(described, clock) as found, serving_fleet(found) as server:
        yield Kept(folder, server.address, found, tokens)
