"""Questions that were answered anew beside a remembered one: for people to say whether the two answers are the same."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Self

import msgspec

from littoral.answers.decision import Decision

__all__ = ["NearMiss", "NearMisses"]

COUNT_MAX = 200
BYTES_MAX = 4 << 20
VERSION = 1


class NearMiss(NamedTuple):
    """entry: of the remembered question. fresh, cached: texts of answers. judged: what the judge said; None: it could
    not tell.
    """

    id: bytes
    entry: bytes
    model: str
    at_s: float
    similarity: float
    question: str
    cached_question: str
    fresh: str
    cached: str
    judged: bool | None
    decision: Decision | None = None

    @classmethod
    def id_of(cls, fresh: bytes, entry: bytes) -> bytes:
        """Of the entries of both answers."""
        return bytes(a ^ b for a, b in zip(fresh, entry, strict=True))

    @property
    def answers(self) -> tuple[bytes, bytes]:
        """The entry, and the one that the new answer has, if it was kept."""
        return self.entry, self.id_of(self.id, self.entry)

    @property
    def size_bytes(self) -> int:
        return 4 * sum(map(len, (self.question, self.cached_question, self.fresh, self.cached)))


class _Kept(msgspec.Struct):
    version: int
    dropped: int
    misses: list[NearMiss]


class NearMisses:
    """The newest, one a question and entry; bounded in number and bytes. For one thread. Kept over restarts by `told`
    and `of`. change_count: since it was made.
    """

    def __init__(self, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._count_max, self._bytes_max = count_max, bytes_max
        self._waiting: OrderedDict[bytes, NearMiss] = OrderedDict()
        self._bytes = 0
        self.dropped_count = self.change_count = 0

    @classmethod
    def of(cls, told: bytes | None) -> Self:
        """As it was when it `told`; as new where that is of another version, or damaged."""
        found = cls()
        if told is None:
            return found
        try:
            kept = msgspec.msgpack.decode(told, type=_Kept)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return found
        if kept.version == VERSION:
            for one in kept.misses:
                found.add(one)
            found.dropped_count += max(kept.dropped, 0)
        return found

    def told(self) -> bytes:
        return msgspec.msgpack.encode(_Kept(VERSION, self.dropped_count, [*self._waiting.values()]))

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, miss: NearMiss) -> None:
        """Takes the place of the oldest where there is no room; one that is too large alone is dropped itself."""
        self.take(miss.id)
        self.change_count += 1
        if miss.size_bytes > self._bytes_max:
            self.dropped_count += 1
            return
        self._waiting[miss.id] = miss
        self._bytes += miss.size_bytes
        while len(self._waiting) > self._count_max or self._bytes > self._bytes_max:
            _, oldest = self._waiting.popitem(last=False)
            self._bytes -= oldest.size_bytes
            self.dropped_count += 1

    @property
    def entries(self) -> frozenset[bytes]:
        """Those that they are of."""
        return frozenset(one.entry for one in self._waiting.values())

    def get(self, miss: bytes) -> NearMiss | None:
        return self._waiting.get(miss)

    def take(self, miss: bytes) -> NearMiss | None:
        """Without it from now on: it is judged, or its entry is gone."""
        if (found := self._waiting.pop(miss, None)) is not None:
            self._bytes -= found.size_bytes
            self.change_count += 1
        return found

    def forget(self, is_gone: Callable[[NearMiss], bool]) -> None:
        """Without these from now on."""
        for one in [one for one in self._waiting.values() if is_gone(one)]:
            self.take(one.id)

    def newest(self, count: int) -> list[NearMiss]:
        """What the judge could not tell comes first."""
        newest = [*reversed(self._waiting.values())]
        return sorted(newest, key=lambda one: one.judged is not None)[:count]
