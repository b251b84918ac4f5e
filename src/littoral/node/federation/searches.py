"""Queries as shards are to answer them, and what a merged answer says of itself."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from littoral.node.federation.asking import Gathered
from littoral.vectors import asks
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import CollectionConfig

__all__ = ["for_shards", "goes_by_shard", "how_of", "told_of_filter"]


def goes_by_shard(query: SearchQuery, config: CollectionConfig) -> bool:
    """Whether scores depend on how rare a word is, which each shard knows of its own points alone, as in Qdrant's
    cluster: nothing is certain then.
    """
    sparse = config.sparse.get(query.using)
    return isinstance(query.ask, asks.TextMatch) or (sparse is not None and sparse.modifier == "idf")


def for_shards(query: SearchQuery) -> SearchQuery:
    """A page begins at the first hit there: which ones are left out, only the merged answer tells."""
    if not query.offset:
        return query
    return msgspec.structs.replace(query, limit=query.limit + query.offset, offset=0)


def how_of(
    gathered: Gathered, queries: Sequence[SearchQuery], config: CollectionConfig, barren: Collection[int] = ()
) -> dict[str, Any]:
    """asked, answered: nodes. Certain only where all shards have compared with every point. barren: those that were
    not asked, for nothing in them passes the filter.
    """
    is_certain = not gathered.lost and not gathered.behind
    is_certain &= all(query.params.exact and not goes_by_shard(query, config) for query in queries)
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
