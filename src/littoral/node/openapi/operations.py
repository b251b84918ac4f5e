"""The node's own routes, in words and shapes: what each takes and gives. Qdrant's routes: `qdrant_operations`."""

from typing import Annotated

from msgspec import Meta

from littoral.making.orders import Order
from littoral.making.shapes import BUILD, EXAMINED
from littoral.node.asked_recall import RECALL_HEADER, RECALL_LEAST
from littoral.node.federation.moving.wishes import Asked
from littoral.node.gateway.api import ChatBody, CompletionBody, FeedbackBody
from littoral.node.logs_api import LINES_MAX
from littoral.node.making.api import AddBody, LoadBody
from littoral.node.migration.api import StartBody
from littoral.node.oip.http import IndexAsked, RepositoryAsked
from littoral.node.oip.http_bodies import InferBody
from littoral.node.openai_api import EmbeddingsBody
from littoral.node.openapi import answers
from littoral.node.pipelines_api import ID_HEADER, InputsBody
from littoral.node.request_options import DEADLINE_HEADER, DEADLINE_MS_MAX, PRIORITY_HEADER
from littoral.node.shown.collections import KEY_CHARACTERS_MAX, MAPPED_MAX, RecallBody
from littoral.node.updates_api import From
from littoral.runtime.call import PRIORITY_MAX
from littoral.telemetry.log_lines import LEVELS
from littoral.web.access.session_api import Login
from littoral.web.openapi import Operation, Shape, Words, operation, streamed
from littoral.web.openapi.operations import ANY, EVENTS, HTML, JSON, OCTETS

__all__ = ["OWN"]

SAFETENSORS = "application/x-safetensors"
MSGPACK = "application/msgpack"


def _ready(summary: str, told: Shape) -> Operation:
    """503 with the same while it is not."""
    return operation(summary, told, others={503: {JSON: told}})


DEADLINE = {DEADLINE_HEADER: Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)]}
PRIORITY = {PRIORITY_HEADER: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)]}
RECALL = {RECALL_HEADER: Annotated[float, Meta(ge=RECALL_LEAST, le=1)]}
IDS = {ID_HEADER: str}
CREDIT = {"credit": Annotated[int, Meta(ge=1, le=16)]}
LOG_QUERY = {
    "level": Words(tuple(LEVELS)),
    "part": Annotated[str, Meta(max_length=64)],
    "since": Annotated[int, Meta(ge=0)],
    "limit": Annotated[int, Meta(ge=0, le=LINES_MAX)],
    "follow": Words(("0", "1")),
}
MAP_QUERY = {
    "sample": Annotated[int, Meta(ge=0, le=MAPPED_MAX)],
    "by": Annotated[str, Meta(max_length=KEY_CHARACTERS_MAX)],
    "using": str,
}
FILE_QUERY = {"file": str}
COMPARED_QUERY = FILE_QUERY | {"one": str, "other": str, "through": str}
NUMBER = Annotated[int, Meta(ge=0, lt=10**18)]
SECONDS = Annotated[float, Meta(ge=0, lt=1e12)]
MIGRATION = "/api/collections/{collection}/migration"
STREAMED = {"multipart/mixed": None, "multipart/x-mixed-replace": None, "application/x-littoral-frames": None}
FAILING = (422, 501, 504)
"""Of what runs guests."""

