"""One curve for all entries of a tenant: how likely an answer is wrong, by the evidence on its entry.

Logistic regression, learned one judgement at a time: a Newton step with the information so far. Coefficients keep to
their directions. The past fades, so that it can learn anew. Its risks are an order only: what they are worth is counted
by `littoral.answers.levels`.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from littoral.answers.evidence import DIRECTIONS, START

__all__ = ["Pooled"]

Floats = NDArray[np.float64]

FADING = 0.9995
PRIOR = 1.0
STEP_MAX = 0.5
NOTHING_KNOWN = PRIOR * np.eye(len(START))
ODDS_MAX = 30.0


class Pooled:
    """count: judgements that were learned from, or what they still weigh."""

    def __init__(self) -> None:
        self._at: Floats = START.copy()
        self._information: Floats = NOTHING_KNOWN.copy()
        self.count = 0

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Raises ValueError where it is of another shape."""
        found = cls()
        at, information = np.array(told["at"], np.float64), np.array(told["information"], np.float64)
        if at.shape != START.shape or information.shape != found._information.shape:
            raise ValueError("another number of coefficients")
        if not (np.isfinite(at).all() and np.isfinite(information).all()):
            raise ValueError("coefficients that are no numbers")
        found._at, found._information, found.count = at, information, int(told["count"])
        return found

    def told(self) -> dict[str, Any]:
        return {"at": self._at.tolist(), "information": self._information.tolist(), "count": self.count}

    @property
    def coefficients(self) -> list[float]:
        found: list[float] = self._at.tolist()
        return found

    def odds(self, evidence: Sequence[float]) -> float:
        """Log odds of a wrong answer, as far as the curve is right."""
        found = sum(a * b for a, b in zip(self.coefficients, evidence, strict=True))
        return min(max(found, -ODDS_MAX), ODDS_MAX)

    def risk(self, evidence: Sequence[float]) -> float:
        return 1 / (1 + math.exp(-self.odds(evidence)))

    def learn(self, evidence: Sequence[float], is_correct: bool) -> None:
        row, p = np.asarray(evidence), self.risk(evidence)
        faded = FADING * self._information + (1 - FADING) * NOTHING_KNOWN
        self._information = faded + max(p * (1 - p), 1e-4) * np.outer(row, row)
        step = np.linalg.solve(self._information, row * ((not is_correct) - p))
        step *= min(1.0, STEP_MAX / max(float(np.abs(step).max()), 1e-12))
        moved = self._at + step
        self._at = np.where(DIRECTIONS * moved < 0, 0.0, moved)
        self.count += 1

    def doubt(self, count: int) -> None:
        """From here on what was learned weighs no more than so many judgements."""
        self._information = self._information * min(1.0, count / max(self.count, 1)) + NOTHING_KNOWN
        self.count = min(self.count, count)
