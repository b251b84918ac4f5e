"""What the parts of a node tell its audit log, and how: around routes, at steps of pipelines, where models change."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.audit.entries import Entry, Searched
from littoral.audit.recorder import REASONS, Recorder
from littoral.clock import Clock
from littoral.errors import LittoralError, NotFoundError, RequestError
from littoral.node.audit.acts import CHANGES, READS, points_of
from littoral.node.federation.messages import Ask
from littoral.node.heard import HEARD
from littoral.telemetry import Reading
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.records import Payload, PointId
from littoral.web import Answer, Handler, Protocol, Request, Route, Stream, Upgrade
from littoral.web.access.tokens import Token
from littoral.web.caller import CALLER

__all__ = ["Trail"]

REQUEST_CHARACTERS_MAX = 200
MODEL_SETS_MAX = 256
SHARDS_MAX = 64
UPLOADS = frozenset({"POST /collections/{collection}/snapshots/upload"})
"""Bodies too large to be read again."""

IN_PARTS = frozenset({"POST /collections/{collection}/points/batch", "POST /collections/aliases"})
"""Of these, what stands before a part that is refused was done."""

BESIDE_BYTES = 1 << 18
"""A larger body is hashed in a thread."""


class Trail:
    """Of a node whose site file has the table. shares: of queries that are told, by collection; `share` of the others.

    find: a collection by its name or alias. For one event loop.
    """

    def __init__(
        self,
        recorder: Recorder,
        find: Callable[[str], Collection],
        clock: Clock,
        *,
        share: float = 1.0,
        shares: Mapping[str, float] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.recorder = recorder
        self._find = find
        self._clock = clock
        self._share = share
        self._shares = shares or {}
        self._rng = rng or random.Random()  # noqa: S311  which queries are told is no secret
        self.skipped = 0
        self._others: list[Trail] = []
        self.sources: list[Callable[[], Iterable[Reading]]] = []

    def of(self, find: Callable[[str], Collection]) -> "Trail":
        """In the same log, for a tenant, whose collections are found so."""
        other = Trail(self.recorder, find, self._clock, share=self._share, shares=self._shares, rng=self._rng)
        self._others.append(other)
        return other

    def forget(self, other: "Trail") -> None:
        """A tenant's that is there no more; what it counted is kept."""
        self._others.remove(other)
        self.skipped += other.skipped

    def protocols(self, found: Sequence[Protocol]) -> list[Protocol]:
        """The same, with what they do told."""
        return [one._replace(routes=[self._route(route) for route in one.routes]) for one in found]

    def act(self, did: str, on: str, **more: Any) -> None:
        """What was done, by whoever it runs for. more: of an `Entry`."""
        self.recorder.tell(Entry(self._clock.wall(), did, CALLER.get(), on, **more))

    async def changed(self, did: str, on: str, **more: Any) -> None:
        """As `act`; waits until it is on the disk where the site file says so."""
        await self.recorder.changed(Entry(self._clock.wall(), did, CALLER.get(), on, **more))

    def check(self) -> None:
        """Before a change. Raises UnavailableError where it could not be told, and must be."""
        self.recorder.check()

    def searched(self, collection: Collection, vector: bytes, using: str = "") -> None:
        """One search by a vector, of a step. vector: float32, little-endian. using: its name."""
        if self._is_told(collection.name):
            self._searched("query", collection, vector, using)

    async def upserting(
        self, collection: Collection, point: PointId, vectors: npt.NDArray[Any], payload: Payload, name: str = ""
    ) -> int:
        """One durable point of a step, and its entry; the epoch after it. name: of the vector."""
        self.check()
        vector = np.ascontiguousarray(vectors, "<f4").tobytes()
        told: dict[str, Any] = {"count": 1, "digest": sha256(vector).hexdigest(), "of": "vector"}
        told |= {"model": _joined(collection.config.models_of(name)), "detail": {"ids": [point]}}
        try:
            epoch = await collection.upsert([point], vectors, [payload], vector=name, acknowledge="durable")
        except RequestError:
            raise
        except BaseException as error:
            self.act("insert", collection.name, failed=type(error).__name__, **told)
            raise
        await self.changed("insert", collection.name, **told)
        return epoch

    def served(self, peer: str, ask: Ask, body: bytes) -> None:
        """What another node has asked of shards that lie here; it tells by itself who asked it. body: of its request.

        Reads as the site file says of queries, writes always.
        """
        is_write = isinstance(ask.parts[0].request, frames.Write)
        if not is_write and not self._is_told(ask.collection):
            return
        shards = sorted({shard for part in ask.parts for shard in part.shards})
        detail = {"asked": "write" if is_write else "read", "shards": shards[:SHARDS_MAX]}
        told: dict[str, Any] = {
            "count": len(shards),
            "digest": sha256(body).hexdigest(),
            "of": "body",
            "model": ask.model,
        }
        self.recorder.tell(Entry(self._clock.wall(), "served", f"mesh:{peer}", ask.collection, detail=detail, **told))

    def deployment(self, target: str, state: str, *, before: str = "", now: str = "", **detail: Any) -> None:
        """An update of this node has come to a state. before, now: versions or digests of the target, where it has."""
        versions = {name: version for name, version in (("from", before), ("to", now)) if version}
        self.act("deployment", target, detail={**versions, "state": state, **detail})

    def deployed(self, kind: str, name: str, digest: str, **detail: Any) -> None:
        """A model or agent serves from now on."""
        self.act("deploy", f"{kind}/{name}", digest=digest, of="file", detail=detail)

    def tokens_changed(self, before: Mapping[str, Token], now: Mapping[str, Token]) -> None:
        """Somebody has written the file of tokens."""
        for token_id in before.keys() | now.keys():
            if before.get(token_id) == now.get(token_id):
                continue
            token = now.get(token_id) or before[token_id]
            how = "revoked" if token_id not in now else "made" if token_id not in before else "changed"
            detail = {"how": how, "roles": [str(role) for role in token.roles]}
            self.act("tokens", f"{token.name}#{token_id}", detail=detail)

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        recorder = self.recorder
        yield Reading("littoral_audit_log_entries", (), recorder.size)
        yield Reading("littoral_audit_queue_entries", (), recorder.waiting_count)
        yield Reading("littoral_audit_entries_total", (), recorder.told)
        yield Reading("littoral_audit_skipped_total", (), self.skipped + sum(one.skipped for one in self._others))
        for reason in REASONS:
            yield Reading("littoral_audit_dropped_total", (reason,), recorder.dropped[reason])
        yield Reading("littoral_audit_batches_total", (), recorder.batches)
        yield Reading("littoral_audit_batch_seconds_total", (), recorder.batch_s)
        yield Reading("littoral_audit_failures_total", (), recorder.failures)
        yield Reading("littoral_audit_pruned_total", (), recorder.pruned)
        yield Reading("littoral_audit_takes_entries", (), not recorder.failure)
        for source in self.sources:
            yield from source()

    def _route(self, route: Route) -> Route:
        name = f"{route.method} {route.pattern}"
        if (did := CHANGES.get(name)) is not None:
            return route._replace(handler=self._change(route.handler, did, name))
        if (did := READS.get(name)) is not None:
            return route._replace(after=self._read(did))
        return route

    def _change(self, handler: Handler, did: str, route: str) -> Handler:
        has_body = not route.startswith(("GET ", "DELETE ")) and route not in UPLOADS

        async def answer(request: Request) -> Answer | Stream | Upgrade:
            if request.method != "GET":
                self.check()
            try:
                found = await handler(request)
            except BaseException as error:
                if isinstance(error, RequestError) and route not in IN_PARTS:
                    raise
                self.act(did, _subject(request), failed=type(error).__name__, detail=_asked(request))
                raise
            told = await _told_of(await _again(request)) if has_body else {}
            detail = _asked(request) | told.pop("detail", {})
            await self.changed(did, _subject(request), detail=detail, **told)
            return found

        return answer

    def _read(self, did: str) -> Callable[[Request], Awaitable[None] | None]:
        def told(request: Request) -> Awaitable[None] | None:
            if (heard := HEARD.get()) is None:
                return self._told_by_body(did, request)
            HEARD.set(None)
            collection, asked = heard
            if not self._is_told(collection.name):
                return None
            if len(asked) == 1 and isinstance(vector := asked[0].ask, bytes):
                self._searched(did, collection, vector, asked[0].using)
            else:
                digests = [sha256(one.ask).hexdigest() for one in asked if isinstance(one.ask, bytes)]
                detail = {"digests": digests}
                self.act(
                    did, collection.name, count=len(digests), of="vector", model=_models(collection), detail=detail
                )
            return None

        return told

    async def _told_by_body(self, did: str, request: Request) -> None:
        """Of what was no plain search of vectors, or was told again from a cache."""
        try:
            collection = self._find(request.names["collection"])
        except NotFoundError:  # deleted meanwhile
            self.act(did, _subject(request), detail=_asked(request))
            return
        if not self._is_told(collection.name):
            return
        data = b"" if request.method == "GET" else await _again(request)
        of = {"digest": sha256(data).hexdigest(), "of": "body"} if data else {}
        self.act(did, collection.name, model=_models(collection), detail=_asked(request), **of)

    def _searched(self, did: str, collection: Collection, vector: bytes, using: str) -> None:
        noted = Searched(
            self._clock.wall(), did, CALLER.get(), collection.name, vector, collection.config.models_of(using)
        )
        self.recorder.tell_searched(noted)

    def _is_told(self, collection: str) -> bool:
        share = self._shares.get(collection, self._share)
        if share >= 1 or self._rng.random() < share:
            return True
        self.skipped += 1
        return False


def _subject(request: Request) -> str:
    return "/".join(request.names.values())[:REQUEST_CHARACTERS_MAX]


def _asked(request: Request) -> dict[str, Any]:
    return {"request": f"{request.method} {request.path[:REQUEST_CHARACTERS_MAX]}"}


async def _told_of(data: bytes) -> dict[str, Any]:
    """What an entry says of a body: its digest, how many points it names, and which."""
    if not data:
        return {}
    digest = sha256(data) if len(data) < BESIDE_BYTES else await asyncio.to_thread(sha256, data)
    count, ids = points_of(data)
    return {"digest": digest.hexdigest(), "of": "body", "count": count, "detail": {"ids": ids} if ids else {}}


async def _again(request: Request) -> bytes:
    """The body, which the handler has read by now."""
    try:
        return await request.body.read()
    except LittoralError:
        return b""


def _models(collection: Collection) -> str:
    return _joined(collection.config.all_models)


@lru_cache(MODEL_SETS_MAX)
def _joined(models: tuple[ModelVersion, ...]) -> str:
    return ",".join(map(str, models))
