"""Queries of Qdrant's REST API as those of a collection: what `query` may be, and ids of other collections."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from littoral.errors import InputError, NotOfferedError
from littoral.node.plain_searches import LIMIT
from littoral.node.qdrant_bodies import LookupBody, PrefetchBody, QueryBody, QueryGroupsBody
from littoral.vectors import asks
from littoral.vectors.asks import Ask, Target
from littoral.vectors.checks import checked_id
from littoral.vectors.collection import Collection
from littoral.vectors.filters import Condition, Filter, as_condition, parse_filter
from littoral.vectors.model_version import mixed
from littoral.vectors.packing import packed_vector
from littoral.vectors.queries import Prefetch, SearchQuery, parse_params, parse_selector
from littoral.vectors.records import VectorsById, vectors_by_id

__all__ = ["LIMIT", "parse_order", "parse_with_vector", "query_of"]

RRF_K = 2
NAMES_MAX = 256
LOCAL_INFERENCE = ("text", "image", "object")

Find = Callable[[str], Collection]
"""A collection by its name or alias. Raises NotFoundError."""


async def query_of(
    collection: Collection, body: QueryBody | QueryGroupsBody, find: Find, deadline_s: float
) -> SearchQuery:
    """The checked query, with vectors in the place of ids of other collections.

    Raises InputError, NotFoundError for an id, NotOfferedError for what is to be embedded first.
    """
    _check_score(body)
    ask = parse_ask(body.query)
    matching = parse_filter(body.filter)
    if body.lookup_from is not None:
        ask, matching = await _looked_up(ask, matching, body, body.lookup_from, collection, find, deadline_s)
    using = body.using or ""
    return SearchQuery(
        ask=ask.target
        if isinstance(ask, asks.Nearest) and not using and isinstance(ask.target, bytes) and not body.prefetch
        else ask,
        limit=LIMIT if body.limit is None else body.limit,
        offset=(body.offset or 0) if isinstance(body, QueryBody) else 0,
        filter=matching,
        score_threshold=body.score_threshold,
        with_payload=parse_selector(body.with_payload),
        with_vector=parse_with_vector(body.with_vector),
        params=parse_params(body.params),
        using=using,
        prefetch=await _prefetches(collection, body.prefetch, find, deadline_s),
    )


def _check_score(body: QueryBody | QueryGroupsBody | PrefetchBody) -> None:
    """Qdrant's own rules for what goes together."""
    is_order = isinstance(body.query, dict) and "order_by" in body.query
    if body.score_threshold is not None and (body.query is None or is_order):
        raise InputError("score_threshold: needs a query that scores")
    if body.prefetch and body.query is None:
        raise InputError("prefetch: needs a `query` to merge what it finds")
    is_fusion = isinstance(body.query, dict) and ("fusion" in body.query or "rrf" in body.query)
    if is_fusion and body.using:
        raise InputError("using: has no meaning for a fusion")


async def _prefetches(
    collection: Collection, body: list[PrefetchBody] | PrefetchBody | None, find: Find, deadline_s: float
) -> list[Prefetch]:
    if not body:
        return []
    bodies = body if isinstance(body, list) else [body]
    return list(await asyncio.gather(*(_prefetch(collection, one, find, deadline_s) for one in bodies)))


async def _prefetch(collection: Collection, body: PrefetchBody, find: Find, deadline_s: float) -> Prefetch:
    _check_score(body)
    ask, matching = parse_ask(body.query), parse_filter(body.filter)
    if body.lookup_from is not None:
        ask, matching = await _looked_up(ask, matching, body, body.lookup_from, collection, find, deadline_s)
    return Prefetch(
        ask=ask,
        using=body.using or "",
        limit=LIMIT if body.limit is None else body.limit,
        filter=matching,
        score_threshold=body.score_threshold,
        params=parse_params(body.params),
        prefetch=await _prefetches(collection, body.prefetch, find, deadline_s),
    )


