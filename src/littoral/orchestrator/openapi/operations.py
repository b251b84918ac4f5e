"""The routes of an orchestrator, in words and shapes: what each takes and gives."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from littoral.orchestrator.api.claims import ClaimsOrder
from littoral.orchestrator.api.groups import GroupOrder
from littoral.orchestrator.api.nodes import AskOrder, NodePatch
from littoral.orchestrator.api.paging import DIGITS_MAX
from littoral.orchestrator.api.rollouts import ActOrder, RolloutOrder
from littoral.orchestrator.api.signing import SignatureOrder
from littoral.orchestrator.openapi import answers
from littoral.orchestrator.uploads import UploadOrder
from littoral.steps.door import FRAME, LOADS_TYPE
from littoral.updates.artifacts import Kind
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Answered, CheckedIn, CheckIn, Enrol, Enrolled, Report
from littoral.web.access.session_api import Login
from littoral.web.openapi import Operation, Words, operation, streamed
from littoral.web.openapi.operations import ANY, EVENTS, HTML, JSON, OCTETS, TEXT

__all__ = ["NODE", "OPERATIONS"]

NODE = "node"
"""Scheme of the tokens of nodes."""

TAR = "application/x-tar"
NUMBER = Annotated[int, Meta(ge=0, lt=10**DIGITS_MAX)]
COUNT = {"count": NUMBER}
PAGED = COUNT | {"before": NUMBER}
KINDS = Words(tuple(kind.value for kind in Kind))
FILE = {"file": str}
GROUPED = {"group": str}

PAGES = {
    "GET /": streamed("The page of the fleet", HTML, statuses=(304,)),
    "GET /pages/{page}": streamed("A page", HTML, statuses=(304,)),
    "GET /assets/{file}": streamed("A file of the pages", ANY, statuses=(304,)),
    "GET /livez": operation("Whether the process answers", {"alive": bool}),
    "GET /readyz": operation("Whether it serves", {"alive": bool}),
    "GET /api/openapi.json": operation("This document", answers.Object),
    "GET /api/session": operation("Who is logged in at this page", answers.SESSION),
    "POST /api/session": operation(
        "Begins a session of this page by a token", answers.SESSION, Login, statuses=(401, 404, 429)
    ),
    "DELETE /api/session": operation("Ends the session", answers.SESSION),
    "GET /metrics": streamed("Metrics, as Prometheus reads them", TEXT),
    "GET /federate": streamed("What nodes reported last, as Prometheus reads it", TEXT, query=GROUPED, statuses=(404,)),
}

READ = {
    "": operation("The fleet in numbers", answers.FLEET),
    "/artifacts": operation(
        "Every version in the registry, the newest of each first", [answers.ARTIFACT], query={"kind": str, "name": str}
    ),
    "/artifacts/{kind}/{name}/{version}": operation(
        "An artifact, what is of the same source, and who is to run it", answers.ARTIFACT_DETAILS
    ),
    "/artifacts/{kind}/{name}/{version}/bytes": streamed("Its bytes", OCTETS),
    "/audit": operation("Acts, the newest first", [answers.ACT], query=PAGED),
    "/audit/checkpoint": streamed("The last checkpoint of the audit log, signed", TEXT),
    "/audit/key": streamed("The log's public key", TEXT),
    "/claims": operation("Claims, without their codes", [answers.CLAIM]),
    "/events": streamed("Server-sent events of nodes, rollouts, artifacts, groups, claims and questions", EVENTS),
    "/export": streamed("A tar of all that nodes are to run", TAR, query={"n0": str, "n1": str}, statuses=(404, 409)),
    "/groups": operation("Groups", [answers.GROUP]),
    "/groups/{group}": operation("A group", answers.GROUP),
    "/history": operation("Events that were, the newest first", [answers.EVENT], query=PAGED),
    "/inference": operation("Steps of sites that the data centre did, by its nodes and theirs", answers.INFERENCE),
    "/nodes": operation("Nodes: what each runs, and should", [answers.NODE], query=GROUPED),
    "/nodes/{node}": operation("A node, with its last report", answers.NODE_DETAILS),
    "/nodes/{node}/asks/{ask}": operation("What a node was asked, and its answer", answers.ASK),
    "/rollouts": operation("Rollouts with their rings, the newest first", [answers.ROLLOUT], query=COUNT),
    "/rollouts/{rollout}": operation("A rollout with its nodes", answers.ROLLOUT_DETAILS),
    "/signing": operation("What waits for the keys of people", answers.SIGNING, statuses=(409,)),
    "/trust": operation("The file that nodes trust the fleet by", TrustFile, statuses=(409,)),
    "/uploads": Operation(
        "Models on their way from ONNX",
        gives={JSON: answers.UPLOADS, EVENTS: None},
        query={"follow": Words(("0", "1"))},
    ),
    "/uploads/{upload}": operation("One of them", answers.UPLOAD),
}

CHANGED = {
    "POST /artifacts": Operation(
        "Registers an artifact; a version is never changed",
        takes={OCTETS: None},
        gives={JSON: answers.ARTIFACT},
        query={"kind": KINDS, "name": str, "version": Annotated[int, Meta(ge=1, lt=2**31)]},
        headers={"littoral-custom": str},
        statuses=(409,),
        status=201,
    ),
    "DELETE /artifacts/{kind}/{name}/{version}": operation(
        "Withdraws it: no node installs it any more, once that is signed", answers.ARTIFACT, statuses=(409,)
    ),
    "POST /claims": operation(
        "Codes that nodes enrol with, told once", [answers.CLAIM_MADE], ClaimsOrder, statuses=(404,), status=201
    ),
    "DELETE /claims/{claim}": operation("Takes a claim back", answers.DELETED),
    "PUT /groups/{group}": operation(
        "Makes or changes a group: its nodes are told at once", answers.GROUP, GroupOrder, statuses=(409,)
    ),
    "DELETE /groups/{group}": operation("Forgets a group, whose nodes run on", answers.DELETED, statuses=(409,)),
    "PATCH /nodes/{node}": operation("Other labels, another group", answers.NODE, NodePatch),
    "DELETE /nodes/{node}": operation("Forgets a node, and its token", answers.DELETED),
    "POST /nodes/{node}/asks": operation("Asks a node at its next check-in", answers.ASK, AskOrder, status=201),
    "POST /rollouts": operation(
        "Begins a rollout, for a group or for nodes", answers.ROLLOUT, RolloutOrder, statuses=(404, 409), status=201
    ),
    "POST /rollouts/{rollout}/{act}": operation(
        "Pauses, resumes, ends or takes back a rollout",
        answers.ROLLOUT,
        ActOrder,
        statuses=(409,),
        is_body_needed=False,
    ),
    "POST /signing/{role}/signatures": operation(
        "A signature by the key of a person", answers.PENDING, SignatureOrder, statuses=(409,)
    ),
    "POST /uploads": Operation(
        "Brings an ONNX model, which is examined; with an order it begins at once",
        takes={OCTETS: None},
        gives={JSON: answers.UPLOAD},
        query=FILE | {"order": str},
        statuses=(409, 504),
        others={202: {JSON: answers.UPLOAD}},
    ),
    "DELETE /uploads/{upload}": operation("Forgets it, and ends what is made of it", answers.UPLOAD_GONE),
    "POST /uploads/{upload}/feeds": Operation(
        "Brings a file to quantise by",
        takes={OCTETS: None},
        gives={JSON: answers.UPLOAD_FEEDS},
        query=FILE,
        statuses=(409,),
    ),
    "DELETE /uploads/{upload}/feeds": operation("Forgets these files", answers.UPLOAD_FEEDS, statuses=(409,)),
    "POST /uploads/{upload}/start": operation(
        "Compiles, quantises, measures and registers it", answers.UPLOAD, UploadOrder, statuses=(409,), status=202
    ),
    "POST /uploads/{upload}/cancel": operation("Ends that", answers.UPLOAD),
}


def _of_nodes(found: Operation) -> Operation:
    return found._replace(token_of=NODE)


def _heard(summary: str, takes: Any, **more: Any) -> Operation:
    """Answered by nothing."""
    return Operation(summary, takes={JSON: takes}, statuses=(204,), **more)


ASKED_BY_NODES = {
    "POST /add-checkpoint": Operation(
        "Cosigns the checkpoint of the node's audit log, as a witness",
        takes={TEXT: None},
        gives={TEXT: None},
        headers={"littoral-log-key": str},
        others={status: {TEXT: None} for status in (403, 404, 422, 503)} | {409: {"text/x.tlog.size": None}},
    ),
    "POST /asks/{ask}": _heard("What a node answers", Answered),
    "POST /checkin": operation("How a node is; what it is to run, and questions", CheckedIn, CheckIn),
    "GET /director/{node}/metadata/{file}": operation("TUF metadata for this node alone", answers.Object),
    "GET /image/metadata/{file}": operation("TUF metadata of what is valid at all", answers.Object),
    "GET /image/targets/{file}": streamed(
        "An artifact or its blocks, whole or a range",
        OCTETS,
        statuses=(304,),
        others={206: {OCTETS: None}, 416: {OCTETS: None}},
    ),
    "POST /reports": _heard("Numbers of a node, collected while nobody heard", Report | list[Report]),
    "GET /signal": operation(
        "Waits for a deployment beyond `after`; 204 where there is none in time",
        {"deployment": int},
        query={"after": NUMBER, "wait_s": Annotated[float, Meta(ge=0)]},
        statuses=(204,),
    ),
    "GET /steps": streamed("What the data centre could run for this node now, as msgpack", LOADS_TYPE, statuses=(404,)),
    "POST /steps": Operation(
        "A step of a site that is exhausted: a frame of tensors in, one out",
        takes={FRAME: None, OCTETS: None},
        gives={FRAME: None},
        statuses=(404, 429, 502, 504),
    ),
}

OPERATIONS: Mapping[str, Operation] = {
    **PAGES,
    **{f"GET /api/fleet{path}": found for path, found in READ.items()},
    **{route.replace(" /", " /api/fleet/", 1): found for route, found in CHANGED.items()},
    **{route.replace(" /", " /fleet/v1/", 1): _of_nodes(found) for route, found in ASKED_BY_NODES.items()},
    "POST /fleet/v1/enrol": operation("A claim for a token, once", Enrolled, Enrol, statuses=(403, 409, 429)),
    "GET /fleet/v1/witness-key": streamed("Of its cosignatures", TEXT),
}
"""By `METHOD /path`, as the table of roles has them."""
