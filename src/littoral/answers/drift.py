"""Whether judgements still come out as they did: bets that do not win for long while nothing has changed.

Capital is multiplied by how much likelier a judgement is if wrong answers have become so many times as likely, and set
back to 1 where it falls below (an e-detector, Shin, Ramdas and Rinaldo, arXiv 2203.03532). While wrong answers are no
likelier than was said, the mean capital reaches c once in c judgements or less often, on average.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["TIMES", "Bets"]

TIMES = np.array([2.0, 4.0, 10.0, 30.0])
"""How many times the odds of a wrong answer may have become."""

RISK_MIN, RISK_MAX = 1e-6, 0.999


class Bets:
    def __init__(self, capital: Sequence[float] = (1.0,) * len(TIMES)) -> None:
        self._capital = np.array(capital, np.float64)

    @property
    def capital(self) -> float:
        return float(self._capital.mean())

    def judgement(self, risk: float, is_correct: bool) -> None:
        """risk: a wrong answer was at most so likely, if nothing has changed."""
        p = min(max(risk, RISK_MIN), RISK_MAX)
        changed = TIMES * p / (1 - p + TIMES * p)
        won = (1 - changed) / (1 - p) if is_correct else changed / p
        self._capital = np.maximum(self._capital * won, 1.0)

    def told(self) -> list[float]:
        return [float(one) for one in self._capital]
