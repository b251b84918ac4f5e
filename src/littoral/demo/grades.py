"""From answers to figures: hit rates, scores, times, and whether the demo's promise holds."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from littoral.demo.questions import Question, is_hit

__all__ = ["Grades", "Hit", "Reply", "grades_of"]

HIT_RATE_MIN = 0.95
KIND_HIT_RATE_MIN = 0.90


class Hit(NamedTuple):
    source: str
    seconds: float
    score: float


class Reply(NamedTuple):
    """What one question got. stages_ms: by step. total_ms: from sending to having read the answer."""

    question: Question
    hits: tuple[Hit, ...]
    stages_ms: dict[str, float]
    total_ms: float

    @property
    def rank(self) -> int | None:
        """Place of the first hit, from 1; None if there is none, or nothing to be found."""
        if not self.question.is_related:
            return None
        asked = self.question.picture
        found = (i for i, hit in enumerate(self.hits, 1) if is_hit(asked, hit.source, hit.seconds))
        return next(found, None)

    @property
    def best_score(self) -> float:
        return self.hits[0].score if self.hits else 0.0


class Grades(NamedTuple):
    """Shares are of the questions of that kind. gap: 5th percentile of hits' scores − 95th of unrelated pictures'."""

    hit_rate: float
    rank_1_rate: float
    hit_rate_by_kind: dict[str, float]
    score_of_hits: float
    score_of_unrelated: float
    gap: float
    p50_ms: float
    p95_ms: float
    stages_p50_ms: dict[str, float]

    @property
    def is_good(self) -> bool:
        return self.hit_rate >= HIT_RATE_MIN and min(self.hit_rate_by_kind.values()) >= KIND_HIT_RATE_MIN

    def as_json(self) -> dict[str, Any]:
        rounded = {
            key: {k: round(v, 4) for k, v in value.items()} if isinstance(value, dict) else round(value, 4)
            for key, value in self._asdict().items()
        }
        return rounded | {"is_good": self.is_good}


def grades_of(replies: Sequence[Reply]) -> Grades:
    """replies: at least one to a related question and one to an unrelated."""
    related = [r for r in replies if r.question.is_related]
    found = [r.best_score for r in related if r.rank is not None]
    unrelated = [r.best_score for r in replies if not r.question.is_related]
    kinds = dict.fromkeys(r.question.kind for r in related)
    times = [r.total_ms for r in replies]
    return Grades(
        hit_rate=_share(r.rank is not None for r in related),
        rank_1_rate=_share(r.rank == 1 for r in related),
        hit_rate_by_kind={k: _share(r.rank is not None for r in related if r.question.kind == k) for k in kinds},
        score_of_hits=_quantile(found, 50),
        score_of_unrelated=_quantile(unrelated, 50),
        gap=_quantile(found, 5) - _quantile(unrelated, 95),
        p50_ms=_quantile(times, 50),
        p95_ms=_quantile(times, 95),
        stages_p50_ms={stage: _quantile([r.stages_ms[stage] for r in related], 50) for stage in related[0].stages_ms},
    )


def _share(holds: Iterable[bool]) -> float:
    return float(np.mean([*holds]))


def _quantile(values: Sequence[float], percent: int) -> float:
    return float(np.percentile(values, percent)) if values else 0.0
