"""The ways that queries would have gone, once all shards have answered them: what calibration and audit learn from.

A way does not depend on the level at which it stops: which nodes come next follows from what has been found alone. So
one rehearsal tells, for every level, where each query would have stopped and what share of its true top k it had there.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.plan import Planner
from littoral.vectors.routing.shares import Outlook, outlook
from littoral.vectors.routing.table import Sight

__all__ = ["TIE", "Answers", "State", "Ways", "nearest_of", "recalls_of", "rehearse", "rounds"]

TIE = 1e-10
"""A hit that is farther than the k-th true one by no more counts as one (ann-benchmarks)."""


class Answers(NamedTuple):
    """What every shard answers: ids int64[q, s, k] and distances float64[q, s, k], ascending, +inf where there is none.

    Ids may be any numbers that are the same for the same point.
    """

    ids: npt.NDArray[np.int64]
    distances: Floats


class Ways(NamedTuple):
    """By query and number of rounds, float64[q, r]: the share that was thought to be found, +inf where the way had
    ended; its true share; how many nodes had been asked.
    """

    found: Floats
    recalls: Floats
    nodes: Floats

    @classmethod
    def joined(cls, parts: Sequence["Ways"]) -> "Ways":
        """One after the other."""
        rounds = max(part.found.shape[1] for part in parts)
        padded = [[_padded(column, rounds) for column in part] for part in parts]
        return cls(*(np.concatenate(columns) for columns in zip(*padded, strict=True)))

    def rows(self, rows: npt.NDArray[np.int64] | slice) -> "Ways":
        """Only those queries, in that order."""
        return Ways(*(column[rows] for column in self))

    def at(self, level: float) -> npt.NDArray[np.int64]:
        """The round in which each query stops."""
        return np.asarray((self.found >= level).argmax(axis=1))


class State(NamedTuple):
    """Before a round. rows: of the queries that go on; now: of all those of the round before, `was`; the others: of all
    queries.
    """

    was: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    now: Outlook
    has_answered: npt.NDArray[np.bool_]
    hits: Floats
    nodes: Floats


def rehearse(
    planner: Planner,
    local: Sequence[int],
    queries: npt.ArrayLike,
    answers: Answers,
    *,
    limits: Floats | None = None,
    selectivity: float = 1.0,
    barren: Sequence[int] = (),
) -> Ways:
    """local: shards of the asking node itself. queries: float32[q, size]. limits: of thresholds, as distances. barren:
    shards that the filter of all of them rules out.
    """
    sight = planner.table.see(queries).without([planner.table.index[shard] for shard in barren])
    true = nearest_of(answers, np.ones(sight.bounds.shape, bool))
    found, recalls, asked = [], [], []
    for state in rounds(planner, local, sight, answers, limits=limits, selectivity=selectivity):
        told = np.full(len(true), np.inf)
        told[state.rows] = state.now.found[np.isin(state.was, state.rows)]
        found.append(told)
        recalls.append(recalls_of(state.hits, true))
        asked.append(state.nodes)
    return Ways(*(np.stack(column, axis=1) for column in (found, recalls, asked)))


def rounds(
    planner: Planner,
    local: Sequence[int],
    sight: Sight,
    answers: Answers,
    *,
    limits: Floats | None = None,
    selectivity: float = 1.0,
) -> Iterator[State]:
    """The states of all queries, until none of them goes on."""
    table, count = planner.table, len(sight.bounds)
    limits = np.full(count, np.inf) if limits is None else limits
    has_answered = np.zeros((count, len(table.shards)), bool)
    has_answered[:, [table.index[shard] for shard in local]] = True
    hits = nearest_of(answers, has_answered)
    nodes, rows = np.zeros(count), np.arange(count)
    while len(rows):
        now = outlook(
            table,
            sight.rows(rows),
            has_answered[rows],
            hits[rows],
            limits=limits[rows],
            selectivity=selectivity,
            model=planner.model,
        )
        before, asked, was = has_answered.copy(), nodes.copy(), rows
        rows = _step(planner, was, now, has_answered, nodes)
        yield State(was, rows, now, before, hits.copy(), asked)
        hits[rows] = nearest_of(Answers(answers.ids[rows], answers.distances[rows]), has_answered[rows])


def _padded(column: Floats, rounds: int) -> Floats:
    """Where a way has ended, it stays."""
    return np.concatenate([column, np.repeat(column[:, -1:], rounds - column.shape[1], axis=1)], axis=1)


def _step(
    planner: Planner,
    rows: npt.NDArray[np.int64],
    now: Outlook,
    has_answered: npt.NDArray[np.bool_],
    nodes: Floats,
) -> npt.NDArray[np.int64]:
    """Marks what the next round's nodes answer; the rows that have one."""
    going = []
    for at, row in enumerate(rows):
        chosen = planner.choose(now.row(at))
        if not chosen:
            continue
        nodes[row] += len(chosen)
        has_answered[row, [planner.table.index[shard] for shards in chosen.values() for shard in shards]] = True
        going.append(row)
    return np.array(going, np.int64)


def nearest_of(answers: Answers, has_answered: npt.NDArray[np.bool_]) -> Floats:
    """float64[q, k]: distances of the nearest points among these shards' answers, each point once."""
    count, shards, k = answers.distances.shape
    distances = np.where(has_answered[:, :, None], answers.distances, np.inf).reshape(count, shards * k)
    ids = answers.ids.reshape(count, shards * k)
    order = np.lexsort((ids, distances))
    distances, ids = np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
    again = (ids[:, 1:] == ids[:, :-1]) & np.isfinite(distances[:, 1:])
    distances[:, 1:][again] = np.inf
    return np.asarray(np.sort(distances, axis=1)[:, :k])


def recalls_of(hits: Floats, true: Floats) -> Floats:
    """float64[q]: shares of the true nearest that are among the hits; both are distances as `nearest_of` has them."""
    there = np.isfinite(true)
    last = np.where(there, true, -np.inf).max(axis=1)
    got = ((hits <= last[:, None] + TIE) & np.isfinite(hits)).sum(axis=1)
    wanted = there.sum(axis=1)
    return np.where(wanted > 0, np.minimum(got, wanted) / np.maximum(wanted, 1), 1.0)