OWN: dict[str, Operation] = {
    "GET /": Operation(
        "What speaks here, as Qdrant's clients ask it; the page, for browsers",
        gives={JSON: {"title": str, "version": str, "commit": str}, HTML: None},
    ),
    "GET /pages/{page}": streamed("A page", HTML, statuses=(304,)),
    "GET /assets/{file}": streamed("A file of the page", ANY, statuses=(304,)),
    "GET /api/openapi.json": operation("This document", answers.Object),
    "GET /api/session": operation("Who is logged in at this page", answers.SESSION),
    "POST /api/session": operation(
        "Begins a session of this page by a token", answers.SESSION, Login, statuses=(401, 404, 429)
    ),
    "DELETE /api/session": operation("Ends the session", answers.SESSION),
    "GET /api/node": operation("Name, version, start, readiness, address", answers.NODE),
    "GET /api/pipelines": operation("Pipelines: steps, requests, times", [answers.PIPELINE]),
    "GET /api/models": operation("Models: what each takes and gives, memory, code, instances", [answers.MODEL]),
    "GET /api/models/{name}": operation("A model, with layers and labels", answers.MODEL_DETAILS),
    "GET /api/models/{name}/versions": operation("Every version of a model that is known", answers.VERSIONS),
    "POST /api/examined": Operation(
        "What is in an ONNX model or a Wasm module, which is not kept",
        takes={OCTETS: None},
        gives={JSON: EXAMINED},
        statuses=(504,),
    ),
    "GET /api/agents": operation("Agents: what each takes and gives, grants, limits, how it ended", [answers.AGENT]),
    "GET /api/caches": operation("What each cache holds, and how often it helped", answers.CACHES),
    "DELETE /api/caches/{cache}": operation("Forgets all that a cache holds", answers.CLEARED),
    "GET /api/mqtt": operation("The broker, and each route", answers.MQTT),
    "GET /api/doctor": operation("What `littoral doctor` finds now", answers.DOCTOR),
    "GET /api/collections": operation("Collections with their counts", [answers.COLLECTION]),
    "GET /api/collections/{collection}": operation("Whose embeddings a collection holds", answers.MIGRATED),
    f"POST {MIGRATION}": operation("Begins the way to another model", answers.MIGRATED, StartBody, statuses=(409, 501)),
    f"POST {MIGRATION}/back": operation("The generation before answers again", answers.MIGRATED, statuses=(409, 501)),
    f"DELETE {MIGRATION}": operation("Ends the generation that does not answer", answers.MIGRATED, statuses=(409, 501)),
    "GET /api/collections/{collection}/map": operation(
        "Points on the two directions in which they differ most", answers.MAP, query=MAP_QUERY, statuses=(501, 504)
    ),
    "POST /api/collections/{collection}/recall": operation(
        "Recall of the index against comparison with all", answers.RECALL, RecallBody, statuses=(501, 504)
    ),
    "GET /api/tenants": operation("Quotas of tenants, and what is used of them", [answers.TENANT]),
    "GET /api/mesh": operation("The site as this node sees it", answers.MESH),
    "POST /api/mesh/changes": operation(
        "Another layout for a spread collection, planned or begun", answers.PLAN, Asked, statuses=(404, 409, 501, 502)
    ),
    "GET /api/placement": operation("Steps that may move, and what each node would take", answers.PLACEMENT),
    "GET /api/logs": Operation(
        "Lines of the log that are kept, or those from now on",
        gives={JSON: answers.LOGS, EVENTS: None},
        query=LOG_QUERY,
        statuses=(404,),
    ),
    "GET /api/backup": streamed(
        "The node as a tar", "application/x-tar", query={"tokens": Words(("0", "1"))}, statuses=(409, 501)
    ),
    "GET /api/events": streamed("Server-sent events, one after each run of a pipeline", EVENTS),
    "GET /healthz": operation("Whether the process answers", {"status": str}),
    "GET /livez": operation("Whether the process answers", {"status": str}),
    "GET /readyz": _ready(
        "Whether the node can do its work; 503 with the reasons while it cannot",
        {"ready": bool, "reasons": answers.Names, "quarantined": answers.Names},
    ),
    "GET /metrics": streamed(
        "Metrics, as Prometheus reads them", "text/plain", query={"compat": Words(("", "triton"))}
    ),
    "GET /pipelines": operation("Names of the pipelines", answers.NAMED),
    "GET /api/steps": Operation("What this node could run for other sites now, as msgpack", gives={MSGPACK: None}),
    "POST /api/steps": Operation(
        "Runs a step of another site: a frame in, a frame out",
        takes={SAFETENSORS: None, OCTETS: None},
        gives={SAFETENSORS: None},
        statuses=(404, *FAILING),
    ),
    "POST /pipelines/{name}": Operation(
        "Runs a pipeline",
        takes={JSON: InputsBody, SAFETENSORS: None, OCTETS: None},
        gives={JSON: answers.RUN, SAFETENSORS: None, OCTETS: None},
        headers=DEADLINE | PRIORITY | RECALL | IDS,
        statuses=FAILING,
    ),
    "POST /pipelines/{name}/stream": Operation(
        "Runs a pipeline on one frame after the other",
        takes=STREAMED,
        gives={EVENTS: None},
        query=CREDIT,
        headers=DEADLINE,
    ),
    "GET /pipelines/{name}/stream": Operation(
        "The same over a WebSocket", query=CREDIT, headers=DEADLINE, statuses=(101, 426)
    ),
    "GET /v2": operation("Name, version and extensions of the server", answers.SERVER),
    "GET /v2/health/live": operation("Whether the process answers", answers.LIVE),
    "GET /v2/health/ready": _ready("Whether the node is ready", answers.READY),
    "GET /v2/models/stats": operation("Counts and times of all models", answers.STATISTICS),
    "POST /v2/repository/index": operation(
        "Every version that is known, and its state", answers.INDEX, IndexAsked, is_body_needed=False
    ),
    "POST /v2/repository/models/{model}/load": operation(
        "Opens what its path holds now, or what the request brings",
        {},
        RepositoryAsked,
        is_body_needed=False,
        statuses=(409, 422, 501, 504),
    ),
    "POST /v2/repository/models/{model}/unload": operation(
        "Refuses a model from now on", {}, RepositoryAsked, is_body_needed=False, statuses=(409, 501)
    ),
    "POST /v1/embeddings": operation(
        "Embeddings of texts by a pipeline",
        answers.EMBEDDINGS,
        EmbeddingsBody,
        headers=DEADLINE,
        statuses=(404, *FAILING),
    ),
    "POST /v1/chat/completions": Operation(
        "A chat, by a service of the table `gateway`, or an answer that is remembered",
        takes={JSON: ChatBody},
        gives={JSON: answers.SAID, EVENTS: None},
        headers=DEADLINE,
        statuses=(404, 429, 502, *FAILING),
    ),
    "POST /v1/completions": Operation(
        "A completion, likewise",
        takes={JSON: CompletionBody},
        gives={JSON: answers.SAID, EVENTS: None},
        headers=DEADLINE,
        statuses=(404, 429, 502, *FAILING),
    ),
    "POST /v1/littoral/feedback": operation(
        "Says whether an answer that was told again was right",
        answers.LABELLED,
        FeedbackBody,
        statuses=(404, 409, 429, 501),
    ),
    "GET /v1/models": operation("Pipelines that make a vector of a text", answers.OPENAI_MODELS),
    "GET /v1/models/{model}": operation("One of them", answers.OPENAI_MODEL),
}

