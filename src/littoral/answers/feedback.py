"""Labels by people: only for an answer that was told, by whoever it was told to, once, and not too many in an hour."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from littoral.answers.author_limits import HourlyLimit
from littoral.clock import Clock
from littoral.errors import ConflictError, NotFoundError, TooOftenError

__all__ = ["Feedback", "ToldAnswer"]

TOLD_MAX = 20_000
LABEL_BYTES = 16


class ToldAnswer(NamedTuple):
    """Of an answer that was told from the cache: which entry, how similar the question was, to whom."""

    entry_id: bytes
    similarity: float
    tenant: str
    author: bytes


class Feedback:
    """The newest `told_max` answers. An id says nothing about its entry, and none is forgotten for being labelled."""

    def __init__(
        self,
        clock: Clock,
        *,
        told_max: int = TOLD_MAX,
        labels_per_hour: int = 120,
        draw: Callable[[], str] = lambda: secrets.token_hex(LABEL_BYTES),
    ) -> None:
        self._told: OrderedDict[str, tuple[ToldAnswer, bool]] = OrderedDict()
        self._told_max = told_max
        self._limit = HourlyLimit(labels_per_hour, clock)
        self._draw = draw

    def told(self, answer: ToldAnswer) -> str:
        """The id for `x-littoral-answer-id`."""
        answer_id = self._draw()
        self._told[answer_id] = (answer, False)
        if len(self._told) > self._told_max:
            self._told.popitem(last=False)
        return answer_id

    def labelled(self, answer_id: str, *, tenant: str, author: bytes) -> ToldAnswer:
        """What was labelled, for `AnswerStore.observe` with this author.

        Raises TooOftenError; NotFoundError for what was never told, is forgotten, or was told to somebody else, in the
        same words; ConflictError for the second label of one answer.
        """
        if not self._limit.take(tenant, author):
            raise TooOftenError("feedback: too many labels in this hour", retry_after_s=self._limit.wait_s)
        answer, is_labelled = self._told.get(answer_id, (None, False))
        if answer is None or answer.tenant != tenant or answer.author != author:
            raise NotFoundError(
                f"no answer `{answer_id[:40]}` was told to this caller",
                hint="`x-littoral-answer-id` of an answer that was told from the cache, since the node started",
            )
        if is_labelled:
            raise ConflictError(f"answer `{answer_id[:40]}` has its label already")
        self._told[answer_id] = (answer, True)
        return answer

    def unkept(self, answer_id: str) -> None:
        """The label that was given last could not be kept: it may be given again."""
        if (found := self._told.get(answer_id)) is not None:
            self._told[answer_id] = (found[0], False)
