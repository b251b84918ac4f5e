"""Labels by people: only for an answer that was told, by whoever it was told to, once, and not too many in an hour.

What was told is not remembered: the id of an answer is what was told, sealed for whoever it was told to. It outlives
the process where its key does.
"""

import secrets
import struct
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from littoral.answers.author_limits import HourlyLimit
from littoral.clock import Clock
from littoral.errors import ConflictError, NotFoundError, TooOftenError, TrustError
from littoral.vault import KEY_BYTES, Key, KeyRing

__all__ = ["AGE_MAX_S", "Feedback", "ToldAnswer"]

AGE_MAX_S = 7 * 86_400
LABELLED_MAX = 20_000
PURPOSE = "answer ids"
VERSION = 1

_TOLD = struct.Struct("<16sdQ")


class ToldAnswer(NamedTuple):
    """Of an answer that was told from the cache: which entry, how similar the question was, to whom."""

    entry_id: bytes
    similarity: float
    tenant: str
    author: bytes


class _Kept(msgspec.Struct):
    """marks: of ids that have their label, with the time at which they were told."""

    version: int
    since_s: int
    marks: list[tuple[bytes, int]]


class Feedback:
    """Ids hold for a week. keys: that seal them; without, they end with the process. Of more than `labelled_max` that
    have their label within a week those told longest ago are forgotten, and no id from before is taken any more: each
    has one label at most. Kept over restarts by `kept` and `keep_on`. change_count: since it was made.
    """

    def __init__(
        self, clock: Clock, keys: KeyRing | None = None, *, labelled_max: int = LABELLED_MAX, labels_per_hour: int = 120
    ) -> None:
        from littoral.vault.sealed import Values

        self._values = Values(keys or KeyRing([Key(secrets.token_bytes(KEY_BYTES))]), PURPOSE)
        self._clock = clock
        self._limit = HourlyLimit(labels_per_hour, clock)
        self._labelled: OrderedDict[bytes, int] = OrderedDict()
        self._labelled_max = labelled_max
        self._since_s = 0
        self.change_count = 0

    def keep_on(self, kept: bytes | None) -> None:
        """With the labels of the process before; what is damaged, or of another version, is none."""
        if kept is None:
            return
        try:
            found = msgspec.msgpack.decode(kept, type=_Kept)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if found.version == VERSION:
            self._since_s = found.since_s
            self._labelled = OrderedDict(found.marks[-self._labelled_max :])

    def kept(self) -> bytes:
        """At most 1 MB."""
        return msgspec.msgpack.encode(_Kept(VERSION, self._since_s, [*self._labelled.items()]))

    def told(self, answer: ToldAnswer) -> str:
        """The id for `x-littoral-answer-id`."""
        data = _TOLD.pack(answer.entry_id, answer.similarity, int(self._clock.wall()))
        return self._values.seal(data, _place(answer.tenant, answer.author)).hex()

    def labelled(self, answer_id: str, *, tenant: str, author: bytes) -> ToldAnswer:
        """What was labelled, for `AnswerStore.observe` with this author.

        Raises TooOftenError; NotFoundError for what was never told, is too old, or was told to somebody else, in the
        same words; ConflictError for the second label of one answer.
        """
        if not self._limit.take(tenant, author):
            raise TooOftenError("feedback: too many labels in this hour", retry_after_s=self._limit.wait_s)
        mark, answer, told_s = self._opened(answer_id, tenant, author)
        if mark in self._labelled:
            raise ConflictError(f"answer `{answer_id[:40]}` has its label already")
        self._labelled[mark] = told_s
        self.change_count += 1
        self._forget()
        return answer

    def unkept(self, answer_id: str) -> None:
        """The label that was given last could not be kept: it may be given again."""
        self._labelled.pop(_mark(answer_id), None)
        self.change_count += 1

    def _opened(self, answer_id: str, tenant: str, author: bytes) -> tuple[bytes, ToldAnswer, int]:
        try:
            data = self._values.open(bytes.fromhex(answer_id), _place(tenant, author), "id of an answer")
            entry_id, similarity, told_s = _TOLD.unpack(data)
        except (TrustError, ValueError, struct.error):
            told_s = -1
        if told_s <= max(self._since_s, self._clock.wall() - AGE_MAX_S):
            raise NotFoundError(
                f"no answer `{answer_id[:40]}` was told to this caller",
                hint="`x-littoral-answer-id` of an answer that was told from the cache in the last seven days",
            )
        return _mark(answer_id), ToldAnswer(entry_id, similarity, tenant, author), told_s

    def _forget(self) -> None:
        while len(self._labelled) > self._labelled_max:
            oldest = min(self._labelled, key=self._labelled.__getitem__)
            self._since_s = max(self._since_s, self._labelled.pop(oldest))


def _place(tenant: str, author: bytes) -> bytes:
    return len(tenant.encode()).to_bytes(4) + tenant.encode() + author


def _mark(answer_id: str) -> bytes:
    """Of what no other id has: its nonce, and more."""
    try:
        return bytes.fromhex(answer_id)[-16:]
    except ValueError:
        return b""