AUDITED = {
    "": operation("How the audit log stands", answers.AUDIT),
    "/checkpoint": streamed("The last checkpoint, signed", "text/plain", statuses=(404,)),
    "/witnessed": streamed("The last checkpoint that others have cosigned", "text/plain", statuses=(404,)),
    "/key": streamed("The log's public key", "text/plain", statuses=(404,)),
    "/tile/{level}/{number}": streamed("A tile or a bundle of entries by its C2SP path", OCTETS),
    "/entries": operation(
        "Entries: the last ones that fit, or those from a number on",
        answers.AUDIT_ENTRIES,
        query={
            "from": NUMBER,
            "count": NUMBER,
            "before": NUMBER,
            "did": str,
            "who": str,
            "on": str,
            "since": SECONDS,
            "until": SECONDS,
        },
        statuses=(404,),
    ),
    "/verified": operation("What was changed in the log", answers.AUDIT_VERIFIED, statuses=(404, 409, 501)),
    "/proof/{index}": operation("That an entry is in the log", answers.AUDIT_PROOF),
    "/consistency": operation(
        "That the log goes on from a size", answers.AUDIT_CONSISTENCY, query={"from": NUMBER}, statuses=(404,)
    ),
}
OWN.update((f"GET /api/audit{path}", found) for path, found in AUDITED.items())

