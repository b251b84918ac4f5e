"""Hits by the value of a payload field. Pure: for one shard, and for what several have found."""

from collections.abc import Iterable

import msgspec

from littoral.errors import InputError
from littoral.vectors.payload_paths import values_at
from littoral.vectors.queries import RESULT_COUNT_MAX, PayloadSelector, Prefetch, SearchQuery, check_page
from littoral.vectors.records import Hit, PointId

__all__ = ["are_full", "check_groups", "first_count", "grouped", "next_count", "widened"]

GROUP_SIZE_MAX = 1024
GROUPED_FIRST = 256

Groups = dict[PointId | str, list[Hit]]


def check_groups(query: SearchQuery, size: int) -> None:
    """size: hits of a group. Raises InputError."""
    if not 1 <= size <= GROUP_SIZE_MAX:
        raise InputError(f"group_size is {size}, must be 1..{GROUP_SIZE_MAX}")
    check_page(query.limit)


def first_count(query: SearchQuery, size: int) -> int:
    """How many hits to look through first."""
    return min(max(GROUPED_FIRST, query.limit * size), RESULT_COUNT_MAX)


def next_count(count: int) -> int:
    """And then, while groups are not full; the same where that is all one may look through."""
    return min(count * 4, RESULT_COUNT_MAX)


def are_full(groups: Groups, query: SearchQuery, size: int) -> bool:
    """Whether more hits would change nothing."""
    return len(groups) == query.limit and all(len(group) == size for group in groups.values())


def widened(query: SearchQuery, by: str, count: int) -> SearchQuery:
    """For grouping: more hits, with the value to group by and nothing else. Prefetches may not be what cuts."""

    def wide(prefetch: Prefetch) -> Prefetch:
        inner = [wide(one) for one in prefetch.prefetch]
        return msgspec.structs.replace(prefetch, limit=max(prefetch.limit, count), prefetch=inner)

    return msgspec.structs.replace(
        query,
        limit=count,
        offset=0,
        with_payload=PayloadSelector(include=[by]),
        with_vector=False,
        prefetch=[wide(prefetch) for prefetch in query.prefetch],
    )


def grouped(hits: Iterable[Hit], by: str, limit: int, size: int) -> Groups:
    """A point with a value that can be no id of a group (a real number, a boolean) belongs to none."""
    groups: Groups = {}
    for hit in hits:
        values = values_at(hit.payload or {}, by)
        if not all(type(value) in (int, str) for value in values):
            continue
        for value in dict.fromkeys(values):
            if value not in groups and len(groups) == limit:
                continue
            group = groups.setdefault(value, [])
            if len(group) < size:
                group.append(msgspec.structs.replace(hit))
    return groups
