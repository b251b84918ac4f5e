"""Hits of several shards as those of one: by their true scores, each point once, equal scores in the order of ids.

Each part holds a shard's best `limit + offset`, found with the same query, metric and model, so that scores compare as
they are. Filters, thresholds and tenants are the shards' business: what they leave out never comes here.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from littoral.errors import PeerError
from littoral.vectors.records import LOW_FIRST, Distance, Hit, PointId

__all__ = ["How", "Part", "id_order", "merged", "same_model"]


class Part(NamedTuple):
    """What one node answered. model: the version of the embedding model that its vectors are of, "" = none is told."""

    node: str
    model: str
    hits: Sequence[Hit]


class How(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What an answer is worth. Names of nodes: this one is not among them.

    missing: asked without an answer, or needed and not to be reached. certified: provably the true top k of what the
    summaries and the answers stand for. expected_recall: the share of it that is expected to be here.
    """

    asked: tuple[str, ...]
    answered: tuple[str, ...]
    missing: tuple[str, ...]
    certified: bool
    expected_recall: float


def id_order(point: PointId) -> tuple[bool, PointId]:
    """Numbers before UUIDs, as the store has them."""
    return isinstance(point, str), point


def merged(parts: Iterable[Sequence[Hit]], distance: Distance, limit: int, offset: int = 0) -> list[Hit]:
    """The best `limit` behind the best `offset`. One that came twice (a copy, a replica) counts at its best."""
    sign = 1 if distance in LOW_FIRST else -1
    ordered = sorted((hit for part in parts for hit in part), key=lambda hit: (sign * hit.score, id_order(hit.id)))
    once: dict[PointId, Hit] = {}
    for hit in ordered:
        once.setdefault(hit.id, hit)
        if len(once) >= limit + offset:
            break
    return list(once.values())[offset : offset + limit]


def same_model(model: str, parts: Iterable[Part]) -> None:
    """Raises PeerError where a node answered with vectors of another model: their scores do not compare."""
    for part in parts:
        if part.model != model:
            raise PeerError(
                f"peer `{part.node}`: its vectors are of model `{part.model}`, the collection's of `{model}`",
                hint="let the migration end, or ask again with the other model",
            )
