"""Whether questions lie elsewhere than those that were judged: another embedder, another language, other topics.

Answers may be right as before, so that no judgement tells of it; but what was counted was counted of other questions.
A question is looked at along the line from the mean of the first ones to that of the newest ones before it. Where
nothing has moved that line is noise, and one in ten questions lies as far out as the outermost tenth of other first
ones. Bets against that are those of `littoral.answers.drift`.
"""

import base64
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from littoral.answers.drift import Bets

__all__ = ["Moved"]

Floats = npt.NDArray[np.float64]

SIZE = 32
"""Numbers that are left of a vector: sums with signs by lot, which keep how far means lie apart."""
FIRST = 128
"""Questions that are compared with: of every other one the mean, among the rest later ones are ranked."""
NEWEST = 0.98
OUTER, OUTER_MAX = 0.1, 0.25
"""The outer part, and how often a question may lie there: more, as few are ranked."""
CAPITAL_MAX = 10_000.0


class Moved:
    """Kept over restarts by `told` and `of`."""

    def __init__(self) -> None:
        self._first = np.zeros((0, SIZE))
        self._newest = np.zeros(SIZE)
        self._bets = Bets()

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Raises ValueError where it is of another shape."""
        found = cls()
        rows = np.frombuffer(base64.b64decode(told["rows"]), "<f2").astype(np.float64)
        if len(rows) % SIZE or not SIZE <= len(rows) <= (FIRST + 1) * SIZE or not np.isfinite(rows).all():
            raise ValueError("other questions")
        found._newest, found._first = rows[:SIZE], rows[SIZE:].reshape(-1, SIZE)
        found._bets = Bets(told["bets"])
        return found

    def told(self) -> dict[str, Any]:
        rows = np.concatenate([self._newest, self._first.ravel()]).astype("<f2")
        return {"rows": base64.b64encode(rows.tobytes()).decode(), "bets": self._bets.told()}

    def question(self, vector: npt.NDArray[np.floating[Any]]) -> bool:
        """Whether questions have moved; then this is the first of those to come. vector: of unit length."""
        found = np.asarray(vector, np.float64) @ _signs(len(vector))
        if len(self._first) < FIRST:
            self._first = np.vstack([self._first, found])
            self._newest = self._first.mean(0)
            return False
        line = self._newest - self._first[::2].mean(0)
        outer = float(np.quantile(self._first[1::2] @ line, 1 - OUTER))
        self._bets.judgement(OUTER_MAX, bool(found @ line <= outer))
        self._newest = NEWEST * self._newest + (1 - NEWEST) * found
        if self._bets.capital < CAPITAL_MAX:
            return False
        self._first, self._bets = found[None], Bets()
        return True


_SIGNS: dict[int, Floats] = {}


def _signs(size: int) -> Floats:
    """As many rows as a vector has numbers; the same in every process."""
    if size not in _SIGNS:
        _SIGNS[size] = np.random.default_rng(size).choice([-1.0, 1.0], (size, SIZE)) / np.sqrt(SIZE)
    return _SIGNS[size]
