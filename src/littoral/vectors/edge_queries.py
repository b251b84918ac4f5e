"""Our queries as the classes of Qdrant Edge. Ids have been replaced by vectors before (`search`)."""

from array import array
from collections.abc import Sequence
from typing import Any

import qdrant_edge as edge

from littoral.errors import InputError
from littoral.vectors import asks
from littoral.vectors.asks import Ask, Target
from littoral.vectors.checks import check_named, check_vector
from littoral.vectors.edge_classes import selector, vector_of
from littoral.vectors.edge_filters import filter_
from littoral.vectors.edge_formula import formula
from littoral.vectors.fusion import check_fusion
from littoral.vectors.queries import DEFAULT_PARAMS, Prefetch, SearchParams, SearchQuery, candidates_of, check_query
from littoral.vectors.records import CollectionConfig, Multi, Sparse, Vector

__all__ = ["order_by", "query_request"]


def query_request(query: SearchQuery, config: CollectionConfig, limit: int) -> Any:
    """The checked query, from the first hit on and up to `limit`."""
    check_query(query)
    return edge.QueryRequest(
        limit=limit,
        query=_plain(query.ask, config)
        if isinstance(query.ask, bytes)
        else _scoring(query.ask, query.using, config, query.limit + query.offset),
        prefetches=[_prefetch(prefetch, config) for prefetch in query.prefetch] or None,
        filter=filter_(query.filter),
        score_threshold=query.score_threshold,
        with_payload=selector(query.with_payload),
        with_vector=query.with_vector,
        params=_params(query.params),
    )


def _prefetch(own: Prefetch, config: CollectionConfig) -> Any:
    return edge.Prefetch(
        limit=own.limit,
        query=_scoring(own.ask, own.using, config, own.limit),
        prefetches=[_prefetch(inner, config) for inner in own.prefetch] or None,
        params=_params(own.params),
        filter=filter_(own.filter),
        score_threshold=own.score_threshold,
    )


def _params(own: SearchParams) -> Any:
    if own is DEFAULT_PARAMS:
        return None
    kept: Any = own.quantization
    acorn: Any = own.acorn
    idf: Any = own.idf_corpus
    return edge.SearchParams(
        hnsw_ef=own.hnsw_ef,
        exact=own.exact,
        indexed_only=own.indexed_only,
        quantization=kept and edge.QuantizationSearchParams(kept.ignore, kept.rescore, kept.oversampling),
        acorn=acorn and edge.AcornSearchParams(acorn.enable, acorn.max_selectivity),
        idf=idf and edge.IdfParams(filter_(idf)),
    )


def _plain(vector: bytes, config: CollectionConfig) -> Any:
    """The way of almost all queries, kept short."""
    if (params := config.vectors) is None or params.multivector_config is not None:
        return _scoring(asks.Nearest(vector), "", config, 0)
    if len(vector) % 4:
        raise InputError(f"query: vector has {len(vector)} bytes, expected {params.size} float32")
    numbers: Any = memoryview(vector).cast("f")
    check_vector(numbers, params, "query")
    return edge.Query.Nearest(numbers)


def _scoring(ask: Ask | None, using: str, config: CollectionConfig, limit: int) -> Any:
    def vector(target: Target) -> Any:
        return vector_of(_checked(target, using, config))

    def pairs(context: Sequence[asks.Pair]) -> Any:
        return [edge.ContextPair(vector(pair.positive), vector(pair.negative)) for pair in context]

    match ask:
        case asks.Nearest():
            return edge.Query.Nearest(vector(ask.target), using)
        case asks.Mmr():
            return _mmr(ask, vector(ask.target), using, limit)
        case asks.Recommend():
            return _recommend(ask, using, config)
        case asks.Discover():
            return edge.Query.Discover(edge.DiscoverQuery(vector(ask.target), pairs(ask.context)), using)
        case asks.Context():
            if not ask.context:
                raise InputError("query: `context` is empty")
            return edge.Query.Context(edge.ContextQuery(pairs(ask.context)), using)
        case asks.Feedback():
            examples = [edge.FeedbackItem(vector(example.target), example.score) for example in ask.examples]
            strategy = edge.NaiveFeedbackStrategy(ask.a, ask.b, ask.c)
            return edge.Query.FeedbackNaive(edge.FeedbackNaiveQuery(vector(ask.target), examples, strategy), using)
    return _without_vectors(ask, using)


