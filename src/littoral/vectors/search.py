"""Searches of one shard: ids become vectors, equal scores get an order, hits are grouped.

Scores and order as in Qdrant: Cosine and Dot high first, Euclid and Manhattan (distances, not squared) low first;
equal scores in the order of ids, numbers before UUIDs. A hit is better than the score threshold, not equal to it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.errors import InputError, ShardError, TooLargeError
from littoral.vectors import asks, edge_classes
from littoral.vectors.asks import Ask
from littoral.vectors.checks import checked_id
from littoral.vectors.edge_classes import errors_of_store
from littoral.vectors.edge_filters import filter_
from littoral.vectors.edge_queries import query_request
from littoral.vectors.filters import Condition, Filter, as_condition
from littoral.vectors.grouping import are_full, check_groups, first_count, grouped, next_count, widened
from littoral.vectors.queries import (
    QUERY_COUNT_MAX,
    Prefetch,
    SearchQuery,
    check_page,
    check_pairs,
)
from littoral.vectors.records import (
    LOW_FIRST,
    CollectionConfig,
    FacetValue,
    Hit,
    HitGroup,
    PointId,
    ScoredPair,
    VectorsById,
    vectors_by_id,
)
from littoral.vectors.told_hits import told

__all__ = ["Searches"]

TIED_COUNT_MAX = 4096
FACET_COUNT_MAX = 16_384
KEEP_ORDER = (asks.OrderBy, asks.Sample, asks.Mmr)


class Searches:
    """What a shard finds. opened: gives the store, or raises ShardError."""

    def __init__(self, config: CollectionConfig, opened: Callable[[], Any]) -> None:
        self.config = config
        self._opened = opened

    def search(self, queries: Sequence[SearchQuery]) -> list[list[Hit]]:
        """One list of hits per query. Several in one call share a pass over the points.

        Raises TooLargeError for more than 64 queries or a page beyond 16384.
        """
        queries, pages = self._pages(queries)
        return [
            [edge_classes.hit(point, with_vector=query.with_vector is not False) for point in page]
            for query, page in zip(queries, pages, strict=True)
        ]

    def told(self, queries: Sequence[SearchQuery]) -> list[bytes]:
        """As `search`, each list as JSON; queries that ask for vectors are for `search`."""
        _, pages = self._pages(queries)
        return [told(page, edge_classes.plain_id) for page in pages]

    def _pages(self, queries: Sequence[SearchQuery]) -> tuple[Sequence[SearchQuery], list[list[Any]]]:
        """The queries with vectors in the place of ids, and what the store found for each."""
        if len(queries) > QUERY_COUNT_MAX:
            raise TooLargeError(f"{len(queries)} queries in one request, at most {QUERY_COUNT_MAX}")
        queries = [self._resolved(query) for query in queries]
        with _errors_of_formulas(queries), errors_of_store("search"):
            requests = [query_request(query, self.config, _end(query) + _looks_past(query)) for query in queries]
            found = self._opened().query_batch(edge.QueryBatchRequest(requests))
        pages = [self._page(query, list(points)) for query, points in zip(queries, found, strict=True)]
        return queries, pages

    def _page(self, query: SearchQuery, points: list[Any]) -> list[Any]:
        """The store cuts through equal scores at random: look past them, up to 4096, then order them by id."""
        end = _end(query)
        if _looks_past(query):
            fetched = end + 1
            while len(points) == fetched < end + TIED_COUNT_MAX and points[end - 1].score == points[-1].score:
                fetched = min(fetched * 4, end + TIED_COUNT_MAX)
                with errors_of_store("search"):
                    points = self._opened().query(query_request(query, self.config, fetched))
            if len({point.score for point in points}) < len(points):  # else they are in order as they come
                sign = 1 if self._is_low_first(query) else -1
                points.sort(key=lambda point: (sign * point.score, edge_classes.id_order(point.id)))
        return points[query.offset : end]

    def _is_low_first(self, query: SearchQuery) -> bool:
        match query.ask:
            case bytes() | asks.Nearest() | asks.Recommend(strategy="average_vector"):
                params = self.config.dense.get(query.using)
                return params is not None and params.multivector_config is None and params.distance in LOW_FIRST
        return False

    def _resolved(self, query: SearchQuery) -> SearchQuery:
        if isinstance(query.ask, bytes) and not query.prefetch:
            return query
        query = msgspec.structs.replace(query, prefetch=[self._resolved_prefetch(one) for one in query.prefetch])
        if not isinstance(query.ask, bytes):
            query.ask, query.filter = self._with_vectors(query.ask, query.using, query.filter)
        return query

    def _resolved_prefetch(self, prefetch: Prefetch) -> Prefetch:
        ask, matching = self._with_vectors(prefetch.ask, prefetch.using, prefetch.filter)
        inner = [self._resolved_prefetch(one) for one in prefetch.prefetch]
        return msgspec.structs.replace(prefetch, ask=ask, filter=matching, prefetch=inner)

    def _with_vectors(self, ask: Ask | None, using: str, matching: Filter | None) -> tuple[Ask | None, Filter | None]:
        """Points that a query names by id are not among its answers."""
        if not (ids := asks.mentioned(ask)):
            return ask, matching
        ask = asks.with_vectors_of(ask, self.vectors_of(ids, using), "this collection")
        others = Filter(must_not=[Condition(has_id=ids)])
        if matching is not None:
            others.must = [as_condition(matching)]
        return ask, others

    def vectors_of(self, ids: Iterable[PointId], using: str) -> VectorsById:
        """The vectors of that name, for those ids that are there and have one."""
        by_id = {point_id: checked_id(point_id) for point_id in ids}
        check_page(max(len(by_id), 1))
        wanted: list[Any] = list(by_id.values())
        with errors_of_store("query"):
            records = self._opened().retrieve(wanted, False, [using])
        found = vectors_by_id([edge_classes.record(record) for record in records], using)
        return {point_id: found[plain] for point_id, plain in by_id.items() if plain in found}

    def group(self, query: SearchQuery, by: str, *, size: int) -> list[HitGroup]:
        """The first `query.limit` groups by the value at `by`, each with its `size` best hits.

        Looks through the best 16384 hits; what comes later belongs to no group.
        """
        check_groups(query, size)
        fetched = first_count(query, size)
        while True:
            hits = self.search([widened(query, by, fetched)])[0]
            found = grouped(hits, by, query.limit, size)
            if are_full(found, query, size) or len(hits) < fetched or next_count(fetched) == fetched:
                break
            fetched = next_count(fetched)
        return self._told(found, query)

    def _told(self, found: dict[PointId | str, list[Hit]], query: SearchQuery) -> list[HitGroup]:
        """The groups with the payloads and vectors that were asked for."""
        ids: list[Any] = list({hit.id: None for group in found.values() for hit in group})
        with errors_of_store("retrieve"):
            stored = self._opened().retrieve(ids, edge_classes.selector(query.with_payload), query.with_vector)
        records = {record.id: record for record in map(edge_classes.record, stored)}
        for hit in (hit for group in found.values() for hit in group):
            record = records[hit.id]
            hit.payload, hit.vector = record.payload, record.vector if query.with_vector is not False else None
        return [HitGroup(group_id, hits) for group_id, hits in found.items()]

    def facet(self, key: str, *, limit: int, exact: bool, matching: Filter | None) -> list[FacetValue]:
        """How many points have each value of an indexed field; the most frequent first, then by value."""
        if not 1 <= limit <= FACET_COUNT_MAX:
            raise InputError(f"limit is {limit}, must be 1..{FACET_COUNT_MAX}")
        with errors_of_store("facet"):
            response = self._opened().facet(edge.FacetRequest(key, limit, exact, filter_(matching)))
        hits = [FacetValue(hit.value, hit.count) for hit in response.hits]
        return sorted(hits, key=lambda hit: (-hit.count, str(type(hit.value)), hit.value))

    def pairs(self, *, sample: int, limit: int, using: str, matching: Filter | None) -> list[ScoredPair]:
        """For each of `sample` points at random its `limit` nearest among them."""
        check_pairs(sample, limit)
        has_vector = Filter(must=[Condition(has_vector=using)])
        if matching is not None:
            has_vector.must = [Condition(has_vector=using), as_condition(matching)]
        chosen = [hit.id for hit in self.search([SearchQuery(asks.Sample(), limit=sample, filter=has_vector)])[0]]
        vectors = self.vectors_of(chosen, using)
        among = Filter(must=[Condition(has_id=list(chosen))])
        found: list[ScoredPair] = []
        for start in range(0, len(chosen), QUERY_COUNT_MAX):
            part = chosen[start : start + QUERY_COUNT_MAX]
            queries = [SearchQuery(asks.Nearest(vectors[a]), limit=limit + 1, filter=among, using=using) for a in part]
            for a, hits in zip(part, self.search(queries), strict=True):
                found += [ScoredPair(a, hit.id, hit.score) for hit in hits if hit.id != a][:limit]
        return found


@contextlib.contextmanager
def _errors_of_formulas(queries: Sequence[SearchQuery]) -> Iterator[None]:
    """The store gives up without a reason where a formula has no value for a point."""
    try:
        yield
    except ShardError as error:
        formulas = [query for query in queries if _has_formula(query)]
        if not formulas or "Operation cancelled" not in error.message:
            raise
        raise InputError(
            "formula: it has no finite value for one of the points",
            hint="give `defaults` for fields that points may lack, and `by_zero_default` for divisions",
        ) from error


def _has_formula(query: SearchQuery | Prefetch) -> bool:
    return isinstance(query.ask, asks.Formula) or any(_has_formula(inner) for inner in query.prefetch)


def _end(query: SearchQuery) -> int:
    return query.offset + query.limit


def _looks_past(query: SearchQuery) -> bool:
    """Whether the answers have scores that put them in order."""
    return query.ask is not None and not isinstance(query.ask, KEEP_ORDER)
