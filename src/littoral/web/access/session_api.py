"""A page's session: who shows a token gets a cookie, which scripts cannot read and no other site's page makes go."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import NotFoundError
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.access.access import Access, Caller
from littoral.web.access.sessions import COOKIE, SESSION_S, cookie_in

__all__ = ["Login", "session_protocol", "session_shape"]

PATH = "/api/session"


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=256)]


def session_protocol(access: Access, *, is_secure: bool) -> Protocol:
    """is_secure: the node speaks TLS, so the cookie goes over nothing else."""

    def cookie(value: str, life_s: int) -> tuple[str, str]:
        text = f"{COOKIE}={value}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict"
        return ("set-cookie", f"{text}; Secure" if is_secure else text)

    async def told(request: Request) -> Answer:
        return json_answer(_told(access, access.session(request)))

    async def begin(request: Request) -> Answer:
        if not access.is_needed:
            raise NotFoundError("this node asks for no token, so nobody logs in")
        asked = await request.json(Login)
        token = access.judge(asked.token.strip(), request.peer)
        headers = cookie(access.sessions.begin(token.id), SESSION_S), ("cache-control", "no-store")
        return json_answer(_told(access, Caller(token.name, token.roles, token.tenant)), 200, *headers)

    async def end(request: Request) -> Answer:
        access.sessions.end(cookie_in(str(request.headers.get("cookie", ""))))
        return json_answer(_told(access, None), 200, cookie("", 0))

    routes = (Route("GET", PATH, told), Route("POST", PATH, begin), Route("DELETE", PATH, end))
    return Protocol((), routes)


def session_shape(role: Any) -> dict[str, Any]:
    """Of every answer, for a description of the API. role: their type."""
    return {"is_needed": bool, "name": str | None, "roles": [role], "tenant": str}


def _told(access: Access, caller: Caller | None) -> dict[str, Any]:
    who = {"name": None, "roles": [], "tenant": ""} if caller is None else caller._asdict()
    return {"is_needed": access.is_needed} | who