async def _looked_up(
    ask: Ask | None,
    matching: Filter | None,
    body: QueryBody | QueryGroupsBody | PrefetchBody,
    lookup: LookupBody,
    collection: Collection,
    find: Find,
    deadline_s: float,
) -> tuple[Ask | None, Filter | None]:
    """Ids of this very collection are not among the answers, ids of another may be."""
    if lookup.shard_key is not None:
        raise NotOfferedError("lookup_from: `shard_key` is not offered")
    other = find(lookup.collection)
    using = body.using or ""
    name = lookup.vector if lookup.vector is not None else using
    strange = [model for model in other.config.models_of(name) if not collection.holds(model, using)]
    if strange and (other is not collection or name != using):
        raise mixed(collection.name, collection.config.models_of(using), strange[0], using)
    if not (ids := asks.mentioned(ask)):
        return ask, matching
    plain = {point_id: checked_id(point_id) for point_id in ids}
    records = await other.retrieve(list(plain.values()), with_payload=False, with_vector=[name], deadline_s=deadline_s)
    found = vectors_by_id(records, name)
    by_id: VectorsById = {point_id: found[plain[point_id]] for point_id in ids if plain[point_id] in found}
    ask = asks.with_vectors_of(ask, by_id, f"collection `{other.name}`")
    if other is not collection:
        return ask, matching
    others = Filter(must_not=[Condition(has_id=list(plain.values()))])
    others.must = None if matching is None else [as_condition(matching)]
    return ask, others


def parse_with_vector(json: Any) -> bool | list[str]:
    """`with_vector` of a request: true, false, or names. Raises InputError."""
    if json is None or isinstance(json, bool):
        return bool(json)
    if isinstance(json, list) and len(json) <= NAMES_MAX and all(isinstance(name, str) for name in json):
        return json
    raise InputError(f"with_vector: must be true, false or a list of at most {NAMES_MAX} names")


def parse_order(json: Any) -> asks.OrderBy:
    """`order_by` of a request: the name of a field, or an object. Raises InputError."""
    body = _OrderBody(key=json) if isinstance(json, str) else _converted(json, _OrderBody, "order_by")
    return asks.OrderBy(body.key, body.direction or "asc", body.start_from)


def parse_ask(json: Any) -> Ask | None:
    """`query` of a request. Raises InputError, NotOfferedError for what is to be embedded first."""
    if json is None:
        return None
    if isinstance(json, dict) and "indices" not in json:
        if "mmr" in json and set(json) == {"nearest", "mmr"}:
            return _mmr(json)
        if "formula" in json and set(json) <= {"formula", "defaults"}:
            return _formula(json)
        if len(json) == 1 and (parse := _KINDS.get(kind := next(iter(json)))) is not None:
            return parse(json[kind])
        _refuse_inference(json, "query")
        kinds = ", ".join(f"`{str(name)[:40]}`" for name in json) or "an empty object"
        raise InputError(f"query: {kinds} is no kind of query, known: {', '.join((*_KINDS, 'formula'))}")
    return asks.Nearest(_target(json, "query"))


def _refuse_inference(json: dict[str, Any], what: str) -> None:
    if "model" in json and any(name in json for name in LOCAL_INFERENCE):
        raise NotOfferedError(f"{what}: inference is not offered here, send a vector", hint="use a pipeline to embed")


def _target(json: Any, what: str) -> Target:
    """A vector, or the id of a point."""
    if isinstance(json, bool):
        raise InputError(f"{what}: must be a vector or the id of a point")
    if isinstance(json, int | str):
        return asks.Of(checked_id(json))
    if isinstance(json, dict):
        _refuse_inference(json, what)
    return packed_vector(json, what)


def _targets(json: Sequence[Any] | None, what: str) -> list[Target]:
    return [_target(one, what) for one in json or ()]


class _Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class _OrderBody(_Body):
    key: str
    direction: asks.Direction | None = None
    start_from: int | float | str | None = None


class _MmrBody(_Body):
    diversity: float | None = None
    candidates_limit: int | None = None


