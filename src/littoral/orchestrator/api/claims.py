"""Claims: codes that nodes enrol with."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import NotFoundError
from littoral.orchestrator.enrolment import Enrolment
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.store import Delete
from littoral.orchestrator.store.rows import ClaimRow
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["ClaimsOrder", "claims_protocol"]

CLAIMS = "/api/fleet/claims"
WEEK_S = 604_800.0
Label = Annotated[str, Meta(max_length=200)]


class ClaimsOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    labels: Annotated[dict[Label, Label], Meta(max_length=64)] = {}
    group: str = ""
    expires_s: Annotated[float, Meta(ge=1, le=315_360_000)] = WEEK_S
    uses: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


def claims_protocol(fleet: Fleet, enrolment: Enrolment) -> Protocol:
    async def listed(_: Request) -> Answer:
        return json_answer([_told(row) for row in fleet.claims.values()])

    async def add(request: Request) -> Answer:
        asked = await request.json(ClaimsOrder)
        async with fleet.changing:
            if asked.group:
                fleet.group(asked.group)
            made = await enrolment.claims(
                asked.count,
                uses=asked.uses,
                expires_s=asked.expires_s,
                group=asked.group,
                labels=asked.labels,
                by=CALLER.get(),
            )
        return json_answer([_told(one.row) | {"code": one.code} for one in made], 201)

    async def delete(request: Request) -> Answer:
        async with fleet.changing:
            claim = fleet.claims.get(request.names["claim"])
            if claim is None:
                raise NotFoundError(f"no claim `{request.names['claim'][:40]}`")
            event = fleet.event("claim", claim.id, what="deleted", by=CALLER.get())
            await fleet.write(Delete(ClaimRow, {"id": claim.id}), event)
        return json_answer({"deleted": claim.id})

    routes = (
        Route("GET", CLAIMS, listed),
        Route("POST", CLAIMS, add),
        Route("DELETE", f"{CLAIMS}/{{claim}}", delete),
    )
    return Protocol(("/api/fleet",), routes)


def _told(row: ClaimRow) -> dict[str, Any]:
    """Without its code, which nobody knows any more."""
    return {
        "id": row.id,
        "group": row.group,
        "labels": row.labels,
        "uses_left": row.uses_left,
        "used": row.used,
        "expires": row.expires_at_s,
        "at": row.made_at_s,
        "by": row.made_by,
    }
