"""Answers of one spread collection that are told again, for as long as its site file lets them be out of date.

Nothing that this node knows of is ever left out: an answer goes with the first write that was made through this node,
or to a shard that lies here, or that another holder has told of. What it does not know of is hidden for `max_age_s` at
most, counted from before the answer was made. What lacks a shard is not kept, and what is told again certifies nothing.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.vectors import frames
from littoral.vectors.byte_lru import ByteLru

__all__ = ["BYTES_MAX", "KeptAnswers", "Question"]

BYTES_MAX = 4 << 20

_Answer = frames.Found | frames.Told
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(_Answer)


class Question(NamedTuple):
    """key: all that an answer depends on but the points. state: what is known of the points. began_s: of the clock."""

    key: bytes
    state: Hashable
    began_s: float


class _Kept(NamedTuple):
    state: Hashable
    began_s: float
    answer: bytes
    said: dict[str, Any]


class KeptAnswers:
    """For one event loop. max_age_s: above 0."""

    def __init__(self, clock: Clock, max_age_s: float, *, bytes_max: int = BYTES_MAX) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._kept: ByteLru[bytes, _Kept] = ByteLru(bytes_max)

    def question(self, request: frames.Search, asked: Hashable, state: Hashable) -> Question:
        """asked: what else the request depends on."""
        key = _encode((request.queries, request.as_json, repr(asked)))
        return Question(key, state, self._clock.monotonic())

    def find(self, question: Question) -> tuple[_Answer, dict[str, Any]] | None:
        """The answer, and what it says of itself now."""
        if (kept := self._kept.find(question.key)) is None:
            return None
        age_s = question.began_s - kept.began_s
        if kept.state != question.state or age_s >= self._max_age_s:
            self._kept.drop(question.key)
            return None
        said = kept.said | {"certified": False, "expected_recall": None, "age_s": round(age_s, 3)}
        return _decoder.decode(kept.answer), said

    def keep(self, question: Question, answer: frames.Answer, said: dict[str, Any] | None, state: Hashable) -> None:
        """state: as it is now; where it has changed meanwhile nobody knows what the answer has seen."""
        if state != question.state or said is None or said["missing"] or not isinstance(answer, _Answer):
            return
        told = _encode(answer)
        self._kept.keep(question.key, _Kept(state, question.began_s, told, said), len(told) + len(question.key))
