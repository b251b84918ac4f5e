"""Answers of searches that may be given again: to the very same query, and to one so near that the answer is proven.

Every entry belongs to a tenant, a collection and its epoch: an acknowledged write makes a new epoch, and what was kept
before it is never found again. In memory only: epochs grow with every opening of a shard.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.vectors.byte_lru import ENTRY_BYTES, ByteLru, CacheStatistics
from littoral.vectors.collection import Collection
from littoral.vectors.near import METRICS, Floats, NearList, direction, near_answer, near_list
from littoral.vectors.records import Distance, Hit

__all__ = ["NearHits", "NearStatistics", "ResultCache", "Scope", "question_key"]

GROUP_ENTRIES_MIN = 16
GROUP_ENTRIES_MAX = 1024
TRIES_MAX = 2
"""Lists that are tried for one query, the nearest first."""

_encode = msgspec.json.Encoder().encode

GroupKey = tuple[str, int, bytes]
EntryKey = tuple[GroupKey, int]


class Scope(NamedTuple):
    """What an answer holds for. collection: a number that no other collection gets, one made again included."""

    tenant: str
    collection: int
    epoch: int


class NearStatistics(NamedTuple):
    """asked: queries for which there were lists to try; proven: of these, those answered."""

    asked: int
    proven: int


class NearHits(NamedTuple):
    """Proven hits, best first: rows of a list, and their scores."""

    listed: Sequence[Hit]
    told_around: Sequence[tuple[bytes, bytes]]
    rows: Sequence[int]
    scores: Sequence[float]

    def hits(self) -> list[Hit]:
        pairs = zip(self.rows, self.scores, strict=True)
        return [msgspec.structs.replace(self.listed[row], score=score) for row, score in pairs]

    def told(self) -> bytes:
        """As JSON, as `told_hits` writes them."""
        if not self.rows:
            return b"[]"
        parts = []
        for row, score in zip(self.rows, _encode(self.scores)[1:-1].split(b","), strict=True):
            before, after = self.told_around[row]
            parts.append(b"%b%b%b" % (before, score, after))
        return b"[%b]" % b",".join(parts)


class _NearEntry(NamedTuple):
    epoch: int
    known: NearList
    hits: tuple[Hit, ...]
    told_around: tuple[tuple[bytes, bytes], ...]


class ResultCache:
    """exact_bytes_max, near_bytes_max: of the answers kept for the same and for near queries; 0 = none.

    For one event loop.
    """

    def __init__(self, exact_bytes_max: int, near_bytes_max: int = 0) -> None:
        self._switch(exact_bytes_max, near_bytes_max)
        self._numbers: WeakKeyDictionary[Collection, int] = WeakKeyDictionary()
        self._count = itertools.count(1)
        self._exact: ByteLru[bytes, bytes] = ByteLru(exact_bytes_max)
        self._near: ByteLru[EntryKey, _NearEntry] = ByteLru(near_bytes_max, left=self._leave)
        self._groups: dict[GroupKey, _Group] = {}
        self._asked = 0
        self._proven = 0

    def _switch(self, exact_bytes_max: int, near_bytes_max: int) -> None:
        self.has_near = near_bytes_max > 0
        self._is_on = self.has_near or exact_bytes_max > 0

    def limit(self, exact_bytes_max: int, near_bytes_max: int) -> None:
        """From now on; what was not asked for the longest leaves."""
        self._switch(exact_bytes_max, near_bytes_max)
        self._exact.limit(exact_bytes_max)
        self._near.limit(near_bytes_max)

    def scope(self, collection: Collection, tenant: str = "") -> Scope | None:
        """For answers of now; None where nothing is kept, or while nobody knows what became of a write."""
        if not self._is_on or not collection.doubt.is_settled:
            return None
        if (number := self._numbers.get(collection)) is None:
            number = self._numbers[collection] = next(self._count)
        return Scope(tenant, number, collection.epoch)

    def find(self, key: bytes) -> bytes | None:
        """What was answered to the very same question. key: its `question_key`."""
        return self._exact.find(key)

    def keep(self, key: bytes, answer: bytes) -> None:
        """key: of a scope from before the question was asked, that is still the collection's after the answer came."""
        self._exact.keep(key, answer, len(answer))

    def find_near(
        self,
        scope: Scope,
        shape: bytes,
        vector: npt.NDArray[np.float32],
        distance: Distance,
        wanted: int,
        threshold: float | None = None,
    ) -> NearHits | None:
        """The `wanted` nearest points, with proof; without a vector each.

        shape: all that a query says beside its vector, how many and the threshold. vector: float32[d], finite, and
        not zero for Cosine.
        """
        if (scope.tenant, scope.collection, shape) not in self._groups:
            return None
        self._asked += 1
        found = self._near_hits(scope, shape, vector, distance, wanted, threshold)
        self._proven += found is not None
        return found

    def is_proven(
        self, scope: Scope, shape: bytes, vector: npt.NDArray[np.float32], distance: Distance, wanted: int
    ) -> bool:
        """Whether `find_near` would answer; it is not counted as a search."""
        return self._near_hits(scope, shape, vector, distance, wanted, None) is not None

    def _near_hits(
        self,
        scope: Scope,
        shape: bytes,
        vector: npt.NDArray[np.float32],
        distance: Distance,
        wanted: int,
        threshold: float | None,
    ) -> NearHits | None:
        if (group := self._groups.get((scope.tenant, scope.collection, shape))) is None:
            return None
        query = direction(vector, distance)
        for slot in group.nearest(query):
            entry = self._near.find((group.key, slot))
            if entry is None or entry.epoch != scope.epoch:
                self._near.drop((group.key, slot))
                continue
            found = near_answer(entry.known, query, distance, wanted, threshold=threshold)
            if found is not None:
                return NearHits(entry.hits, entry.told_around, found.rows, found.scores)
        return None

    def keep_near(
        self, scope: Scope, shape: bytes, vector: npt.NDArray[np.float32], distance: Distance, hits: list[Hit], k: int
    ) -> None:
        """hits: the k nearest of `vector`, by a comparison with every point, each with its vector."""
        vectors = [hit.vector for hit in hits if isinstance(hit.vector, bytes)]
        if distance not in METRICS or not self.has_near or len(vectors) < len(hits):
            return
        points = np.frombuffer(b"".join(vectors), "<f4").reshape(len(hits), len(vector))
        bare = tuple(msgspec.structs.replace(hit, vector=None) for hit in hits)
        query = direction(vector, distance)
        known = near_list(query, points, distance, is_whole=len(hits) < k)
        around = tuple(map(_told_around, bare))
        told_bytes = sum(len(before) + len(after) for before, after in around)
        hit_bytes = len(msgspec.msgpack.encode(bare)) + told_bytes + 2 * len(bare) * ENTRY_BYTES
        size = points.nbytes + 3 * query.nbytes + hit_bytes
        key = (scope.tenant, scope.collection, shape)
        group = self._groups.setdefault(key, _Group(key, len(query)))
        if group.is_full:
            self._near.drop((key, group.oldest))
        slot = group.add(query)
        if not self._near.keep((key, slot), _NearEntry(scope.epoch, known, bare, around), size):
            self._leave((key, slot), None)

    def clear_exact(self) -> None:
        """Forgets every answer to the very same question."""
        self._exact.clear()

    def clear_near(self) -> None:
        """Forgets every list that proves answers of near questions."""
        self._near.clear()

    @property
    def bytes_max(self) -> tuple[int, int]:
        """Of the answers kept for the same, and for near questions."""
        return self._exact.bytes_max, self._near.bytes_max

    def exact_statistics(self) -> CacheStatistics:
        return self._exact.statistics()

    def near_statistics(self) -> tuple[CacheStatistics, NearStatistics]:
        return self._near.statistics(), NearStatistics(self._asked, self._proven)

    def _leave(self, key: EntryKey, _entry: _NearEntry | None) -> None:
        group = self._groups[key[0]]
        group.remove(key[1])
        if not group.count:
            del self._groups[key[0]]