OWN |= {
    "GET /fleet/v1/image/targets/{file}": streamed(
        "An artifact of the fleet, for a peer, whole or a range", OCTETS, statuses=(206, 404, 416)
    ),
    "GET /api/dashboards": operation("Dashboards that the fleet has brought, by their panels", answers.DASHBOARDS),
    "GET /api/dashboards/{name}": operation("A dashboard as Grafana takes it", answers.Object, statuses=(404,)),
    "GET /api/updates": operation("Which deployment of a fleet runs here, and how the newest does", answers.UPDATES),
    "POST /api/updates/back": operation(
        "Takes back the deployment that serves or is being tried", answers.UPDATES_TOLD, statuses=(404, 409)
    ),
    "POST /api/updates/begin-again": operation(
        "Takes the trust file anew, where the state of trust is damaged", answers.UPDATES_TOLD, statuses=(404,)
    ),
    "POST /api/updates/from": operation(
        "Takes a deployment from a folder of the node's machine", answers.UPDATES_TOLD, From, statuses=(404, *FAILING)
    ),
    "POST /api/updates/now": operation(
        "Asks the orchestrator now", answers.UPDATES_TOLD, statuses=(404, 409, *FAILING)
    ),
}

BUILDS = {
    "GET": Operation(
        "Models that are made here of files, and pipelines that prepare inputs for them",
        gives={JSON: answers.BUILDS, EVENTS: None},
        query={"follow": Words(("0", "1"))},
    ),
    "POST": Operation(
        "Brings an ONNX model or a Wasm module, which is examined",
        takes={OCTETS: None},
        gives={JSON: BUILD},
        query=FILE_QUERY,
        statuses=(409, 504),
    ),
    "GET /{build}": operation("One of them", BUILD),
    "DELETE /{build}": operation("Forgets it, and ends what is made of it", {"id": str, "gone": bool}),
    "POST /{build}/feeds": Operation(
        "Brings a file to quantise by",
        takes={OCTETS: None},
        gives={JSON: {"id": str, "feeds": int}},
        query=FILE_QUERY,
        statuses=(409,),
    ),
    "DELETE /{build}/feeds": operation("Forgets these files", {"id": str, "feeds": int}, statuses=(409,)),
    "POST /{build}/start": operation("Begins to compile", BUILD, Order, statuses=(409,), status=202),
    "POST /{build}/cancel": operation("Ends that", BUILD),
    "POST /{build}/add": operation(
        "Serves what was made, as a model that the site file did not name",
        answers.ADDED,
        AddBody,
        statuses=(409, 501, 503),
    ),
    "POST /{build}/load": operation(
        "Serves what was made, as the next version of a model", answers.TAKEN, LoadBody, statuses=(409, *FAILING)
    ),
}
OWN.update(
    (f"{method} /api/builds{rest}", found)
    for route, found in BUILDS.items()
    for method, _, rest in [route.partition(" ")]
)
OWN |= {
    "POST /api/models/{name}/back": operation("The version before serves again", answers.TAKEN, statuses=(409,)),
    "DELETE /api/models/{name}": operation(
        "Takes a model out of the site file", answers.ADDED, statuses=(409, 501, 503)
    ),
    "POST /api/compared": Operation(
        "One or two models on the same input: outputs, and times on this machine",
        takes={OCTETS: None},
        gives={JSON: answers.COMPARED},
        query=COMPARED_QUERY,
        statuses=(404, 409, *FAILING),
        is_body_needed=False,
    ),
}

OF_A_MODEL = {
    "GET {at}": operation("Inputs, outputs, versions", answers.METADATA, statuses=(503,)),
    "GET {at}/ready": _ready("200 if it can be asked, else 503", answers.READY),
    "GET {at}/config": operation("Triton's model configuration", answers.CONFIG, statuses=(503,)),
    "GET {at}/stats": operation("Counts and times", answers.STATISTICS, statuses=(503,)),
    "POST {at}/infer": Operation(
        "Runs a model or a pipeline; tensors in JSON, or raw behind it",
        takes={JSON: InferBody, OCTETS: None},
        gives={JSON: answers.INFERRED, OCTETS: None},
        headers=DEADLINE,
        statuses=FAILING,
    ),
}

OWN.update(
    (route.replace("{at}", at), found)
    for at in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
    for route, found in OF_A_MODEL.items()
)
