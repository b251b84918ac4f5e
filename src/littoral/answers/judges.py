"""Whether two answers say the same. Every bound on wrong answers is stated relative to the judge that is asked.

A judge answers True, False, or None where it could not tell: nothing is learned then.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from littoral.answers.facts import negations_of, numbers_of
from littoral.answers.normal import json_value, normal, text_of, verdict_of

__all__ = ["Chain", "Embed", "Embedding", "Exact", "Judge", "Normalised"]

Embed = Callable[[str], Awaitable[NDArray[np.float32]]]

CHUNK_CHARS = 800
CHUNKS_MAX = 4
SHORT_WORDS = 40
JSON_DEPTH_MAX = 64


class Judge(Protocol):
    """name: in metrics and headings. question: what was asked now. cached, fresh: bodies of answers, not streamed."""

    name: str

    async def same(self, question: str, cached: bytes, fresh: bytes, /) -> bool | None: ...


class Exact:
    """The same text, but for spaces at its edges."""

    name = "exact"

    async def same(self, _question: str, cached: bytes, fresh: bytes, /) -> bool | None:
        one, other = text_of(cached), text_of(fresh)
        return None if one is None or other is None else one.strip() == other.strip()


class Normalised:
    """The same but for case, spaces, punctuation and ways to write a number; JSON that is equal as JSON."""

    name = "normalised"

    async def same(self, _question: str, cached: bytes, fresh: bytes, /) -> bool | None:
        one, other = text_of(cached), text_of(fresh)
        if one is None or other is None:
            return None
        values = json_value(one), json_value(other)
        if None not in values:
            return _equal(*values)
        return normal(one) == normal(other)


class Embedding:
    """Near in the embeddings of their texts, `similarity_min` or more; long texts piece by piece. An answer that begins
    with yes is not the same as one that begins with no; short ones must also agree in numbers and negations, which
    embeddings hardly see.
    """

    name = "embedding"

    def __init__(self, embed: Embed, similarity_min: float = 0.9) -> None:
        self._embed = embed
        self._similarity_min = similarity_min

    async def same(self, _question: str, cached: bytes, fresh: bytes, /) -> bool | None:
        one, other = text_of(cached), text_of(fresh)
        if one is None or other is None:
            return None
        if normal(one) == normal(other):
            return True
        if _contradict(one, other):
            return False
        vectors = [await self._vector(text) for text in (one, other)]
        return bool(np.dot(*vectors) >= self._similarity_min)

    async def _vector(self, text: str) -> NDArray[np.float64]:
        """Unit length: the mean of its pieces. Texts beyond the last piece are compared by how they begin."""
        text = text.strip()
        pieces = [text[at : at + CHUNK_CHARS] for at in range(0, min(len(text), CHUNK_CHARS * CHUNKS_MAX), CHUNK_CHARS)]
        total = np.sum([_unit(np.asarray(await self._embed(piece), np.float64)) for piece in pieces], axis=0)
        return _unit(total)


class Chain:
    """Several, the cheapest first. Each but the last is asked for what is surely the same; the last one decides."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        *self._cheap, self._last = judges
        self.name = " > ".join(judge.name for judge in judges)

    async def same(self, question: str, cached: bytes, fresh: bytes, /) -> bool | None:
        for judge in self._cheap:
            if await judge.same(question, cached, fresh):
                return True
        return await self._last.same(question, cached, fresh)


def _contradict(one: str, other: str) -> bool:
    said = verdict_of(one), verdict_of(other)
    if "" not in said and said[0] != said[1]:
        return True
    if max(one.count(" "), other.count(" ")) > SHORT_WORDS:
        return False
    return numbers_of(one) != numbers_of(other) or negations_of(one) != negations_of(other)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _equal(one: object, other: object, depth: int = JSON_DEPTH_MAX) -> bool:
    """As JSON: 1 is 1.0 and not true; the order of keys does not count."""
    if depth < 0 or isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key], depth - 1) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_equal(a, b, depth - 1) for a, b in zip(one, other, strict=True))
    return one == other