class _Group:
    """Queries of one shape, in rows of float32, which is enough to choose by; an empty row is infinitely far."""

    def __init__(self, key: GroupKey, size: int) -> None:
        self.key = key
        self._rows = np.zeros((GROUP_ENTRIES_MIN, size), np.float32)
        self._squares = np.full(GROUP_ENTRIES_MIN, np.inf, np.float32)
        self._free = list(range(GROUP_ENTRIES_MIN))
        self._taken: dict[int, None] = {}

    @property
    def count(self) -> int:
        return len(self._taken)

    @property
    def is_full(self) -> bool:
        return self.count == GROUP_ENTRIES_MAX

    @property
    def oldest(self) -> int:
        return next(iter(self._taken))

    def add(self, query: Floats) -> int:
        """The row it stands in; there must be room."""
        if not self._free:
            size = len(self._rows)
            self._free = list(range(size, 2 * size))
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
            self._squares = np.concatenate([self._squares, np.full(size, np.inf, np.float32)])
        slot = self._free.pop()
        self._taken[slot] = None
        self._rows[slot] = query
        self._squares[slot] = query @ query
        return slot

    def remove(self, slot: int) -> None:
        self._squares[slot] = np.inf
        self._free.append(slot)
        del self._taken[slot]

    def nearest(self, query: Floats) -> Iterator[int]:
        """Rows of the queries nearest to this one, as they were at the beginning."""
        squares = self._squares - 2 * (self._rows @ query.astype(np.float32))
        for _ in range(TRIES_MAX):
            row = int(squares.argmin())
            if squares[row] == np.inf:
                return
            yield row
            squares[row] = np.inf


def _told_around(hit: Hit) -> tuple[bytes, bytes]:
    """What stands before and after the score."""
    before = b'{"id":%b,"version":%d,"score":' % (_encode(hit.id), hit.version)
    return before, b"}" if hit.payload is None else b',"payload":%b}' % _encode(hit.payload)


def question_key(scope: Scope, question: bytes) -> bytes:
    """question: all that an answer depends on beside the scope."""
    tenant = scope.tenant.encode()
    digest = hashlib.blake2b(b"%d %d %d %b" % (len(tenant), scope.collection, scope.epoch, tenant), digest_size=32)
    digest.update(question)
    return digest.digest()
