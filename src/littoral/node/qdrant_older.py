"""Bodies of the search routes that Qdrant had before `query`, each as the query it means."""

from typing import Any

from littoral.errors import InputError
from littoral.node.qdrant_bodies import AskBody, Body, Count, LookupBody, QueryBody, QueryGroupsBody, WithLookup

__all__ = ["OLDER_GROUPS", "OLDER_SEARCHES"]


class _OldBody(AskBody, kw_only=True):
    offset: Count | None = None


class SearchBody(_OldBody):
    """vector: numbers, or `{"name", "vector"}`."""

    vector: Any


class RecommendBody(_OldBody):
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    strategy: str | None = None


class DiscoverBody(_OldBody):
    target: Any = None
    context: list[Any] | None = None


class SearchesBody(Body):
    searches: list[SearchBody]


class RecommendationsBody(Body):
    searches: list[RecommendBody]


class DiscoveriesBody(Body):
    searches: list[DiscoverBody]


class _OldGroupsBody(AskBody, kw_only=True):
    group_by: str
    group_size: Count | None = None
    with_lookup: str | WithLookup | None = None


class SearchGroupsBody(_OldGroupsBody):
    vector: Any


class RecommendGroupsBody(_OldGroupsBody):
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    strategy: str | None = None


_Old = SearchBody | RecommendBody | DiscoverBody | SearchGroupsBody | RecommendGroupsBody


def as_query(body: SearchBody | RecommendBody | DiscoverBody) -> QueryBody:
    """The same question in today's words."""
    query, using = _question(body)
    return QueryBody(query=query, offset=body.offset, **_common(body, using))


def as_groups(body: SearchGroupsBody | RecommendGroupsBody) -> QueryGroupsBody:
    """The same question in today's words."""
    query, using = _question(body)
    return QueryGroupsBody(
        query=query,
        group_by=body.group_by,
        group_size=body.group_size,
        with_lookup=body.with_lookup,
        **_common(body, using),
    )


def _question(body: _Old) -> tuple[Any, str | None]:
    match body:
        case SearchBody() | SearchGroupsBody():
            return _nearest(body.vector)
        case RecommendBody() | RecommendGroupsBody():
            given = {"positive": body.positive, "negative": body.negative, "strategy": body.strategy}
            return {"recommend": given}, body.using
        case DiscoverBody(target=None):
            return {"context": body.context or []}, body.using
    return {"discover": {"target": body.target, "context": body.context or []}}, body.using


def _nearest(vector: Any) -> tuple[Any, str | None]:
    """Ids are not taken here."""
    name = None
    if isinstance(vector, dict) and "name" in vector:
        name, vector = vector["name"], vector.get("vector")
    if not isinstance(vector, list | dict):
        raise InputError("vector: must be a list of numbers, or have `name` and `vector`")
    return {"nearest": vector}, name


def _common(body: AskBody, using: str | None) -> dict[str, Any]:
    lookup: LookupBody | None = body.lookup_from
    return {
        "shard_key": body.shard_key,
        "filter": body.filter,
        "params": body.params,
        "limit": body.limit,
        "with_payload": body.with_payload,
        "with_vector": body.with_vector,
        "score_threshold": body.score_threshold,
        "using": using,
        "lookup_from": lookup,
    }


OLDER_SEARCHES = {
    "search": (SearchBody, SearchesBody),
    "recommend": (RecommendBody, RecommendationsBody),
    "discover": (DiscoverBody, DiscoveriesBody),
}
"""By the last word of the path: the body of one, and that of a batch."""

OLDER_GROUPS = {"search/groups": SearchGroupsBody, "recommend/groups": RecommendGroupsBody}
