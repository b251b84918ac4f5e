"""Clients of a simulated site, each at a node of its choice: they write, they search, and they hold it to its word."""

import asyncio
import traceback
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.errors import LittoralError
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.search_how import noting
from littoral.testing.mesh.models import TEXT
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.regions import REGION
from littoral.testing.mesh.several import SIZES, using_of, vectors_of
from littoral.testing.mesh.site import COLLECTION, SimulatedSite
from littoral.vectors.asks import Nearest
from littoral.vectors.queries import SearchParams, SearchQuery
from littoral.vectors.records import Hit, Payload

__all__ = ["Clients", "Search"]

WRITER_POINTS = 1_000_000
WRITE_S, SEARCH_S, PAUSE_S = 3.0, 2.0, 0.25
LATE_S = 0.3
LIMIT = 10
EXACT = SearchParams(exact=True)
SCORE_ERROR = 1e-4


class Search(NamedTuple):
    """One that was answered."""

    node: str
    query: npt.NDArray[np.float32]
    hits: list[Hit]
    how: dict[str, Any]
    began_s: float
    model: str


class Clients:
    """stale_count: searches that were answered without a point that a holder did not have yet."""

    def __init__(self, site: SimulatedSite) -> None:
        self.site = site
        self.search_count = 0
        self.failed_count = 0
        self.stale_count = 0
        self.certified_count = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """They go on until `stop`."""
        plan, rng = self.site.plan, self.site.rng
        work = [self._write(at, Random(rng.random())) for at in range(plan.writers)]  # noqa: S311
        work += [self._search(Random(rng.random())) for _ in range(plan.searchers)]  # noqa: S311
        self._tasks = [asyncio.create_task(one) for one in work]

    async def stop(self) -> None:
        """An error that no client expects breaks the site's promises too."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                where = "".join(traceback.format_exception(outcome)[-2:])
                self.site.breaks(f"a client gets {outcome!r}: {where}")

    async def _write(self, writer: int, rng: Random) -> None:
        following, mine = writer * WRITER_POINTS, list[int]()
        while True:
            await asyncio.sleep(rng.random() * 2 * PAUSE_S)
            if not (nodes := self.site.asked()):
                continue
            node, what = rng.choice(nodes), rng.random()
            if what < 0.7 or not mine:
                ids = [following + at for at in range(rng.randrange(1, 4))]
                following += len(ids)
                mine += ids
            else:
                ids = [rng.choice(mine)]
            is_deletion = what > 0.85 and ids[0] < following - 3
            await self._write_one(node, ids, is_deletion=is_deletion, is_vector_alone=0.7 <= what < 0.78)

    async def _write_one(
        self, node: SimulatedNode, ids: list[int], *, is_deletion: bool, is_vector_alone: bool
    ) -> None:
        site, now_s = self.site, self.site.clock.monotonic()
        vectors = [None if is_deletion else site.vector_of(one) for one in ids]
        is_void = site.is_roster_known and not site.is_member(node.name)
        attempts = [site.ledger.begin(one, vector, now_s) for one, vector in zip(ids, vectors, strict=True)]
        try:
            await node.call(self._written(node, ids, vectors, is_vector_alone=is_vector_alone), WRITE_S + LATE_S)
        except LittoralError as error:
            site.ledger.refused_count += 1
            site.trace.note(f"write of {ids} at {node.name}: {type(error).__name__}: {str(error)[:100]}")
        else:
            site.ledger.acknowledged_count += 1
            for attempt in attempts:
                attempt.is_acknowledged = not is_void
        for attempt in attempts:
            attempt.is_void = is_void
            attempt.ended_s = site.clock.monotonic()
        self._see_deadline(node, f"write of {ids}", now_s, WRITE_S)

    async def _written(
        self, node: SimulatedNode, ids: list[int], vectors: list[bytes | None], *, is_vector_alone: bool
    ) -> None:
        """is_vector_alone: of points that are there, where what a client wrote is their vectors."""
        collection, site = node.collection(COLLECTION), self.site
        if vectors[0] is None:
            await collection.delete(ids, deadline_s=WRITE_S)
            return
        assert isinstance(collection, SpreadCollection)
        told = [one for one in vectors if one is not None]
        payloads: list[Payload | None] | None = None
        if site.plan.regions or site.has_models:
            payloads = [self._payload(point, one) for point, one in zip(ids, told, strict=True)]
        batch = site.batch(collection.model, ids, told, payloads)
        if is_vector_alone and not site.has_models and all(map(self._has_all_vectors, told)):
            rows = [batch.vectors] if isinstance(batch.vectors, bytes) else batch.vectors
            await collection.update_vectors(ids, list(rows), deadline_s=WRITE_S)
            return
        await collection.upsert_points(batch, deadline_s=WRITE_S)

    def _has_all_vectors(self, told: bytes) -> bool:
        return not self.site.is_named or vectors_of(told).keys() == SIZES.keys()

    def _payload(self, point: int, told: bytes) -> Payload:
        region = {REGION: self.site.region_of(point)} if self.site.plan.regions else {}
        return region | ({TEXT: told.decode()} if self.site.has_models else {})

    async def _found(self, node: SimulatedNode, asked: bytes, began_s: float) -> Search:
        collection = node.collection(COLLECTION)
        assert isinstance(collection, SpreadCollection)
        query = np.frombuffer(self.site.as_seen(collection.model, asked), "<f4")
        using = using_of(query) if self.site.is_named else ""
        wanted = SearchQuery(Nearest(query.tobytes()), using=using, limit=LIMIT, params=EXACT)
        with noting() as how:
            if using:
                (hits,) = await collection.search_batch([wanted], deadline_s=SEARCH_S)
            else:
                hits = await collection.search(query, limit=LIMIT, params=EXACT, deadline_s=SEARCH_S)
        assert how.told is not None
        return Search(node.name, query, hits, how.told, began_s, collection.model)

    async def _search(self, rng: Random) -> None:
        while True:
            await asyncio.sleep(rng.random() * 2 * PAUSE_S)
            if nodes := self.site.up():
                await self.search_one(rng.choice(nodes))

    async def search_one(self, node: SimulatedNode) -> Search | None:
        """Searched at this node, and held against what is true; None where it was refused."""
        site, began_s = self.site, self.site.clock.monotonic()
        number = 0 if node.federation is None else node.federation.map.number
        asked, dark = site.question(), site.dark(node, number)
        self.search_count += 1
        try:
            found = await node.call(self._found(node, asked, began_s), SEARCH_S + LATE_S)
        except LittoralError as error:
            self.failed_count += 1
            site.trace.note(f"search at {node.name}: {type(error).__name__}: {str(error)[:100]}")
            return None
        finally:
            self._see_deadline(node, "search", began_s, SEARCH_S)
        site.trace.note(f"search at {node.name}: {[hit.id for hit in found.hits]} {found.how}")
        self._check(found, dark & site.dark(node, number))
        return found

    def _see_deadline(self, node: SimulatedNode, what: str, began_s: float, deadline_s: float) -> None:
        took_s = self.site.clock.monotonic() - began_s
        if took_s > deadline_s + LATE_S / 2 and node.is_up and node.woke_s < began_s:
            self.site.breaks(f"{node.name}: {what} took {took_s:.3f} s, its deadline was {deadline_s} s")

    def _check(self, found: Search, dark: set[int]) -> None:
        site = self.site
        self.certified_count += found.how["certified"]
        if dark and (found.how["certified"] or not found.how["missing"]):
            site.breaks(f"{found.node}: shards {sorted(dark)} have no holder, and it says {found.how}")
        for hit in found.hits:
            assert isinstance(hit.id, int)
            if not site.may_see(found.node, hit.id):
                site.breaks(f"{found.node}: finds point {hit.id}, which is pinned to `{site.region_of(hit.id)}`")
            told = [one for one in site.ledger.attempted(hit.id) if one is not None]
            if not any(abs(self._apart(one, found) - hit.score) < SCORE_ERROR for one in told):
                by = f" by {found.model}" if site.has_models else ""
                site.breaks(f"{found.node}: point {hit.id} at {hit.score}{by} was never written so")
        if found.how["certified"]:
            self._check_certified(found)

    def _apart(self, told: bytes, found: Search) -> float:
        return self.site.apart(found.model, told, found.query)

    def _check_certified(self, found: Search) -> None:
        """What all holders that are here had when the search began must be in its answer."""
        ids = {hit.id for hit in found.hits}
        worst = found.hits[-1].score if len(found.hits) == LIMIT else np.inf
        lacking = [
            (point, vector)
            for point, vector in self.site.ledger.sure(found.began_s)
            if point not in ids
            and self.site.may_see(found.node, point)
            and self._apart(vector, found) < worst - SCORE_ERROR
        ]
        for point, vector in lacking:
            if self._is_everywhere(point, vector, found.began_s):
                self.site.breaks(f"{found.node}: certified, and point {point} is missing: {found.how}")
            else:
                self.stale_count += 1
                self.site.trace.note(f"{found.node}: certified, and a holder lacks point {point}")

    def _is_everywhere(self, point: int, vector: bytes, since_s: float) -> bool:
        """Whether every holder of its shard has it since then."""
        has: dict[int, list[bool]] = {}
        for shard, _, store in self.site.stores():
            stored = store.points.get(point)
            is_there = stored is not None and self.site.as_told(stored) == vector and store.since_s[point] < since_s
            has.setdefault(shard, []).append(is_there)
        return any(all(some) for some in has.values())