def _without_vectors(ask: Ask | None, using: str) -> Any:
    match ask:
        case asks.OrderBy():
            return order_by(ask)
        case asks.Fusion():
            return _fusion(ask)
        case asks.Formula():
            return formula(ask.expression, ask.defaults)
        case asks.Sample():
            return edge.Sample.Random
        case asks.TextMatch():
            scoring = None if ask.k is None and ask.b is None else edge.Bm25Params(ask.k, ask.b)
            return edge.TextQuery(using, ask.query, scoring)
    return None


def _checked(target: Target, using: str, config: CollectionConfig) -> Vector:
    if isinstance(target, asks.Of):
        raise InputError(f"query: point `{target.id}` was not looked up")
    params = config.dense.get(using)
    if isinstance(target, bytes) and params is not None and params.multivector_config is not None:
        target = Multi(1, target)
    check_named(target, using, config, "query")
    return target


def order_by(own: asks.OrderBy) -> Any:
    direction = edge.Direction.Asc if own.direction == "asc" else edge.Direction.Desc
    return edge.OrderBy(own.key, direction, own.start_from)


def _fusion(own: asks.Fusion) -> Any:
    if own.how == "dbsf":
        return edge.Fusion.Dbsf()
    check_fusion(own)
    return edge.Fusion.Rrf(own.k, own.weights)


def _mmr(own: asks.Mmr, vector: Any, using: str, limit: int) -> Any:
    return edge.Mmr(vector, 1 - own.diversity, candidates_of(own, limit), using)


def _recommend(own: asks.Recommend, using: str, config: CollectionConfig) -> Any:
    positive = [_checked(target, using, config) for target in own.positive]
    negative = [_checked(target, using, config) for target in own.negative]
    if own.strategy == "average_vector":
        if not positive:
            raise InputError("query: `positive` is empty, `average_vector` needs at least one")
        return edge.Query.Nearest(vector_of(_average(positive, negative)), using)
    if not positive and not negative:
        raise InputError(f"query: `positive` and `negative` are empty, `{own.strategy}` needs at least one")
    examples = edge.RecommendQuery([vector_of(one) for one in positive], [vector_of(one) for one in negative])
    if own.strategy == "best_score":
        return edge.Query.RecommendBestScore(examples, using)
    return edge.Query.RecommendSumScores(examples, using)


def _average(positive: list[Vector], negative: list[Vector]) -> Vector:
    """Mean of the positive plus what parts it from the mean of the negative; all have been checked to be of a kind."""
    if isinstance(positive[0], Multi):
        rows = [memoryview(one.numbers).cast("f") for one in positive if isinstance(one, Multi)]
        others = [memoryview(one.numbers).cast("f") for one in negative if isinstance(one, Multi)]
        numbers = array("f", [number for row in rows for number in row])
        numbers.extend(-number for row in others for number in row)
        return Multi(sum(one.count for one in (*positive, *negative) if isinstance(one, Multi)), numbers.tobytes())
    mean, mean_of_others = _mean(positive), _mean(negative)
    weights = {at: 2 * mean.get(at, 0.0) - mean_of_others.get(at, 0.0) for at in sorted({*mean, *mean_of_others})}
    averaged = array("f", (weights if negative else mean).values())
    if isinstance(positive[0], Sparse):
        return Sparse(array("I", weights if negative else mean).tobytes(), averaged.tobytes())
    return averaged.tobytes()


def _mean(vectors: list[Vector]) -> dict[int, float]:
    sums: dict[int, float] = {}
    for vector in vectors:
        for at, number in _numbered(vector):
            sums[at] = sums.get(at, 0.0) + number
    return {at: sums[at] / len(vectors) for at in sorted(sums)}


def _numbered(vector: Vector) -> "zip[tuple[int, float]] | enumerate[float]":
    if isinstance(vector, Sparse):
        return zip(memoryview(vector.indices).cast("I"), memoryview(vector.values).cast("f"), strict=True)
    return enumerate(memoryview(vector if isinstance(vector, bytes) else b"").cast("f"))
