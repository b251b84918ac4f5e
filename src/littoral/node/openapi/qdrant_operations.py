"""The routes of Qdrant's API that a node serves, in words and shapes; what it lacks is answered with 501."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from littoral.node.asked_recall import RECALL_HEADER, RECALL_LEAST
from littoral.node.openapi.answers import Id, Object
from littoral.node.qdrant_api import COLLECTION, LACKING, POINTS, READS, TIMEOUT_S_MAX, WRITE_ROUTES
from littoral.node.qdrant_bodies import IndexBody, QueriesBody, QueryBody, QueryGroupsBody, UpdatesBody
from littoral.node.qdrant_collections import AliasesBody, CreateBody, NewVectorBody, UpdateBody
from littoral.node.qdrant_older import OLDER_GROUPS, OLDER_SEARCHES
from littoral.node.qdrant_snapshots import PRIORITIES, RecoverBody
from littoral.node.qdrant_writes import WRITES
from littoral.web.openapi import Map, Operation, Params, Shape, Words
from littoral.web.openapi.operations import JSON

__all__ = ["QDRANT"]

TIMEOUT: Params = {"timeout": Annotated[int, Meta(ge=1, le=TIMEOUT_S_MAX)]}
TERMS: Params = {"wait": Words(("true", "false"))} | dict(TIMEOUT)
RECALL: Params = {RECALL_HEADER: Annotated[float, Meta(ge=RECALL_LEAST, le=1)]}
FORM = {"multipart/form-data": {"snapshot": bytes}}
STATUSES = (409, 413, 501, 504)
ALIASED = (404, *STATUSES)

POINT: Shape = {"id": Id, "payload?": Object | None, "vector?": Any, "shard_key?": None, "order_value?": Any}
HIT: Shape = {
    "id": Id,
    "version": int,
    "score": float,
    "payload?": Object | None,
    "vector?": Any,
    "shard_key?": None,
    "order_value?": Any,
}
GROUPS: Shape = {"groups": [{"id": int | str, "hits": [HIT], "lookup?": Any}]}
UPDATED: Shape = {"operation_id": int, "status": Words(("completed", "acknowledged"))}
SNAPSHOT: Shape = {"name": str, "creation_time": str, "size": int, "checksum": str}
ALIASES: Shape = {"aliases": [{"alias_name": str, "collection_name": str}]}
CLUSTER: Shape = {
    "status": Words(("enabled", "disabled")),
    "peer_id?": int,
    "peers?": Map({"uri": str}),
    "raft_info?": Object,
    "consensus_thread_status?": Object,
    "message_send_failures?": Map(Object),
}
CLUSTER_OF: Shape = {
    "peer_id": int,
    "shard_count": int,
    "local_shards": [{"shard_id": int, "points_count": int, "state": str}],
    "remote_shards": [{"shard_id": int, "peer_id": int, "state": str}],
    "shard_transfers": [
        {"shard_id": int, "from": int, "to": int, "sync": bool, "method": str, "comment": str},
    ],
}
DESCRIBED: Shape = {
    "status": str,
    "optimizer_status": str,
    "points_count": int,
    "indexed_vectors_count": int,
    "segments_count": int,
    "config": Object,
    "payload_schema": Map(Object),
}
READ_ANSWERS: Mapping[str, Shape] = {
    POINTS: [POINT],
    f"{POINTS}/scroll": {"points": [POINT], "next_page_offset": Id | None},
    f"{POINTS}/count": {"count": int},
    f"{COLLECTION}/facet": {"hits": [{"value": bool | int | str, "count": int}]},
    f"{POINTS}/search/matrix/pairs": {"pairs": [{"a": Id, "b": Id, "score": float}]},
    f"{POINTS}/search/matrix/offsets": {
        "offsets_row": list[int],
        "offsets_col": list[int],
        "scores": list[float],
        "ids": list[Id],
    },
}


def _told(summary: str, result: Shape, takes: Shape | None = None, query: Params = TIMEOUT, **more: Any) -> Operation:
    """In Qdrant's envelope."""
    body = {} if takes is None else {JSON: takes}
    gives = {JSON: {"result": result, "status": str, "time": float}}
    return Operation(summary, body, gives, query=query, **({"statuses": STATUSES} | more))


