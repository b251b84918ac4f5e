"""Searches that ask only the nodes that can matter: first here, then whom the plan names, until it is enough.

Until a level has been calibrated, everybody is asked whom a certificate does not rule out.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from littoral.errors import LittoralError
from littoral.node.asked_recall import asked_recall
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.merging import merged_hits
from littoral.node.federation.patience import Patience
from littoral.node.federation.query_classes import Classes, Kind
from littoral.node.federation.searches import for_shards, told_of_filter
from littoral.node.federation.summaries import Summaries
from littoral.vectors import asks, frames
from littoral.vectors.filters import Condition, Filter, as_condition
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import CollectionConfig, Hit
from littoral.vectors.routing.audit import SampleDraw
from littoral.vectors.routing.distances import from_scores
from littoral.vectors.routing.plan import Ask, Enough, Planner, Route
from littoral.vectors.routing.rehearsal import Answers, rehearse
from littoral.vectors.routing.table import SummaryTable
from littoral.vectors.routing.vector_summaries import is_summed

__all__ = ["RoutedAnswer", "Routing", "is_routable"]

AUDIT_SHARE = 0.015
LEARNING_SHARE = 0.25
"""Of the queries that are audited: once a level holds, and before."""

WAITING_MAX = 64
FLOAT_BYTES = 4
ALL_AT_ONCE, NEEDED_STEP, AGAIN_SHARE = 0.95, 0.05, 0.05
NEEDED_COUNT_MAX = 1024
COUNT_S = 2.0


class RoutedAnswer(NamedTuple):
    """hits: of each query, the `offset + limit` best. told: what each says of itself. epoch: the highest answered."""

    hits: list[list[Hit]]
    told: list[dict[str, object]]
    epoch: int


_Need = tuple[str, Kind | None]


class _Plan(NamedTuple):
    key: tuple[object, ...]
    planner: Planner


def is_routable(query: SearchQuery, config: CollectionConfig) -> bool:
    """Whether summaries say where its answers may lie: nearness to one vector, of those that they tell of. One of
    another size is for the shards to refuse.
    """
    ask = query.ask.target if isinstance(query.ask, asks.Nearest) else query.ask
    if not isinstance(ask, bytes) or query.prefetch or query.params.indexed_only:
        return False
    params = config.dense.get(query.using)
    return params is not None and is_summed(params) and len(ask) == params.size * FLOAT_BYTES


class Routing:
    """Of one node. What it learns is of queries as they come to this node."""

    def __init__(self, asking: Asking, summaries: Summaries, *, seed: int = 0) -> None:
        self._asking = asking
        self._summaries = summaries
        self._plans: dict[tuple[str, str, str], _Plan] = {}
        """By collection, model and vector."""
        self._classes = Classes()
        self._often, self._seldom = SampleDraw(LEARNING_SHARE, seed=seed), SampleDraw(AUDIT_SHARE, seed=seed + 1)
        self._again = SampleDraw(AGAIN_SHARE, seed=seed + 2)
        self._needed: dict[_Need, float] = {}
        """By collection and class, the share of the latest searches that had to ask for every shard."""
        self._rehearsing: dict[asyncio.Task[None], None] = {}
        self._one = asyncio.Lock()
        self.alarm_count = 0
        self.audited_count = 0

    async def search(
        self,
        target: Target,
        queries: Sequence[SearchQuery],
        barren: Sequence[frozenset[int]],
        deadline_s: float,
        patience: Patience,
    ) -> RoutedAnswer | None:
        """None where nothing is known of the other nodes' shards yet: they are all to be asked. queries: routable.
        barren: of each query, shards that its filter rules out.
        """
        here = target.spread.held_by(self._asking.here)
        found = [self._planner(target, query.using) for query in queries]
        planners = [planner for planner in found if planner is not None]
        if len(planners) < len(queries) or len(here) == len(target.spread.places):
            return None
        kinds = [self._kind(target, query) for query in queries]
        needs = [(target.name, kind) for kind in kinds]
        is_audited = self._is_audited(kinds)
        if not is_audited and self._asks_all(needs):
            return None
        routes = [
            planner.route(
                _vector(query),
                query.limit + query.offset,
                calibration=None if kind is None else kind.audit.calibration,
                threshold=query.score_threshold,
                selectivity=1.0 if kind is None else kind.share,
                barren=out,
            )
            for planner, query, kind, out in zip(planners, queries, kinds, barren, strict=True)
        ]
        search = _Search(self._asking, target, queries, routes, barren, deadline_s, patience)
        await search.ask(here)
        if is_audited:
            await search.ask(target.spread.places.keys() - set(here), apart=True)
            assert kinds[0] is not None
            self._learn(target, planners[0], here, search, kinds[0])
        else:
            await search.follow()
            for need in needs:
                self._note_needed(need, search.has_asked_all)
        return search.answer()

    def known(self, target: Target) -> tuple[object, ...]:
        """Another whenever this node knows of a write to the collection that it did not know of."""
        return self._asking.written(target), self._summaries.epochs(target.name)

    def barren(self, target: Target, matching: Filter | None) -> frozenset[int]:
        """Shards of other nodes in which provably nothing passes this filter; one is left where it would be all."""
        if matching is None:
            return frozenset()
        self._summaries.use(target.name)
        places, here = target.spread.places, self._asking.here
        found = frozenset(
            shard
            for shard in self._summaries.barren(target.name, matching)
            if shard in places and here not in places[shard]
        )
        return found if len(found) < len(places) else found - {min(places)}

    def _asks_all(self, needs: Sequence[_Need]) -> bool:
        """Where every node is asked anyhow, it is done at once, and now and then seen whether that is still so."""
        return any(self._needed.get(need, 0.0) > ALL_AT_ONCE for need in needs) and not self._again.draw()

    def _note_needed(self, need: _Need, is_all: bool) -> None:
        if len(self._needed) >= NEEDED_COUNT_MAX:
            self._needed.clear()
        before = self._needed.get(need, 0.0)
        self._needed[need] = before + NEEDED_STEP * (is_all - before)

    def _planner(self, target: Target, vector: str) -> Planner | None:
        """For searches by the vector with that name. Made anew as summaries and those who are here change."""
        self._summaries.use(target.name)
        params = target.config.dense[vector]
        alive = self._asking.alive() - {self._asking.here}
        if not (known := self._summaries.of(target.name, vector)):
            return None
        proven = self._summaries.proven(target.name)
        key = (self._summaries.version, alive, target.map_number, tuple(target.withheld), proven)
        name = (target.name, target.spread.model, vector)
        if (plan := self._plans.get(name)) is None or plan.key != key:
            shards = target.spread.shards
            table = SummaryTable(shards, known, params.distance, params.size, unproven=known.keys() - proven)
            holders = {shard: [node for node in target.spread.places[shard] if node in alive] for shard in shards}
            self._plans[name] = plan = _Plan(key, Planner(table, holders))
        return plan.planner

    def _kind(self, target: Target, query: SearchQuery) -> Kind | None:
        asked = asked_recall()
        recall = target.recall if asked is None else asked
        return self._classes.of(target.name, target.spread.strategy, target.spread.epoch, query, recall)

    def _is_audited(self, kinds: Sequence[Kind | None]) -> bool:
        if len(kinds) != 1 or (kind := kinds[0]) is None or len(self._rehearsing) >= WAITING_MAX:
            return False
        return (self._often if kind.audit.calibration.is_exhaustive else self._seldom).draw()

    def _learn(self, target: Target, planner: Planner, here: Sequence[int], search: "_Search", kind: Kind) -> None:
        """Beside the answer: what another level would have found, or first how much such a filter lets through."""
        if search.lost:
            return

        async def run() -> None:
            async with self._one:
                with contextlib.suppress(LittoralError):
                    if kind.wants_share:
                        kind.measured(await self._share(target, planner, search.queries[0]))
                        return
                    event = await asyncio.to_thread(_observe, planner, here, search, kind)
                    self.audited_count += 1
                    self.alarm_count += event == "alarm"

        task = asyncio.create_task(run(), name="littoral-audit")
        self._rehearsing[task] = None
        task.add_done_callback(self._rehearsing.pop)

    async def _share(self, target: Target, planner: Planner, query: SearchQuery) -> float:
        """Of all points that have the vector, those that this filter lets through."""
        matching = query.filter
        if query.using and matching is not None:
            matching = Filter(must=[Condition(has_vector=query.using), as_condition(matching)])
        count = frames.Count(call=0, filter=matching, exact=False)
        gathered = await self._asking.read(target, count, COUNT_S)
        found = sum(answer.count for answer in gathered.answers if isinstance(answer, frames.Counted))
        return found / max(1.0, float(planner.table.points.sum()))

    def statistics(self) -> Mapping[str, dict[str, object]]:
        """By class of queries: where its routes stop, and what that keeps."""
        told: dict[str, dict[str, object]] = {}
        for name, kind in self._classes.items():
            found, calibration = kind.audit.statistics, kind.audit.calibration
            told[name.told] = {
                "target": calibration.target,
                "level": None if calibration.is_exhaustive else calibration.level,
                "audited": found.audited,
                "alarms": found.alarms,
                "recall": found.recall,
            }
        return told

    async def close(self) -> None:
        for task in self._rehearsing:
            task.cancel()
        await asyncio.gather(*self._rehearsing, return_exceptions=True)


class _Search:
    """Queries on their way together: a shard that one of them needs is asked for all."""

    def __init__(
        self,
        asking: Asking,
        target: Target,
        queries: Sequence[SearchQuery],
        routes: Sequence[Route],
        barren: Sequence[frozenset[int]],
        deadline_s: float,
        patience: Patience,
    ) -> None:
        self._asking = asking
        self._target = target
        self.queries = queries
        self.routes = routes
        self.barren = barren
        self._request = frames.Search(call=0, queries=[for_shards(query) for query in queries])
        self._end = asking.clock.monotonic() + deadline_s
        self._patience = patience
        self._told: list[tuple[Sequence[int], frames.Found]] = []
        self._asked: set[str] = set()
        self._answered: set[str] = set()
        self.lost: set[int] = set()
        self._is_behind = False
        self._ends: list[Ask | Enough] = []
        self._covered: set[int] = set()

    @property
    def has_asked_all(self) -> bool:
        return len(self._covered) == len(self._target.spread.places)

    async def ask(self, shards: Sequence[int] | set[int], *, apart: bool = False) -> None:
        """apart: each shard's answer by itself, not only the best of all."""
        if not shards:
            return
        left_s = max(0.001, self._end - self._asking.clock.monotonic())
        gathered = await self._asking.read(
            self._target, self._request, left_s, shards=shards, apart=apart, patience=self._patience
        )
        self._asked |= gathered.asked
        self._answered |= gathered.answered
        self.lost |= set(gathered.lost)
        self._is_behind |= bool(gathered.behind)
        for covered, answer in gathered.told:
            if isinstance(answer, frames.Found):
                self._take(covered, answer)

    def _take(self, covered: Sequence[int], answer: frames.Found) -> None:
        self._told.append((covered, answer))
        self._covered |= set(covered)
        for route, hits in zip(self.routes, answer.hits, strict=True):
            route.answered(covered, [hit.id for hit in hits], [hit.score for hit in hits])

    async def follow(self) -> None:
        """Round by round, until every route has had enough."""
        while not self.has_asked_all:
            self._ends = [route.next() for route in self.routes]
            wanted = self._wanted()
            if not wanted or self._asking.clock.monotonic() >= self._end:
                return
            await self.ask(wanted)
            self._ends = []
            for route in self.routes:
                route.lost(self.lost)

    def _wanted(self) -> set[int]:
        """What the routes ask for, and what they would if they knew who has come meanwhile."""
        asked = {shard for end in self._ends if isinstance(end, Ask) for part in end.nodes.values() for shard in part}
        unreachable = {shard for end in self._ends if isinstance(end, Enough) for shard in end.unreachable}
        if not unreachable <= self.lost:
            alive, places = self._asking.alive(), self._target.spread.places
            asked |= {shard for shard in unreachable if alive.intersection(places[shard])}
        return asked - self.lost

    def answer(self) -> RoutedAnswer:
        hits = [
            merged_hits(query, [answer.hits[i] for _, answer in self._told], self._target.config)
            for i, query in enumerate(self.queries)
        ]
        if self.has_asked_all:
            ends: Sequence[Ask | Enough] = [Enough(True, 1.0, ()) for _ in self.queries]
        else:
            ends = self._ends or [route.next() for route in self.routes]
        told = [self._how(*one) for one in zip(self.queries, ends, self.barren, strict=True)]
        return RoutedAnswer(hits, told, max((answer.epoch for _, answer in self._told), default=0))

    def _how(self, query: SearchQuery, end: Ask | Enough, barren: frozenset[int]) -> dict[str, object]:
        # An end that still asks is one for which no time was left.
        unreachable = self.lost.union(*end.nodes.values()) if isinstance(end, Ask) else set(end.unreachable)
        missing = {node for shard in unreachable for node in self._target.spread.places[shard]}
        is_certain = not isinstance(end, Ask) and end.certified and query.params.exact and not self._is_behind
        return {
            "asked": len(self._asked | missing),
            "answered": len(self._answered),
            "missing": sorted(missing),
            "certified": is_certain,
            "expected_recall": _expected(end.expected_recall, is_certain, self._is_told(query) and not missing),
        } | told_of_filter(barren - self._covered)

    def _is_told(self, query: SearchQuery) -> bool:
        return query.params.exact and not self._is_behind

    def answers_by_shard(self) -> Answers:
        """Of the first query. What several shards have answered as one stands for the first of them."""
        query = self.queries[0]
        distance = self._target.config.dense[query.using].distance
        k, index = query.limit + query.offset, {shard: at for at, shard in enumerate(self._target.spread.shards)}
        count = len(index)
        ids, distances = np.zeros((1, count, k), np.int64), np.full((1, count, k), np.inf)
        numbers: dict[object, int] = {}
        for covered, answer in self._told:
            hits = answer.hits[0][:k]
            at = index[covered[0]]
            ids[0, at, : len(hits)] = [numbers.setdefault(hit.id, len(numbers)) for hit in hits]
            distances[0, at, : len(hits)] = from_scores([hit.score for hit in hits], distance)
        return Answers(ids, distances)


def _vector(query: SearchQuery) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    ask = query.ask.target if isinstance(query.ask, asks.Nearest) else query.ask
    assert isinstance(ask, bytes)
    return np.frombuffer(ask, "<f4")


def _expected(found: float, is_certain: bool, is_told: bool) -> float | None:
    if is_certain:
        return 1.0
    return round(found, 6) if is_told else None


def _observe(planner: Planner, here: Sequence[int], search: _Search, kind: Kind) -> str | None:
    """In a thread: the event that it brought, if any."""
    query, table = search.queries[0], planner.table
    threshold = np.inf if query.score_threshold is None else float(from_scores(query.score_threshold, table.distance))
    way = rehearse(
        planner,
        here,
        _vector(query)[None],
        search.answers_by_shard(),
        limits=np.array([threshold]),
        selectivity=kind.share,
        barren=sorted(search.barren[0]),
    )
    return kind.audit.observe(way)
