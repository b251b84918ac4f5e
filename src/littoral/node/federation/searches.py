"""Queries as shards are to answer them, and what a merged answer says of itself."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from littoral.errors import NotOfferedError
from littoral.node.federation.asking import Gathered
from littoral.vectors import asks
from littoral.vectors.queries import SearchQuery, check_query
from littoral.vectors.records import CollectionConfig

__all__ = ["check_spread_query", "for_shards", "how_of", "told_of_filter"]

NOT_MERGED: dict[type, str] = {
    asks.Mmr: "`mmr`",
    asks.Fusion: "`fusion`",
    asks.Formula: "`formula`",
    asks.Sample: "`sample`",
    asks.TextMatch: "`text`",
}
"""Their scores depend on what else was found, so that those of several shards cannot be compared."""


def check_spread_query(query: SearchQuery, config: CollectionConfig) -> None:
    """Raises InputError, and NotOfferedError for what shards cannot answer apart from each other."""
    check_query(query)
    if (what := NOT_MERGED.get(type(query.ask))) is not None:
        raise NotOfferedError(f"query: {what} is not offered in a collection that is spread over nodes")
    if query.prefetch:
        raise NotOfferedError("prefetch is not offered in a collection that is spread over nodes")
    sparse = config.sparse.get(query.using)
    if sparse is not None and sparse.modifier is not None:
        raise NotOfferedError(
            f"vector `{query.using}`: a modifier is not offered in a collection that is spread over nodes",
            hint="how rare an index is, one shard alone does not know",
        )


def for_shards(query: SearchQuery) -> SearchQuery:
    """A page begins at the first hit there: which ones are left out, only the merged answer tells."""
    if not query.offset:
        return query
    return msgspec.structs.replace(query, limit=query.limit + query.offset, offset=0)


def how_of(gathered: Gathered, queries: Sequence[SearchQuery], barren: Collection[int] = ()) -> dict[str, Any]:
    """asked, answered: nodes. Certain only where all shards have compared with every point. barren: those that were
    not asked, for nothing in them passes the filter.
    """
    is_certain = not gathered.lost and not gathered.behind and all(query.params.exact for query in queries)
    return {
        "asked": len(gathered.asked.union(gathered.missing)),
        "answered": len(gathered.answered),
        "missing": gathered.missing,
        "certified": is_certain,
        "expected_recall": 1.0 if is_certain else None,
    } | told_of_filter(barren)


def told_of_filter(barren: Collection[int]) -> dict[str, Any]:
    """Where the filter alone has ruled shards out: how many."""
    return {"filtered_out": len(barren)} if barren else {}
