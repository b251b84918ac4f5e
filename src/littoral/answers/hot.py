"""Answers that were told a moment ago, in memory: found by the bytes of a request before it is read, and by its digest.

Bounded in bytes. What stands here is told without a look into the collection, for `age_max_s` at most: by then, what
somebody else took out of the collection is told no more. A purge here takes effect at once.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from littoral.answers.entries import Entry
from littoral.clock import Clock
from littoral.vectors.byte_lru import ByteLru, CacheStatistics

__all__ = ["Hot", "HotAnswer"]

ENTRY_EXTRA_BYTES = 900
"""Of an entry beside question and answer: its fields as Python objects."""


class HotAnswer(NamedTuple):
    """told: what the gateway made of the entry for this request, as it goes to the caller."""

    entry: Entry
    told: bytes
    until: float


class Hot:
    """bytes_max: of everything here; 0 = nothing is kept. age_max_s: how long one is told without another look.

    For one event loop. Whoever asks by `find_body` sees to it first that nothing beside the body (a header, the rules)
    forbids a remembered answer; `clear` where the rules change.
    """

    def __init__(self, bytes_max: int, age_max_s: float, clock: Clock) -> None:
        self._answers: ByteLru[bytes, HotAnswer] = ByteLru(bytes_max)
        self._age_max_s = age_max_s
        self._clock = clock

    def find_body(self, tenant: str, body: bytes) -> HotAnswer | None:
        """What was told to these bytes."""
        return self._find(_body_key(tenant, body))

    def keep_body(self, tenant: str, body: bytes, entry: Entry, told: bytes) -> None:
        self._keep(_body_key(tenant, body), entry, told)

    def find_exact(self, exact: bytes) -> Entry | None:
        found = self._find(exact)
        return None if found is None else found.entry

    def keep_exact(self, entry: Entry) -> None:
        self._keep(entry.exact, entry, b"")

    def forget(self, entry: Entry) -> None:
        """What it was told for by its digest; the gateway tells a new answer by another body's key, or after a look."""
        self._answers.drop(entry.exact)

    def drop(self, matches: Callable[[Entry], bool]) -> int:
        """Forgets every answer of such an entry; how many these were."""
        doomed = [key for key, answer in self._answers.items() if matches(answer.entry)]
        for key in doomed:
            self._answers.drop(key)
        return len(doomed)

    def clear(self) -> None:
        """Forgets everything."""
        self._answers.clear()

    def statistics(self) -> CacheStatistics:
        return self._answers.statistics()

    def _find(self, key: bytes) -> HotAnswer | None:
        if (found := self._answers.find(key)) is None:
            return None
        if self._clock.monotonic() >= found.until or found.entry.is_expired(self._clock.wall()):
            self._answers.drop(key)
            return None
        return found

    def _keep(self, key: bytes, entry: Entry, told: bytes) -> None:
        answer = HotAnswer(entry, told, self._clock.monotonic() + self._age_max_s)
        self._answers.keep(key, answer, len(told) + entry.size_bytes + ENTRY_EXTRA_BYTES)


def _body_key(tenant: str, body: bytes) -> bytes:
    name = tenant.encode()
    return hashlib.blake2b(b"%d:%b%b" % (len(name), name, body), digest_size=33).digest()
