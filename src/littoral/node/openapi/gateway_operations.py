"""What the page of the gateway and `littoral cache` read and do, in words and shapes."""

from typing import Annotated

from msgspec import Meta

from littoral.node.gateway import shown
from littoral.node.shown.gateway import LINES, SPAN_S_MAX, TEXT_CHARACTERS_MAX
from littoral.web.openapi import Either, Operation, operation
from littoral.web.openapi.operations import JSON

__all__ = ["GATEWAY"]

TEXT = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
ID = Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$")]
CURSOR = Annotated[str, Meta(pattern="^([0-9a-fA-F]{32})?$")]
OFFERED = (501,)
EMBEDDING = (422, 501, 503, 504)

GATEWAY: dict[str, Operation] = {
    "GET /api/gateway": operation(
        "Services, budgets, rules; what was told again, how surely, and what it saved",
        Either(shown.NoGatewayTold, shown.GatewayTold),
        query={"span_s": Annotated[int, Meta(ge=0, le=SPAN_S_MAX)]},
    ),
    "GET /api/gateway/entries": operation(
        "Remembered answers, some at a time",
        shown.EntriesTold,
        query={"text": TEXT, "tag": TEXT, "cursor": CURSOR},
        statuses=OFFERED,
    ),
    "GET /api/gateway/curve": operation(
        "How surely an answer is told, by similarity", shown.CurveTold, query={"id": ID}, statuses=(404, *OFFERED)
    ),
    "GET /api/gateway/misses": operation(
        "Questions answered anew beside a remembered one, for people to judge", shown.MissesTold, statuses=OFFERED
    ),
    "POST /api/gateway/misses/{miss}": operation(
        "Says whether both answers are the same", shown.JudgedTold, shown.JudgeBody, statuses=(404, *OFFERED)
    ),
    "POST /api/gateway/explain": operation(
        "What a question would be told now; no service is asked",
        shown.ExplainTold,
        shown.ExplainBody,
        statuses=EMBEDDING,
    ),
    "POST /api/gateway/purge": operation(
        "Forgets remembered answers", shown.PurgedTold, shown.PurgeBody, statuses=OFFERED
    ),
    "POST /api/gateway/import": Operation(
        "Remembers answers that are brought, a line each",
        takes={"text/plain": None},
        gives={JSON: shown.ImportedTold},
        is_body_needed=False,
        statuses=EMBEDDING,
    ),
    "GET /api/gateway/export": Operation("Every remembered answer, a line each", gives={LINES: None}, statuses=OFFERED),
}
