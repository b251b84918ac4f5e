"""What a query asks for, as structs: nearness to a vector, to examples, an order, a fusion of other queries.

A `Target` is a vector, or says whose vector is meant; `with_vectors_of` puts that in its place.
Source: Qdrant's OpenAPI description, `Query`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from littoral.errors import NotFoundError
from littoral.vectors.records import Multi, PointId, Sparse, Vector

__all__ = [
    "Ask",
    "Context",
    "Direction",
    "Discover",
    "Example",
    "Feedback",
    "Formula",
    "Fusion",
    "FusionHow",
    "Mmr",
    "Nearest",
    "Of",
    "OrderBy",
    "Pair",
    "Recommend",
    "Sample",
    "Strategy",
    "Target",
    "TextMatch",
    "mentioned",
    "with_vectors_of",
]

Strategy = Literal["average_vector", "best_score", "sum_scores"]
Direction = Literal["asc", "desc"]
FusionHow = Literal["rrf", "dbsf"]


class Of(msgspec.Struct, array_like=True, tag="of", frozen=True):
    """The vector of the point with this id."""

    id: PointId


Target = bytes | Multi | Sparse | Of


class _Ask(msgspec.Struct, array_like=True, tag=True):
    """On the wire: [tag, fields …]."""


class Nearest(_Ask, tag="nearest"):
    target: Target


class Mmr(_Ask, tag="mmr"):
    """Nearest, but unlike each other. diversity: 0 = nearness only, 1 = difference only."""

    target: Target
    diversity: float = 0.5
    candidates_limit: int | None = None


class Recommend(_Ask, tag="recommend"):
    positive: list[Target]
    negative: list[Target]
    strategy: Strategy = "average_vector"


class Pair(msgspec.Struct, array_like=True):
    positive: Target
    negative: Target


class Discover(_Ask, tag="discover"):
    """Near to the target, on the positive side of the pairs."""

    target: Target
    context: list[Pair]


class Context(_Ask, tag="context"):
    """On the positive side of the pairs."""

    context: list[Pair]


class Example(msgspec.Struct, array_like=True):
    target: Target
    score: float


class Feedback(_Ask, tag="feedback"):
    """Near to the target, moved by what examples were found worth. a, b, c: coefficients of the naive strategy."""

    target: Target
    examples: list[Example]
    a: float
    b: float
    c: float


class OrderBy(_Ask, tag="order_by"):
    """By the value of a payload field that has an index for ranges."""

    key: str
    direction: Direction = "asc"
    start_from: int | float | str | None = None


class Fusion(_Ask, tag="fusion"):
    """Of the prefetches: by reciprocal rank (k, weights) or by the distribution of scores."""

    how: FusionHow
    k: int = 2
    weights: list[float] | None = None


class Formula(_Ask, tag="formula"):
    """A score of one's own over the prefetches; `expression` is Qdrant's JSON."""

    expression: Any
    defaults: dict[str, Any] = {}


class Sample(_Ask, tag="sample"):
    """Points at random."""


class TextMatch(_Ask, tag="text"):
    """BM25 over the text index of a payload field. k, b: its parameters."""

    query: str
    k: float | None = None
    b: float | None = None


Ask = Nearest | Mmr | Recommend | Discover | Context | Feedback | OrderBy | Fusion | Formula | Sample | TextMatch


def mentioned(ask: Ask | None) -> list[PointId]:
    """Ids that stand for vectors, each once."""
    ids: dict[PointId, None] = {}

    def note(target: Target) -> Target:
        if isinstance(target, Of):
            ids[target.id] = None
        return target

    _mapped(ask, note)
    return list(ids)


def with_vectors_of(ask: Ask | None, vectors: Mapping[PointId, Vector], where: str) -> Ask | None:
    """The same with vectors in the place of ids. Raises NotFoundError for an id that is not in `vectors`."""

    def replaced(target: Target) -> Target:
        if not isinstance(target, Of):
            return target
        if (vector := vectors.get(target.id)) is None:
            raise NotFoundError(f"no point with id `{target.id}` and such a vector exists in {where}")
        return vector

    return _mapped(ask, replaced)


def _mapped(ask: Ask | None, change: Callable[[Target], Target]) -> Ask | None:
    def pairs(context: list[Pair]) -> list[Pair]:
        return [Pair(change(pair.positive), change(pair.negative)) for pair in context]

    match ask:
        case Nearest():
            return Nearest(change(ask.target))
        case Mmr():
            return Mmr(change(ask.target), ask.diversity, ask.candidates_limit)
        case Recommend():
            positive, negative = ([change(one) for one in side] for side in (ask.positive, ask.negative))
            return Recommend(positive, negative, ask.strategy)
        case Discover():
            return Discover(change(ask.target), pairs(ask.context))
        case Context():
            return Context(pairs(ask.context))
        case Feedback():
            examples = [Example(change(example.target), example.score) for example in ask.examples]
            return Feedback(change(ask.target), examples, ask.a, ask.b, ask.c)
    return ask
