"""What waits for the keys of people, their signatures, and what nodes are given to trust the fleet by."""

import asyncio
import base64
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import NotFoundError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.signing import ROLES, Signing
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["SignatureOrder", "signing_protocol"]

SIGNING = "/api/fleet/signing"


class SignatureOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As TUF has it: id of the key, signature in hexadecimal."""

    keyid: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,128}$")]
    sig: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,20000}$")]


def signing_protocol(fleet: Fleet, signing: Signing, registry: Registry, url: str, ca: str | None) -> Protocol:
    """url, ca: as nodes reach the orchestrator."""

    async def waiting(_: Request) -> Answer:
        return json_answer(await asyncio.to_thread(_waiting, signing))

    async def sign(request: Request) -> Answer:
        role, asked = request.names["role"], await request.json(SignatureOrder)
        if role not in ROLES:
            raise NotFoundError(f"no role `{role[:40]}` is signed by people", hint=f"one of {', '.join(ROLES)}")
        pending = await asyncio.to_thread(signing.attach, role, asked.keyid, asked.sig)
        await fleet.write(fleet.event("artifact", role, what="signed", key=asked.keyid[:16], by=CALLER.get()))
        await registry.sync()
        fleet.woken.set()
        return json_answer(pending._asdict())

    async def trust(_: Request) -> Answer:
        found = await asyncio.to_thread(signing.trust, url, ca)
        return Answer(found.text)

    routes = (
        Route("GET", SIGNING, waiting),
        Route("POST", f"{SIGNING}/{{role}}/signatures", sign),
        Route("GET", "/api/fleet/trust", trust),
    )
    return Protocol(("/api/fleet",), routes)


def _waiting(signing: Signing) -> dict[str, Any]:
    signing.check()
    found = [
        pending._asdict() | {"role": role, "draft": base64.b64encode(draft).decode()}
        for role, pending, draft in signing.waiting()
    ]
    changes = {name: None if target is None else target.sha256 for name, target in signing.image.waiting().items()}
    return {"pending": found, "changes": changes}
