"""Entries for tests of what is remembered: made of a number, so that each is told from every other."""

import hashlib
from typing import Any

import numpy as np

from littoral.answers.asked import Asked
from littoral.answers.entries import Entry

SIZE = 8
NOW_S = 1_800_000_000


class SetClock:
    """Time as a test says."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def vector(number: int) -> Any:
    """Another direction for every number."""
    return np.random.default_rng(number).standard_normal(SIZE).astype("<f4")


def turned(number: int, by: float) -> Any:
    """`vector`, turned a little."""
    return vector(number) + by * vector(number + 1_000_000)


def entry(number: int, **changes: Any) -> Entry:
    given: dict[str, Any] = {
        "tenant": "",
        "model": "small",
        "exact": digest(f"question {number}"),
        "partition": digest("partition")[:16],
        "question": f"How does number {number} work?",
        "answer": b'{"choices":[{"message":{"content":"It works like \xc3\xa9%d."}}]}' % number,
        "made_at_s": NOW_S,
        "expires_at_s": NOW_S + 3600,
        "prompt_tokens": 10,
        "completion_tokens": 20,
    }
    return Entry(**given | changes)


def asked(of: Entry) -> Asked:
    return Asked(of.tenant, of.model, of.exact, of.partition, of.question, "semantic")
