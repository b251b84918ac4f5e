"""The part of Qdrant's REST API that a node serves, so that `qdrant-client` works with it as it is.

What Qdrant has and we lack is answered with 501 and its name.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node import qdrant_collections as collections
from littoral.node import qdrant_reads as reads
from littoral.node.access.roles import Role
from littoral.node.asked_recall import asking_recall, request_recall
from littoral.node.caches import USE, use_of
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.mesh_view import view
from littoral.node.node import Node
from littoral.node.pipelines_api import status_error
from littoral.node.qdrant_bodies import (
    CountBody,
    FacetBody,
    IndexBody,
    MatrixBody,
    QueriesBody,
    QueryBody,
    QueryGroupsBody,
    RetrieveBody,
    ScrollBody,
    UpdatesBody,
)
from littoral.node.qdrant_cluster import cluster, cluster_of, cluster_of_one
from littoral.node.qdrant_older import OLDER_GROUPS, OLDER_SEARCHES, as_groups, as_query
from littoral.node.qdrant_snapshots import Snapshots
from littoral.node.qdrant_vector_names import asked_names, written_names
from littoral.node.qdrant_writes import WRITES, Terms, apply_updates
from littoral.node.search_answers import SearchQuestion
from littoral.node.search_how import SearchHow, noting
from littoral.node.search_step import searched
from littoral.node.told_model import collection_for_vectors, collection_to_write
from littoral.vectors.collection import Collection
from littoral.vectors.indexes import parse_schema
from littoral.vectors.queries import SearchParams, parse_params
from littoral.web import Answer, Handler, Protocol, Request, Route, decode_json, json_answer
from littoral.web.caller import needs

__all__ = ["qdrant_protocol"]

TIMEOUT_S = 10.0
TIMEOUT_S_MAX = 300
SPREAD_S = 20.0
"""For the shards of a new collection to answer, on all its nodes."""

COLLECTION = "/collections/{collection}"
POINTS = f"{COLLECTION}/points"

_Work = Callable[[Request], Awaitable[object]]

READS: dict[str, tuple[type[Any], Callable[[Collection, Any, float], Awaitable[object]]]] = {
    POINTS: (RetrieveBody, reads.retrieve),
    f"{POINTS}/scroll": (ScrollBody, reads.scroll),
    f"{POINTS}/count": (CountBody, reads.count),
    f"{COLLECTION}/facet": (FacetBody, reads.facet),
    f"{POINTS}/search/matrix/pairs": (MatrixBody, reads.matrix_pairs),
    f"{POINTS}/search/matrix/offsets": (MatrixBody, reads.matrix_offsets),
}
WRITE_ROUTES = {
    ("PUT", POINTS): "upsert",
    ("POST", f"{POINTS}/delete"): "delete",
    ("PUT", f"{POINTS}/vectors"): "update_vectors",
    ("POST", f"{POINTS}/vectors/delete"): "delete_vectors",
    ("POST", f"{POINTS}/payload"): "set_payload",
    ("PUT", f"{POINTS}/payload"): "overwrite_payload",
    ("POST", f"{POINTS}/payload/delete"): "delete_payload",
    ("POST", f"{POINTS}/payload/clear"): "clear_payload",
}
WITH_VECTORS = frozenset({"upsert", "update_vectors"})
LACKING = (
    ("POST", f"{COLLECTION}/cluster"),
    ("GET", f"{COLLECTION}/optimizations"),
    ("GET", f"{COLLECTION}/shards"),
    ("PUT", f"{COLLECTION}/shards"),
    ("POST", f"{COLLECTION}/shards/delete"),
    ("GET", f"{COLLECTION}/shards/{{shard}}/snapshot"),
    ("GET", f"{COLLECTION}/shards/{{shard}}/snapshots"),
    ("POST", f"{COLLECTION}/shards/{{shard}}/snapshots"),
    ("POST", f"{COLLECTION}/shards/{{shard}}/snapshots/upload"),
    ("PUT", f"{COLLECTION}/shards/{{shard}}/snapshots/recover"),
    ("GET", f"{COLLECTION}/shards/{{shard}}/snapshots/{{snapshot}}"),
    ("DELETE", f"{COLLECTION}/shards/{{shard}}/snapshots/{{snapshot}}"),
    ("GET", "/cluster/telemetry"),
    ("POST", "/cluster/recover"),
    ("DELETE", "/cluster/peer/{peer}"),
    ("GET", "/snapshots"),
    ("POST", "/snapshots"),
    ("GET", "/snapshots/{snapshot}"),
    ("DELETE", "/snapshots/{snapshot}"),
    ("GET", "/telemetry"),
    ("GET", "/quotas"),
    ("PUT", "/quotas"),
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
            self._route("PATCH", COLLECTION, self._change),
            self._route("DELETE", COLLECTION, self._delete),
            self._route("GET", f"{COLLECTION}/exists", self._exists),
            self._route("PUT", f"{COLLECTION}/vectors/{{vector}}", self._add_vector),
            self._route("DELETE", f"{COLLECTION}/vectors/{{vector}}", self._drop_vector),
            self._route("POST", "/collections/aliases", self._change_aliases),
            self._route("GET", f"{COLLECTION}/aliases", self._aliases),
            self._route("GET", "/aliases", self._aliases),
            self._route("GET", "/cluster", self._cluster),
            self._route("GET", f"{COLLECTION}/cluster", self._cluster_of),
            self._route("PUT", f"{COLLECTION}/index", self._create_index),
            self._route("DELETE", f"{COLLECTION}/index/{{field}}", self._delete_index),
            self._route("GET", f"{POINTS}/{{id}}", self._retrieve_one),
            self._route("POST", f"{POINTS}/batch", self._update_batch),
            *self._search_routes(),
            *self._snapshot_routes(),
        ]
        routes += [self._route("POST", path, self._read(*read)) for path, read in READS.items()]
        routes += [self._route(*at, self._write(name)) for at, name in WRITE_ROUTES.items()]
        routes += [Route(*at, _lacking(*at)) for at in LACKING]
        prefixes = ("/collections", "/aliases", "/cluster", "/snapshots", "/telemetry", "/locks", "/issues", "/quotas")
        return Protocol(prefixes, routes, status_error)

    def _route(self, method: str, pattern: str, work: _Work) -> Route:
        async def answer(request: Request) -> Answer:
            began = self._clock.monotonic()
            result = await work(request)
            time_s = self._clock.monotonic() - began
            return json_answer({"result": result, "status": "ok", "time": time_s})

        return Route(method, pattern, answer)

    def _snapshot_routes(self) -> list[Route]:
        snapshots = Snapshots(self._node)
        folder = f"{COLLECTION}/snapshots"
        return [
            self._route("GET", folder, snapshots.list),
            self._route("POST", folder, snapshots.create),
            Route("GET", f"{folder}/{{snapshot}}", snapshots.download),
            self._route("DELETE", f"{folder}/{{snapshot}}", snapshots.delete),
            self._route("PUT", f"{folder}/recover", snapshots.recover),
            self._route("POST", f"{folder}/upload", snapshots.upload),
        ]

    def _search_routes(self) -> list[Route]:
        """Today's and the older ones, which differ in their bodies and in what lies around the hits."""
        one, many, grouped = self._query, self._queries, self._groups
        routes = [
            self._search_route("query", QueryBody, lambda c, body, s: one(c, body, s, points=True)),
            self._search_route("query/batch", QueriesBody, lambda c, body, s: many(c, body, s, points=True)),
            self._search_route("query/groups", QueryGroupsBody, grouped),
        ]
        for path, (kind, batch) in OLDER_SEARCHES.items():
            routes.append(self._search_route(path, kind, lambda c, body, s: one(c, as_query(body), s, points=False)))
            routes.append(
                self._search_route(f"{path}/batch", batch, lambda c, body, s: many(c, _new(body), s, points=False))
            )
        for path, kind in OLDER_GROUPS.items():
            routes.append(self._search_route(path, kind, lambda c, body, s: grouped(c, as_groups(body), s)))
        return routes

    async def _query(self, collection: Collection, body: QueryBody, deadline_s: float, *, points: bool) -> object:
        hits = reads.hits_of(await reads.query(collection, body, self._node.collections.get, deadline_s))
        return {"points": hits} if points else hits

    async def _queries(self, collection: Collection, body: QueriesBody, deadline_s: float, *, points: bool) -> object:
        found = await reads.query_batch(collection, body, self._node.collections.get, deadline_s)
        return [{"points": reads.hits_of(hits)} if points else reads.hits_of(hits) for hits in found]

    async def _groups(self, collection: Collection, body: QueryGroupsBody, deadline_s: float) -> object:
        return await reads.query_groups(collection, body, self._node.collections.get, deadline_s)

    def _search_route(
        self, path: str, kind: type[Any], run: Callable[[Collection, Any, float], Awaitable[object]]
    ) -> Route:
        """As a read, and says in `littoral-how` how it searched."""

        async def answer(request: Request) -> Answer:
            with noting() as how, asking_recall(request_recall(request)):
                return await answer_noting(request, how)

        async def answer_noting(request: Request, how: SearchHow) -> Answer:
            began = self._clock.monotonic()
            data = await request.body.read()
            collection = collection_for_vectors(self._node, request, lambda: asked_names(decode_json(data, kind)))
            USE.set(use := use_of(request))
            question = SearchQuestion(self._node.caches, collection, path, data, use)
            deadline_s = _deadline_s(request)
            if (known := question.find() or await question.ask(deadline_s)) is not None:
                return self._told(known.result, how.as_json() or known.searched, known.cache, began)
            body = decode_json(data, kind)
            result = msgspec.json.encode(await run(collection, body, deadline_s))
            searched = msgspec.json.encode(_searched(body))
            question.keep(result, searched)
            return self._told(result, how.as_json() or searched, None, began)

        return Route("POST", f"{POINTS}/{path}", answer)

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
            terms, body = _terms(request), await request.json(write.body)
            collection = await self._to_write(request, body) if name in WITH_VECTORS else self._collection(request)
            epoch = await write.run(collection, body, terms)
            return _updated(epoch, terms)

        return work

    def _collection(self, request: Request) -> Collection:
        return self._node.collections.get(request.names["collection"])

    async def _to_write(self, request: Request, body: object) -> Collection:
        return await collection_to_write(self._node, request, lambda: written_names(body))

    async def _list(self, _: Request) -> object:
        return {"collections": [{"name": name} for name in self._node.collections.names()]}

    async def _exists(self, request: Request) -> object:
        return {"exists": request.names["collection"] in self._node.collections}

    async def _describe(self, request: Request) -> object:
        collection = self._collection(request)
        info = await collection.info(deadline_s=_deadline_s(request))
        spread = collection.told() if isinstance(collection, SpreadCollection) else {}
        return collections.description(collection.config, info, spread)

    async def _create(self, request: Request) -> object:
        _deadline_s(request)
        name, body = request.names["collection"], await request.json(collections.CreateBody)
        federation, held = self._node.federation, self._node.collections
        if federation is None:
            collections.check_plain(body)
        if federation is None or (spread := collections.spread_of(body, federation.making.default)) is None:
            await held.create(name, collections.config_of(body))
            return True
        needs(Role.ADMIN, "a collection that is spread over nodes")
        await federation.making.create(
            name,
            collections.config_of(body, spread),
            spread,
            ready=lambda left_s: held.get(name).count(deadline_s=left_s),
            deadline_s=_deadline_s(request) if "timeout" in request.query else SPREAD_S,
        )
        return True

    async def _change(self, request: Request) -> object:
        body = await request.json(collections.UpdateBody)
        collection, federation, deadline_s = self._collection(request), self._node.federation, _deadline_s(request)
        if federation is not None and isinstance(collection, SpreadCollection):
            change = partial(collections.changed_spread, body=body)
            await federation.making.configure(collection.name, change, deadline_s=deadline_s)
        else:
            config = collections.changed_config(collection.config, body)
            await self._node.collections.configure(collection.name, config, deadline_s=deadline_s)
        return True

    async def _add_vector(self, request: Request) -> object:
        vector = request.names["vector"]
        params = collections.new_vector(vector, await request.json(collections.NewVectorBody))
        name, deadline_s = request.names["collection"], _deadline_s(request)
        return _updated(
            await self._node.collections.add_vector(name, vector, params, deadline_s=deadline_s), _terms(request)
        )

    async def _drop_vector(self, request: Request) -> object:
        name, deadline_s = request.names["collection"], _deadline_s(request)
        epoch = await self._node.collections.drop_vector(name, request.names["vector"], deadline_s=deadline_s)
        return _updated(epoch, _terms(request))

    async def _change_aliases(self, request: Request) -> object:
        deadline_s = _deadline_s(request)
        changes = collections.alias_changes(await request.json(collections.AliasesBody))
        federation, held = self._node.federation, self._node.collections
        if federation is None:
            await held.change_aliases(changes)
        else:
            await federation.making.change_aliases(changes, [*held.names(), *held.damaged], deadline_s=deadline_s)
        return True

    async def _aliases(self, request: Request) -> object:
        """Of one collection, or of all."""
        wanted = self._collection(request).name if "collection" in request.names else None
        return {
            "aliases": [
                {"alias_name": alias, "collection_name": name}
                for alias, name in self._node.collections.alias_table.all().items()
                if wanted in (None, name)
            ]
        }

    async def _cluster(self, _: Request) -> object:
        federation, now_s = self._node.federation, self._clock.wall()
        return cluster(None if federation is None else view(federation, now_s=now_s), now_s=now_s)

    async def _cluster_of(self, request: Request) -> object:
        collection, federation = self._collection(request), self._node.federation
        if federation is None or not isinstance(collection, SpreadCollection):
            return cluster_of_one(self._node.name, await collection.count(deadline_s=_deadline_s(request)))
        return cluster_of(view(federation, now_s=self._clock.wall()), collection.name)

    async def _delete(self, request: Request) -> object:
        """False where there was none, as Qdrant says it."""
        deadline_s, name, federation = _deadline_s(request), request.names["collection"], self._node.federation
        try:
            if federation is not None and federation.making.is_made(name):
                needs(Role.ADMIN, "deleting a collection that is spread over nodes")
                await federation.making.delete(name, deadline_s=deadline_s)
            else:
                await self._node.collections.delete(name)
        except NotFoundError:
            return False
        return True

    async def _create_index(self, request: Request) -> object:
        body = await request.json(IndexBody)
        if body.field_schema is None:
            raise InputError("field_schema: the name of a type is missing")
        schema = parse_schema(body.field_schema)
        epoch = await self._collection(request).create_index(body.field_name, schema, deadline_s=_deadline_s(request))
        return _updated(epoch, _terms(request))

    async def _delete_index(self, request: Request) -> object:
        epoch = await self._collection(request).delete_index(request.names["field"], deadline_s=_deadline_s(request))
        return _updated(epoch, _terms(request))

    async def _retrieve_one(self, request: Request) -> object:
        return await reads.retrieve_one(self._collection(request), request.names["id"], _deadline_s(request))

    async def _update_batch(self, request: Request) -> object:
        terms, body = _terms(request), await request.json(UpdatesBody)
        has_vectors = any(name in WITH_VECTORS for operation in body.operations for name in operation)
        collection = await self._to_write(request, body) if has_vectors else self._collection(request)
        epochs = await apply_updates(collection, body, terms)
        return [_updated(epoch, terms) for epoch in epochs]


def _new(body: Any) -> QueriesBody:
    """A batch of older searches."""
    return QueriesBody(searches=[as_query(one) for one in body.searches])


def _searched(body: Any) -> dict[str, Any]:
    """What a search says of itself; several are exact if each is."""
    params = [parse_params(one.params) for one in getattr(body, "searches", [body])]
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
            f"`{method} {pattern}` is Qdrant's, and not offered here", hint="see docs/reference/qdrant.md"
        )

    return refuse
