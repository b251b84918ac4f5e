"""`/healthz`, `/readyz`, `/metrics`: for whoever watches the node. They are answered also when it is full."""

from collections.abc import Callable

from littoral.errors import ForbiddenError, InputError
from littoral.node.collection_status import collection_states
from littoral.node.load_readings import quarantined
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.triton_metrics import triton_text
from littoral.telemetry import TEXT_TYPE
from littoral.vectors.records import ShardInfo
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["health_protocol"]

COLLECTION_S = 1.0
TRITON = "triton"


def health_protocol(
    node: Node, observed: Observed, busy_count: Callable[[], int], tells: Callable[[Request], bool]
) -> Protocol:
    """healthz: the process answers. readyz: it can do its work; 503 with the reasons while it cannot.

    A guest in quarantine is told there, and does not make the node unready: everything else works.
    tells: whether names of what is there may be told to who asks.
    """

    async def healthz(_: Request) -> Answer:
        return json_answer({"status": "ok"})

    async def readyz(request: Request) -> Answer:
        reasons = await _reasons(node)
        told: dict[str, object] = {"ready": not reasons}
        if tells(request):
            told |= {"reasons": reasons, "quarantined": [] if node.tenant else quarantined(node)}
        return json_answer(told, 503 if reasons else 200)

    async def metrics(request: Request) -> Answer:
        if node.tenant:
            raise ForbiddenError("metrics are the operator's", hint="`GET /api/tenants` tells yours")
        compat = request.query.get("compat", "")
        if compat not in ("", TRITON):
            raise InputError(f"parameter `compat` is `{compat[:40]}`, must be `{TRITON}`")
        more = triton_text(node) if compat else b""
        return Answer(await observed.read(busy_count()) + more, 200, TEXT_TYPE)

    routes = {"/healthz": healthz, "/livez": healthz, "/readyz": readyz, "/metrics": metrics}
    return Protocol((), [Route("GET", path, handler, is_always_taken=True) for path, handler in routes.items()])


async def _reasons(node: Node) -> list[str]:
    if not node.is_ready:
        return ["the node is starting or stopping"]
    damaged = [f"collection `{name}`: {error.message}" for name, error in node.collections.damaged.items()]
    states = await collection_states(node.collections, COLLECTION_S)
    return damaged + [str(state) for _, state in states if not isinstance(state, ShardInfo)]
