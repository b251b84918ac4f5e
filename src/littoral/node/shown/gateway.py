"""`/api/gateway…`: what the page of the gateway and `littoral cache` read and do. A tenant sees its own."""

import hashlib

from littoral.errors import InputError, NotOfferedError
from littoral.gateway.order import Gateway
from littoral.gateway.remembered import Remembered
from littoral.node.gateway.answer_lines import exported, imported
from littoral.node.gateway.answers_shown import (
    curve_of,
    entries_of,
    explained,
    judged_by_hand,
    misses_of,
    purged,
)
from littoral.node.gateway.shown import (
    ExplainBody,
    JudgeBody,
    JudgedTold,
    NoGatewayTold,
    PurgeBody,
    PurgedTold,
)
from littoral.node.gateway.telling import SPAN_S, told_gateway
from littoral.node.node import Node
from littoral.node.shown.numbers import number
from littoral.web import Answer, Request, Route, Stream, json_answer
from littoral.web.caller import CALLER

__all__ = ["LINES", "SPAN_S_MAX", "TEXT_CHARACTERS_MAX", "gateway_routes"]

LINES = "application/x-ndjson"
TEXT_CHARACTERS_MAX = 256
SPAN_S_MAX = 86_400


def gateway_routes(node: Node) -> list[Route]:
    """`{"upstreams": null}` for a node that is no gateway; 501 where nothing is remembered."""

    async def told(request: Request) -> Answer:
        span_s = number(request.query, "span_s", SPAN_S, SPAN_S_MAX)
        return json_answer(NoGatewayTold() if node.gateway is None else told_gateway(node.gateway, span_s))

    async def entries(request: Request) -> Answer:
        gateway, answers = _answers(node)
        text, tag, cursor = (_parameter(request, name) for name in ("text", "tag", "cursor"))
        return json_answer(await entries_of(answers, gateway.tenant, text=text, tag=tag, cursor=cursor))

    async def curve(request: Request) -> Answer:
        gateway, answers = _answers(node)
        return json_answer(await curve_of(answers, gateway.tenant, _parameter(request, "id")))

    async def misses(_: Request) -> Answer:
        return json_answer(misses_of(_answers(node)[1]))

    async def judge(request: Request) -> Answer:
        body, miss = await request.json(JudgeBody), request.names["miss"]
        await judged_by_hand(_answers(node)[1], miss, author=_author(), is_correct=body.is_correct)
        return json_answer(JudgedTold(miss, body.is_correct))

    async def explain(request: Request) -> Answer:
        gateway, answers = _answers(node)
        body = await request.json(ExplainBody)
        return json_answer(await explained(answers, gateway.tenant, body, author=_author(), check=gateway.check))

    async def purge(request: Request) -> Answer:
        gateway, answers = _answers(node)
        return json_answer(PurgedTold(await purged(answers, gateway.tenant, await request.json(PurgeBody))))

    async def bring(request: Request) -> Answer:
        gateway, answers = _answers(node)
        data = await request.body.read()
        now_s = node.clock.wall()
        return json_answer(await imported(answers, gateway.tenant, data, now_s=now_s, author=_author()))

    async def export(_: Request) -> Stream:
        gateway, answers = _answers(node)
        return Stream(exported(answers, gateway.tenant), LINES)

    return [
        Route("GET", "/api/gateway", told),
        Route("GET", "/api/gateway/curve", curve),
        Route("GET", "/api/gateway/entries", entries),
        Route("POST", "/api/gateway/explain", explain),
        Route("GET", "/api/gateway/export", export),
        Route("POST", "/api/gateway/import", bring),
        Route("GET", "/api/gateway/misses", misses),
        Route("POST", "/api/gateway/misses/{miss}", judge),
        Route("POST", "/api/gateway/purge", purge),
    ]


def _answers(node: Node) -> tuple[Gateway, Remembered]:
    gateway = node.gateway
    if gateway is None or gateway.answers is None:
        raise NotOfferedError(
            "this node remembers no answers of language models", hint="the table `gateway` of its site file"
        )
    return gateway, gateway.answers


def _author() -> bytes:
    return hashlib.sha256(CALLER.get().encode()).digest()[:16]


def _parameter(request: Request, name: str) -> str:
    if len(text := request.query.get(name, "")) > TEXT_CHARACTERS_MAX:
        raise InputError(f"parameter `{name}` has {len(text)} characters, at most {TEXT_CHARACTERS_MAX}")
    return text