class _RecommendBody(_Body):
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    strategy: asks.Strategy | None = None


class _PairBody(_Body):
    positive: Any
    negative: Any


class _DiscoverBody(_Body):
    target: Any
    context: list[_PairBody] | _PairBody | None = None


class _ExampleBody(_Body):
    example: Any
    score: float


class _NaiveBody(_Body):
    a: float
    b: float
    c: float


class _StrategyBody(_Body):
    naive: _NaiveBody


class _FeedbackBody(_Body):
    target: Any
    feedback: list[_ExampleBody]
    strategy: _StrategyBody


class _RrfBody(_Body):
    k: int | None = None
    weights: list[float] | None = None


class _Bm25Body(_Body):
    k: float | None = None
    b: float | None = None


class _ScoringBody(_Body):
    bm25: _Bm25Body


class _TextBody(_Body):
    query: str
    scoring: _ScoringBody | None = None


def _converted(json: Any, kind: Any, what: str) -> Any:
    try:
        return msgspec.convert(json, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{what}: {error}") from error


def _mmr(json: dict[str, Any]) -> Ask:
    target = _target(json["nearest"], "nearest")
    if json["mmr"] is None:
        return asks.Nearest(target)
    body = _converted(json["mmr"], _MmrBody, "mmr")
    return asks.Mmr(target, 0.5 if body.diversity is None else body.diversity, body.candidates_limit)


def _recommend(json: Any) -> Ask:
    body = _converted(json, _RecommendBody, "recommend")
    positive, negative = _targets(body.positive, "positive"), _targets(body.negative, "negative")
    return asks.Recommend(positive, negative, body.strategy or "average_vector")


def _pairs(body: list[_PairBody] | _PairBody | None) -> list[asks.Pair]:
    pairs = body if isinstance(body, list) else [] if body is None else [body]
    return [asks.Pair(_target(pair.positive, "positive"), _target(pair.negative, "negative")) for pair in pairs]


def _discover(json: Any) -> Ask:
    body = _converted(json, _DiscoverBody, "discover")
    return asks.Discover(_target(body.target, "target"), _pairs(body.context))


def _feedback(json: Any) -> Ask:
    body = _converted(json, _FeedbackBody, "relevance_feedback")
    examples = [asks.Example(_target(one.example, "example"), one.score) for one in body.feedback]
    naive = body.strategy.naive
    return asks.Feedback(_target(body.target, "target"), examples, naive.a, naive.b, naive.c)


def _fusion(json: Any) -> Ask:
    return asks.Fusion(_converted(json, asks.FusionHow, "fusion"), RRF_K)


def _rrf(json: Any) -> Ask:
    body = _converted(json, _RrfBody, "rrf")
    return asks.Fusion("rrf", RRF_K if body.k is None else body.k, body.weights)


def _formula(json: dict[str, Any]) -> Ask:
    defaults = json.get("defaults")
    if not isinstance(defaults, dict | None):
        raise InputError("defaults: must be an object")
    return asks.Formula(json["formula"], defaults or {})


def _sample(json: Any) -> Ask:
    if json != "random":
        raise InputError("sample: must be `random`")
    return asks.Sample()


def _text(json: Any) -> Ask:
    body = _TextBody(query=json) if isinstance(json, str) else _converted(json, _TextBody, "text")
    scoring = body.scoring.bm25 if body.scoring else _Bm25Body()
    return asks.TextMatch(body.query, scoring.k, scoring.b)


_KINDS: dict[str, Callable[[Any], Ask]] = {
    "nearest": lambda json: asks.Nearest(_target(json, "nearest")),
    "recommend": _recommend,
    "discover": _discover,
    "context": lambda json: asks.Context(_pairs(_converted(json, list[_PairBody] | _PairBody, "context"))),
    "order_by": parse_order,
    "fusion": _fusion,
    "rrf": _rrf,
    "sample": _sample,
    "relevance_feedback": _feedback,
    "text": _text,
}
