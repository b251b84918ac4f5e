"""Several lists of hits as one, by their ranks or by their scores. Pure.

Reciprocal ranks: Cormack, Clarke and Büttcher, SIGIR 2009, with weights as Qdrant has them; scores by their
distribution: each list between three standard deviations below its mean and as many above it.
"""

import math
from collections.abc import Sequence

import msgspec

from littoral.errors import InputError
from littoral.vectors.asks import Fusion
from littoral.vectors.records import Hit, PointId

__all__ = ["WEIGHT_COUNT_MAX", "check_fusion", "fused"]

WEIGHT_COUNT_MAX = 64
DEVIATIONS = 3.0


def check_fusion(ask: Fusion) -> None:
    """Raises InputError."""
    if ask.how == "rrf" and (len(ask.weights or ()) > WEIGHT_COUNT_MAX or ask.k < 1):
        raise InputError(f"query: `rrf` needs `k` of at least 1 and at most {WEIGHT_COUNT_MAX} weights")


def fused(ask: Fusion, sources: Sequence[Sequence[Hit]], threshold: float | None) -> list[Hit]:
    """Each point once, the best first, equal ones in the order of ids. Raises InputError for weights that are fewer or
    more than the sources.
    """
    check_fusion(ask)
    if ask.weights is not None and len(ask.weights) != len(sources):
        raise InputError(f"query: `rrf` has {len(ask.weights)} weights for {len(sources)} prefetches")
    hits: dict[PointId, Hit] = {}
    for at, source in enumerate(sources):
        weight = 1.0 if ask.weights is None else ask.weights[at]
        scores = _spread([hit.score for hit in source]) if ask.how == "dbsf" else _ranks(len(source), ask.k, weight)
        for hit, score in zip(source, scores, strict=True):
            if (before := hits.get(hit.id)) is None:
                hits[hit.id] = msgspec.structs.replace(hit, score=score)
            else:
                before.score += score
    found = sorted(hits.values(), key=lambda hit: (-hit.score, isinstance(hit.id, str), hit.id))
    return found if threshold is None else [hit for hit in found if hit.score >= threshold]


def _ranks(count: int, k: int, weight: float) -> list[float]:
    """A weight of three: the third of this list is worth what the first of another is."""
    return [1 / ((rank + 1) / weight + k - 1) if weight > 0 else 0.0 for rank in range(count)]


def _spread(scores: Sequence[float]) -> list[float]:
    mean = math.fsum(scores) / max(1, len(scores))
    squares = math.fsum((score - mean) ** 2 for score in scores)
    reach = DEVIATIONS * math.sqrt(squares / (len(scores) - 1)) if len(scores) > 1 else 0.0
    return [(score - mean + reach) / (2 * reach) if reach else 0.5 for score in scores]
