"""What became of requests, since the start and by minute; what was saved; how near the nearest questions were."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from littoral.clock import SYSTEM, Clock

__all__ = ["OUTCOMES", "Outcome", "Saved", "Tally"]

Outcome = Literal["hit", "semantic", "miss", "explore", "stale", "off"]
"""As the header `x-littoral-cache` says it."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
TOLD_AGAIN = frozenset({"hit", "semantic", "stale"})
STEP_S = 60
STEP_COUNT = 24 * 60
BIN_COUNT = 20
ROWS_MAX = 144


class Saved(NamedTuple):
    """Tokens and millionths of the currency: of answers told again, and of those that were paid for."""

    tokens: int = 0
    cost_micro: int = 0
    spent_tokens: int = 0
    spent_micro: int = 0


class Tally:
    """One tenant's. A day is kept by minute; all of it is bounded. For one thread."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._steps = np.zeros((STEP_COUNT, len(OUTCOMES)), np.uint32)
        self._step = self._now_step()
        self._similarities = np.zeros(BIN_COUNT, np.int64)
        self.saved = Saved()
        self.joined_count = 0

    def answered(self, outcome: Outcome, *, tokens: int = 0, cost_micro: int = 0) -> None:
        """A request that was answered. tokens, cost_micro: of its answer upstream, whether it was paid or not."""
        self._counts[outcome] += 1
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

    def nearest(self, similarity: float) -> None:
        """How near the nearest remembered question was, told again or not."""
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
