"""What became of requests, in all and by minute; what was saved; how near the nearest questions were."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Self, get_args

import msgspec
import numpy as np

from littoral.clock import SYSTEM, Clock

__all__ = ["OUTCOMES", "Ahead", "Outcome", "Saved", "Tally"]

Outcome = Literal["hit", "semantic", "miss", "explore", "stale", "off"]
"""As the header `x-littoral-cache` says it."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
TOLD_AGAIN = frozenset({"hit", "semantic", "stale"})
STEP_S = 60
STEP_COUNT = 24 * 60
BIN_COUNT = 20
ROWS_MAX = 144
VERSION = 1


class Saved(NamedTuple):
    """Tokens and millionths of the currency: of answers told again, and of those that were paid for."""

    tokens: int = 0
    cost_micro: int = 0
    spent_tokens: int = 0
    spent_micro: int = 0


class Ahead(NamedTuple):
    """asked: of a service while the question was compared with those that are remembered. given_up: of these, since an
    answer was told again; what they cost is a guess. outrun: could have been told again, but the service was first.
    """

    asked: int = 0
    given_up: int = 0
    outrun: int = 0


class _Kept(msgspec.Struct):
    """steps: of minutes in which something was asked: its number, and counts by outcome."""

    version: int
    counts: dict[str, int]
    saved: Saved
    joined: int
    similarities: list[int]
    steps: list[tuple[int, list[int]]]
    ahead: Ahead = Ahead()


class Tally:
    """One tenant's. A day is kept by minute; all of it is bounded. For one thread. Kept over restarts by `told` and
    `of`. change_count: since it was made.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._steps = np.zeros((STEP_COUNT, len(OUTCOMES)), np.uint32)
        self._step = self._now_step()
        self._similarities = np.zeros(BIN_COUNT, np.int64)
        self.saved = Saved()
        self.ahead = Ahead()
        self.joined_count = self.change_count = 0

    @classmethod
    def of(cls, told: bytes | None, clock: Clock = SYSTEM) -> Self:
        """As it was when it `told`; as new where that is of another version, or damaged."""
        found = cls(clock)
        if told is None:
            return found
        try:
            kept = msgspec.json.decode(told, type=_Kept)
            similarities = np.array(kept.similarities, np.int64)
            steps = [(step, np.array(counts, np.uint32)) for step, counts in kept.steps]
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, RecursionError):
            return found
        are_steps = all(len(counts) == len(OUTCOMES) for _, counts in steps)
        if kept.version != VERSION or len(similarities) != BIN_COUNT or not are_steps:
            return found
        found._counts |= {name: kept.counts.get(name, 0) for name in OUTCOMES}
        found._similarities, found.saved, found.joined_count = similarities, kept.saved, kept.joined
        found.ahead = kept.ahead
        for step, counts in steps:
            if found._step - STEP_COUNT < step <= found._step:
                found._steps[step % STEP_COUNT] = counts
        return found

    def told(self) -> bytes:
        """At most 100 KB."""
        self._turn()
        steps = range(self._step - STEP_COUNT + 1, self._step + 1)
        rows = [(step, self._steps[step % STEP_COUNT].tolist()) for step in steps]
        kept = _Kept(
            VERSION,
            dict(self._counts.items()),
            self.saved,
            self.joined_count,
            self.similarity_counts,
            [(step, counts) for step, counts in rows if any(counts)],
            self.ahead,
        )
        return msgspec.json.encode(kept)

    def answered(self, outcome: Outcome, *, tokens: int = 0, cost_micro: int = 0) -> None:
        """A request that was answered. tokens, cost_micro: of its answer upstream, whether it was paid or not."""
        self._counts[outcome] += 1
        self.change_count += 1
        self._turn()
        self._steps[self._step % STEP_COUNT, OUTCOMES.index(outcome)] += 1
        saved = self.saved
        if outcome in TOLD_AGAIN:
            self.saved = saved._replace(tokens=saved.tokens + tokens, cost_micro=saved.cost_micro + cost_micro)
        else:
            self.saved = saved._replace(
                spent_tokens=saved.spent_tokens + tokens, spent_micro=saved.spent_micro + cost_micro
            )

    def joined(self) -> None:
        """A request that waits for the same one in flight."""
        self.joined_count += 1
        self.change_count += 1

    def asked_ahead(self) -> None:
        self._ahead(asked=1)

    def given_up(self, *, tokens: int, cost_micro: int) -> None:
        """tokens, cost_micro: that a service may bill all the same."""
        self._ahead(given_up=1)
        saved = self.saved
        self.saved = saved._replace(
            spent_tokens=saved.spent_tokens + tokens, spent_micro=saved.spent_micro + cost_micro
        )

    def outrun(self) -> None:
        self._ahead(outrun=1)

    def _ahead(self, *, asked: int = 0, given_up: int = 0, outrun: int = 0) -> None:
        ahead = self.ahead
        self.ahead = Ahead(ahead.asked + asked, ahead.given_up + given_up, ahead.outrun + outrun)
        self.change_count += 1

    def nearest(self, similarity: float) -> None:
        """How near the nearest remembered question was, told again or not."""
        self.change_count += 1
        self._similarities[min(BIN_COUNT - 1, max(0, int(similarity * BIN_COUNT)))] += 1

    @property
    def counts(self) -> Mapping[Outcome, int]:
        return self._counts

    @property
    def similarity_counts(self) -> list[int]:
        """By twentieth, from 0 to 1."""
        return [int(count) for count in self._similarities]

    @property
    def hit_share(self) -> float | None:
        """Of all requests, those told again while the service answers; None before the first."""
        total = sum(self._counts.values())
        return (self._counts["hit"] + self._counts["semantic"]) / total if total else None

    def history(self, span_s: int) -> tuple[int, list[list[int]]]:
        """The latest `span_s` seconds: seconds of a step, and rows of when it began and its counts."""
        self._turn()
        count = max(1, min(STEP_COUNT, span_s // STEP_S))
        width = -(-count // ROWS_MAX)
        first = (self._step - count + 1) // width * width
        rows = []
        for start in range(first, self._step + 1, width):
            there = range(max(start, self._step - STEP_COUNT + 1), min(start + width, self._step + 1))
            counts = self._steps[[step % STEP_COUNT for step in there]].sum(axis=0)
            rows.append([start * STEP_S, *map(int, counts)])
        return width * STEP_S, rows

    def _now_step(self) -> int:
        return int(self._clock.wall()) // STEP_S

    def _turn(self) -> None:
        """Empties the minutes that have begun since; a clock that was set back goes on in the latest."""
        now = self._now_step()
        for step in range(max(self._step + 1, now - STEP_COUNT + 1), now + 1):
            self._steps[step % STEP_COUNT] = 0
        self._step = max(self._step, now)
