"""The part of Qdrant's REST API that a node serves, so that `qdrant-client` works with it as it is.

What Qdrant has and we lack is answered with 501 and its name.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node import qdrant_reads as reads
from littoral.node.caches import use_of
from littoral.node.node import Node
from littoral.node.pipelines_api import status_error
from littoral.node.qdrant_bodies import (
    CountBody,
    CreateBody,
    IndexBody,
    QueriesBody,
    QueryBody,
    RetrieveBody,
    ScrollBody,
    SearchBody,
    UpdatesBody,
    check_offered,
    vector_params,
)
from littoral.node.qdrant_writes import WRITES, Terms, apply_updates
from littoral.node.search_answers import SearchQuestion
from littoral.node.search_step import searched
from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchParams, parse_params
from littoral.vectors.records import CollectionConfig, ShardInfo
from littoral.web import Answer, Handler, Protocol, Request, Route, decode_json, json_answer

__all__ = ["qdrant_protocol"]

TIMEOUT_S = 10.0
TIMEOUT_S_MAX = 300
COLLECTION = "/collections/{collection}"
POINTS = f"{COLLECTION}/points"

_Work = Callable[[Request], Awaitable[object]]

READS: dict[str, tuple[type[Any], Callable[[Collection, Any, float], Awaitable[object]]]] = {
    POINTS: (RetrieveBody, reads.retrieve),
    f"{POINTS}/scroll": (ScrollBody, reads.scroll),
    f"{POINTS}/count": (CountBody, reads.count),
}
SEARCHES: dict[str, tuple[type[Any], Callable[[Collection, Any, float], Awaitable[object]]]] = {
    f"{POINTS}/search": (SearchBody, reads.search),
    f"{POINTS}/query": (QueryBody, reads.query),
    f"{POINTS}/query/batch": (QueriesBody, reads.query_batch),
}
WRITE_ROUTES = {
    ("PUT", POINTS): "upsert",
    ("POST", f"{POINTS}/delete"): "delete",
    ("POST", f"{POINTS}/payload"): "set_payload",
    ("PUT", f"{POINTS}/payload"): "overwrite_payload",
    ("POST", f"{POINTS}/payload/delete"): "delete_payload",
    ("POST", f"{POINTS}/payload/clear"): "clear_payload",
}
LACKING = (
    ("PATCH", COLLECTION),
    ("POST", "/collections/aliases"),
    ("GET", f"{COLLECTION}/aliases"),
    ("GET", f"{COLLECTION}/cluster"),
    ("POST", f"{COLLECTION}/cluster"),
    ("GET", f"{COLLECTION}/optimizations"),
    ("POST", f"{COLLECTION}/facet"),
    ("GET", f"{COLLECTION}/shards"),
    ("PUT", f"{COLLECTION}/shards"),
    ("POST", f"{COLLECTION}/shards/delete"),
    ("GET", f"{COLLECTION}/snapshots"),
    ("POST", f"{COLLECTION}/snapshots"),
    ("POST", f"{COLLECTION}/snapshots/upload"),
    ("PUT", f"{COLLECTION}/snapshots/recover"),
    ("GET", f"{COLLECTION}/snapshots/{{snapshot}}"),
    ("DELETE", f"{COLLECTION}/snapshots/{{snapshot}}"),
    ("PUT", f"{POINTS}/vectors"),
    ("POST", f"{POINTS}/vectors/delete"),
    ("POST", f"{POINTS}/search/batch"),
    ("POST", f"{POINTS}/search/groups"),
    ("POST", f"{POINTS}/search/matrix/pairs"),
    ("POST", f"{POINTS}/search/matrix/offsets"),
    ("POST", f"{POINTS}/recommend"),
    ("POST", f"{POINTS}/recommend/batch"),
    ("POST", f"{POINTS}/recommend/groups"),
    ("POST", f"{POINTS}/discover"),
    ("POST", f"{POINTS}/discover/batch"),
    ("POST", f"{POINTS}/query/groups"),
    ("GET", "/aliases"),
    ("GET", "/cluster"),
    ("GET", "/snapshots"),
    ("POST", "/snapshots"),
    ("GET", "/telemetry"),
    ("GET", "/locks"),
    ("POST", "/locks"),
    ("GET", "/issues"),
    ("DELETE", "/issues"),
)
"""Routes of Qdrant 1.16 to 1.20 that a node does not serve."""


def qdrant_protocol(node: Node) -> Protocol:
    """Its answers are `{"result", "status", "time"}`, its errors `{"status": {"error"}, "time"}`."""
    return _Api(node).protocol()


class _Api:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._clock = node.clock
        self._name = json.dumps(node.name).encode()

    def protocol(self) -> Protocol:
        routes = [
            self._route("GET", "/collections", self._list),
            self._route("GET", COLLECTION, self._describe),
            self._route("PUT", COLLECTION, self._create),
            self._route("DELETE", COLLECTION, self._delete),
            self._route("GET", f"{COLLECTION}/exists", self._exists),
            self._route("PUT", f"{COLLECTION}/index", self._create_index),
            self._route("DELETE", f"{COLLECTION}/index/{{field}}", self._delete_index),
            self._route("GET", f"{POINTS}/{{id}}", self._retrieve_one),
            self._route("POST", f"{POINTS}/batch", self._update_batch),
        ]
        routes += [self._route("POST", path, self._read(*read)) for path, read in READS.items()]
        routes += [self._search_route(path, *search) for path, search in SEARCHES.items()]
        routes += [self._route(*at, self._write(name)) for at, name in WRITE_ROUTES.items()]
        routes += [Route(*at, _lacking(*at)) for at in LACKING]
        prefixes = ("/collections", "/aliases", "/cluster", "/snapshots", "/telemetry", "/locks", "/issues")
        return Protocol(prefixes, routes, status_error)

    def _route(self, method: str, pattern: str, work: _Work) -> Route:
        async def answer(request: Request) -> Answer:
            began = self._clock.monotonic()
            result = await work(request)
            time_s = self._clock.monotonic() - began
            return json_answer({"result": result, "status": "ok", "time": time_s})

        return Route(method, pattern, answer)

    def _search_route(
        self, pattern: str, kind: type[Any], run: Callable[[Collection, Any, float], Awaitable[object]]
    ) -> Route:
        """As a read, and says in `littoral-how` how it searched."""

        async def answer(request: Request) -> Answer:
            began = self._clock.monotonic()
            collection, data = self._collection(request), await request.body.read()
            question = SearchQuestion(
                self._node.caches, collection, pattern, data, use_of(request), is_older=kind is SearchBody
            )
            if (known := question.find()) is not None:
                return self._told(known.result, known.searched, known.cache, began)
            body = decode_json(data, kind)
            result = msgspec.json.encode(await run(collection, body, _deadline_s(request)))
            searched = msgspec.json.encode(_searched(body))
            question.keep(result, searched)
            return self._told(result, searched, None, began)

        return Route("POST", pattern, answer)

    def _told(self, result: bytes, searched: bytes, cache: str | None, began: float) -> Answer:
        time_s = self._clock.monotonic() - began
        told = f'"{cache}"'.encode() if cache else b"null"
        stages = b'{"search":%.3f}' % (time_s * 1000)
        how = b'{"node":%b,"stages":%b,"cache":%b,"search":%b}' % (self._name, stages, told, searched)
        body = b'{"result":%b,"status":"ok","time":%.9f}' % (result, time_s)
        return Answer(body, headers=(("littoral-how", how.decode()),))

    def _read(self, kind: type[Any], run: Callable[[Collection, Any, float], Awaitable[object]]) -> _Work:
        async def work(request: Request) -> object:
            return await run(self._collection(request), await request.json(kind), _deadline_s(request))

        return work

    def _write(self, name: str) -> _Work:
        write = WRITES[name]

        async def work(request: Request) -> object:
            terms = _terms(request)
            epoch = await write.run(self._collection(request), await request.json(write.body), terms)
            return _updated(epoch, terms)

        return work

    def _collection(self, request: Request) -> Collection:
        return self._node.collections.get(request.names["collection"])

    async def _list(self, _: Request) -> object:
        return {"collections": [{"name": name} for name in self._node.collections.names()]}

    async def _exists(self, request: Request) -> object:
        return {"exists": request.names["collection"] in self._node.collections}

    async def _describe(self, request: Request) -> object:
        collection = self._collection(request)
        return _description(collection.config, await collection.info(deadline_s=_deadline_s(request)))

    async def _create(self, request: Request) -> object:
        body = await request.json(CreateBody)
        check_offered(body)
        params = vector_params(body.vectors)
        await self._node.collections.create(request.names["collection"], CollectionConfig(params))
        return True

    async def _delete(self, request: Request) -> object:
        """False where there was none, as Qdrant says it."""
        try:
            await self._node.collections.delete(request.names["collection"])
        except NotFoundError:
            return False
        return True

    async def _create_index(self, request: Request) -> object:
        body = await request.json(IndexBody)
        schema = body.field_schema
        if isinstance(schema, dict):
            raise NotOfferedError("field_schema: parameters are not offered, give the name of a type")
        if schema is None:
            raise InputError("field_schema: the name of a type is missing")
        epoch = await self._collection(request).create_index(body.field_name, schema, deadline_s=_deadline_s(request))
        return _updated(epoch, _terms(request))

    async def _delete_index(self, request: Request) -> object:
        epoch = await self._collection(request).delete_index(request.names["field"], deadline_s=_deadline_s(request))
        return _updated(epoch, _terms(request))

    async def _retrieve_one(self, request: Request) -> object:
        return await reads.retrieve_one(self._collection(request), request.names["id"], _deadline_s(request))

    async def _update_batch(self, request: Request) -> object:
        terms = _terms(request)
        epochs = await apply_updates(self._collection(request), await request.json(UpdatesBody), terms)
        return [_updated(epoch, terms) for epoch in epochs]


def _searched(body: SearchBody | QueryBody | QueriesBody) -> dict[str, Any]:
    """What a search says of itself; several are exact if each is."""
    bodies = body.searches if isinstance(body, QueriesBody) else [body]
    params = [parse_params(one.params) for one in bodies]
    return searched({"params": next((found for found in params if not found.exact), SearchParams(exact=True))})


def _terms(request: Request) -> Terms:
    wait = request.query.get("wait", "true")
    if wait not in ("true", "false"):
        raise InputError(f"query: `wait` is `{wait[:40]}`, must be true or false")
    return Terms("durable" if wait == "true" else "applied", _deadline_s(request))


def _deadline_s(request: Request) -> float:
    if (text := request.query.get("timeout")) is None:
        return TIMEOUT_S
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= TIMEOUT_S_MAX):
        raise InputError(f"query: `timeout` is `{text[:40]}`, must be 1..{TIMEOUT_S_MAX} seconds")
    return float(text)


def _updated(epoch: int, terms: Terms) -> object:
    """`completed`: flushed. `acknowledged`: applied and in the log, which is already more than Qdrant promises."""
    return {"operation_id": epoch, "status": "completed" if terms.acknowledge == "durable" else "acknowledged"}


def _lacking(method: str, pattern: str) -> Handler:
    async def refuse(_: Request) -> Answer:
        raise NotOfferedError(
            f"`{method} {pattern}` is Qdrant's, and not offered here", hint="see docs/reference/http.md"
        )

    return refuse


def _description(config: CollectionConfig, info: ShardInfo) -> object:
    """What `GET /collections/{c}` says; the figures of parts that we do not offer are those of Qdrant's defaults."""
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "config": {
            "params": {
                "vectors": {"size": config.vectors.size, "distance": config.vectors.distance},
                "shard_number": 1,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": True,
            },
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "on_disk": False},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        },
        "payload_schema": {
            name: {"data_type": schema, "points": info.points_count} for name, schema in info.payload_schema.items()
        },
    }
