"""Lessons for the model of shares: what each shard held, beside what was to be seen of it before it was asked."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.likelihood import FEATURES, features
from littoral.vectors.routing.plan import Planner
from littoral.vectors.routing.rehearsal import TIE, Answers, nearest_of, rounds

__all__ = ["lessons"]

ROUNDS = 3


def lessons(planner: Planner, local: Sequence[int], queries: npt.ArrayLike, answers: Answers) -> tuple[Floats, Floats]:
    """For `fit_shares`, from the first rounds of these queries' ways: features, and true shares of what was missing.

    planner: without a model. Queries that are learned from are not to be calibrated on.
    """
    sight = planner.table.see(queries)
    last = nearest_of(answers, np.ones(sight.bounds.shape, bool))
    last = np.where(np.isfinite(last), last, -np.inf).max(axis=1)
    is_true = answers.distances <= last[:, None, None] + TIE
    told, shares = [np.zeros((0, len(FEATURES)))], [np.zeros(0)]
    for _, state in zip(range(ROUNDS), rounds(planner, local, sight, answers), strict=False):
        rows, now = state.was, state.now
        has_answered = state.has_answered[rows]
        seen = sight.rows(rows)
        every = features(seen.nearest, seen.bounds, has_answered, state.hits[rows], now.shares, now.found)
        told.append(every[now.is_open])
        shares.append(_missing(answers.ids[rows], is_true[rows], has_answered)[now.is_open])
    return np.concatenate(told), np.concatenate(shares)


def _missing(ids: npt.NDArray[np.int64], is_true: npt.NDArray[np.bool_], has_answered: npt.NDArray[np.bool_]) -> Floats:
    """float64[q, s]: true hits of each shard that no shard which answered has told, as shares of k."""
    is_new = np.zeros_like(is_true)
    for row, of_query in enumerate(ids):
        known = of_query[has_answered[row]][is_true[row][has_answered[row]]]
        is_new[row] = is_true[row] & ~np.isin(of_query, known)
    return np.asarray(is_new.sum(axis=2) / ids.shape[2])