def _operations() -> Iterator[tuple[str, Operation]]:
    yield "GET /collections", _told("Names of the collections", {"collections": [{"name": str}]}, query={})
    yield f"GET {COLLECTION}", _told("A collection: counts and configuration", DESCRIBED)
    yield f"PUT {COLLECTION}", _told("Makes a collection", bool, CreateBody)
    yield f"PATCH {COLLECTION}", _told("Changes its configuration", bool, UpdateBody)
    yield f"DELETE {COLLECTION}", _told("Deletes a collection; false if there was none", bool)
    yield f"GET {COLLECTION}/exists", _told("Whether there is such a collection", {"exists": bool}, query={})
    at = f"{COLLECTION}/vectors/{{vector}}"
    yield f"PUT {at}", _told("A further vector for each point", UPDATED, NewVectorBody, TERMS)
    yield f"DELETE {at}", _told("Takes a vector from each point", UPDATED, query=TERMS)
    yield (
        "POST /collections/aliases",
        _told("Changes aliases, all or none", bool, AliasesBody, statuses=ALIASED),
    )
    yield f"GET {COLLECTION}/aliases", _told("Aliases of a collection", ALIASES, query={})
    yield "GET /aliases", _told("All aliases", ALIASES, query={})
    yield "GET /cluster", _told("The nodes of the site, as peers", CLUSTER, query={}, statuses=())
    yield f"GET {COLLECTION}/cluster", _told("Where the shards of a collection lie", CLUSTER_OF, query=TIMEOUT)
    yield f"PUT {COLLECTION}/index", _told("An index over a field of payloads", UPDATED, IndexBody, TERMS)
    yield f"DELETE {COLLECTION}/index/{{field}}", _told("Takes it away", UPDATED, query=TERMS)
    yield f"GET {POINTS}/{{id}}", _told("One point", POINT)
    yield f"POST {POINTS}/batch", _told("Several changes in one request", [UPDATED], UpdatesBody, TERMS)
    for path, (body, _) in READS.items():
        yield f"POST {path}", _told(_words("Reads points", path), READ_ANSWERS[path], body)
    for (method, path), name in WRITE_ROUTES.items():
        yield f"{method} {path}", _told(_words("Changes points", name), UPDATED, WRITES[name].body, TERMS)
    yield from _searches()
    yield from _snapshots()
    for method, path in LACKING:
        yield f"{method} {path}", Operation("Qdrant's, and not offered here", statuses=(501,))


def _searches() -> Iterator[tuple[str, Operation]]:
    found = {
        "query": (QueryBody, {"points": [HIT]}),
        "query/batch": (QueriesBody, [{"points": [HIT]}]),
        "query/groups": (QueryGroupsBody, GROUPS),
    }
    for path, (one, batch) in OLDER_SEARCHES.items():
        found |= {path: (one, [HIT]), f"{path}/batch": (batch, [[HIT]])}
    for path, groups in OLDER_GROUPS.items():
        found[path] = (groups, GROUPS)
    for path, (body, result) in found.items():
        yield f"POST {POINTS}/{path}", _told(_words("Searches", path), result, body, headers=RECALL)


def _snapshots() -> Iterator[tuple[str, Operation]]:
    folder = f"{COLLECTION}/snapshots"
    yield f"GET {folder}", _told("Snapshots of a collection", [SNAPSHOT], query={})
    yield f"POST {folder}", _told("Makes one", SNAPSHOT, query={})
    download = Operation("Its bytes", gives={"application/x-tar": None})
    yield f"GET {folder}/{{snapshot}}", download
    yield f"DELETE {folder}/{{snapshot}}", _told("Deletes it", bool, query={})
    yield f"PUT {folder}/recover", _told("Recovers a collection from one", bool, RecoverBody, {})
    terms = {"priority": Words(PRIORITIES), "checksum": str}
    upload = _told("Recovers a collection from the file in a form", bool, None, terms)
    yield f"POST {folder}/upload", upload._replace(takes=FORM)


def _words(what: str, path: str) -> str:
    """Of routes whose name says the rest."""
    return f"{what}: {path.rpartition('}/')[2].replace('/', ', ').replace('_', ' ')}"


QDRANT: Mapping[str, Operation] = dict(_operations())
