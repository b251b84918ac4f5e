"""Which nodes to ask next, or that it is enough: one `Route` a query, from the local answers to the last reply.

    route = planner.route(vector, k)
    route.answered(local_shards, ids, scores)
    while isinstance(step := route.next(), Ask):
        ... ask step.nodes, all at once; for each that answers `route.answered`, for each that does not `route.failed`
    step.certified, step.expected_recall

It stops where no shard can improve the answer (certified), or where the share of the true top k that is thought to be
found reaches the calibration's level. Pure, for one thread.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import PointId
from littoral.vectors.routing.distances import Floats, from_scores
from littoral.vectors.routing.levels import ALL, Calibration
from littoral.vectors.routing.likelihood import ShareModel
from littoral.vectors.routing.shares import Outlook, outlook
from littoral.vectors.routing.table import SummaryTable

__all__ = ["Ask", "Enough", "Planner", "Route"]

TOGETHER = 0.5
"""Nodes that promise at least so much of what the best one promises are asked in the same round."""

LEAST_SHARE = 1e-9
"""Of a shard that is not ruled out, however little is expected of it: it can still be asked."""


class Ask(NamedTuple):
    """Nodes, and of which shards each is to answer. expected_recall: of what has been found so far."""

    nodes: Mapping[str, tuple[int, ...]]
    expected_recall: float


class Enough(NamedTuple):
    """certified: provably the true top k. unreachable: shards that could improve it, and that nobody has."""

    certified: bool
    expected_recall: float
    unreachable: tuple[int, ...]


class Planner:
    """holders: nodes that hold each shard, this node left out. costs: of asking a node, by name, 1 where nothing is
    said; what a node promises is divided by it. model: as `learned`; a calibration holds for the model that it was
    made with.
    """

    def __init__(
        self,
        table: SummaryTable,
        holders: Mapping[int, Collection[str]],
        *,
        costs: Mapping[str, float] | None = None,
        model: ShareModel | None = None,
    ) -> None:
        self.table, self.costs, self.model = table, costs or {}, model
        held: dict[str, list[int]] = {}
        for shard, nodes in holders.items():
            for node in nodes:
                held.setdefault(node, []).append(table.index[shard])
        self.held = {node: np.array(sorted(held[node])) for node in sorted(held)}

    def route(
        self,
        query: npt.ArrayLike,
        k: int,
        *,
        calibration: Calibration | None = None,
        threshold: float | None = None,
        selectivity: float = 1.0,
        barren: Collection[int] = (),
    ) -> "Route":
        """query: float32[size]. calibration: of the query's class; without one, every shard is asked that is not ruled
        out. threshold: a score; hits that are no better are left out. selectivity: the share of points that the
        search's filter lets through, as far as one knows. barren: shards that have none of these, provably.
        """
        limit = math.inf
        if threshold is not None:
            limit = float(from_scores(threshold, self.table.distance))
        return Route(self, query, k, limit, selectivity, calibration, barren)

    def choose(
        self,
        outlook_of_one: Outlook,
        *,
        is_lost: npt.NDArray[np.bool_] | bool = False,
        together: float = TOGETHER,
    ) -> dict[str, tuple[int, ...]]:
        """Nodes for the next round, best first, and what each is to answer; none where nobody holds an open shard.

        outlook_of_one: of a single query. is_lost: bool[s], shards that are asked for no more. together: 0 = all at
        once, as few nodes as hold them.
        """
        left = np.where(outlook_of_one.is_open[0] & ~np.asarray(is_lost), outlook_of_one.shares[0] + LEAST_SHARE, 0.0)
        nodes = list(self.held)
        chosen: dict[str, tuple[int, ...]] = {}
        least = 0.0
        while nodes:
            gains = [float(left[self.held[node]].sum()) / self.costs.get(node, 1.0) for node in nodes]
            best = max(range(len(nodes)), key=gains.__getitem__)
            if gains[best] <= 0 or gains[best] < least:
                break
            least = least or gains[best] * together
            node = nodes.pop(best)
            rows = self.held[node][left[self.held[node]] > 0]
            chosen[node] = tuple(self.table.shards[row] for row in rows)
            left[rows] = 0.0
        return chosen


class Route:
    """One query's way. Made by `Planner.route`."""

    def __init__(
        self,
        planner: Planner,
        query: npt.ArrayLike,
        k: int,
        limit: float,
        selectivity: float,
        calibration: Calibration | None,
        barren: Collection[int],
    ) -> None:
        self._planner, self._table = planner, planner.table
        self._sight = self._table.see(query)
        if barren:
            self._sight = self._sight.without([self._table.index[shard] for shard in barren])
        self._k, self._limits, self._selectivity = k, np.array([limit]), selectivity
        self._level = ALL if calibration is None else calibration.level
        self._calibration = calibration
        if calibration is not None and calibration.asks_every:
            self._sight = self._sight.blind()
        self._has_answered = np.zeros((1, len(self._table.shards)), bool)
        self._nearest: dict[PointId, float] = {}
        self._is_lost = np.zeros(len(self._table.shards), bool)

    def answered(self, shards: Iterable[int], ids: Sequence[PointId], scores: Sequence[float]) -> None:
        """These shards' hits came, their top k together or more; scores as the store has them."""
        for shard in shards:
            self._has_answered[0, self._table.index[shard]] = True
        distances = from_scores(scores, self._table.distance).tolist()
        for point, distance in zip(ids, distances, strict=True):
            self._nearest[point] = min(distance, self._nearest.get(point, math.inf))
        if len(self._nearest) > self._k:
            nearest = sorted(self._nearest.items(), key=lambda item: item[1])
            self._nearest = dict(nearest[: self._k])

    def lost(self, shards: Iterable[int]) -> None:
        """None of those that hold them has answered: they are asked for no more."""
        for shard in shards:
            self._is_lost[self._table.index[shard]] = True

    def next(self) -> Ask | Enough:
        """Whom to ask now; `Enough` where the level is reached, or nobody is left."""
        now = outlook(
            self._table,
            self._sight,
            self._has_answered,
            self._hits(),
            limits=self._limits,
            selectivity=self._selectivity,
            model=self._planner.model,
        )
        found = float(now.found[0])
        if not now.is_open.any():
            return Enough(True, 1.0, ())
        is_enough = found >= self._level
        told = found if self._calibration is None else self._calibration.expected(found)
        together = TOGETHER if self._level < ALL else 0.0
        nodes = {} if is_enough else self._planner.choose(now, is_lost=self._is_lost, together=together)
        if nodes:
            return Ask(nodes, told)
        return Enough(False, told, self._unreachable(now.is_open[0]))

    def _hits(self) -> Floats:
        hits = np.full((1, self._k), np.inf)
        nearest = sorted(self._nearest.values())
        hits[0, : len(nearest)] = nearest
        return hits

    def _unreachable(self, is_open: npt.NDArray[np.bool_]) -> tuple[int, ...]:
        held = np.concatenate([np.zeros(0, np.int64), *self._planner.held.values()])
        is_out_of_reach = self._is_lost | ~np.isin(np.arange(len(self._is_lost)), held)
        return tuple(self._table.shards[row] for row in np.flatnonzero(is_open & is_out_of_reach))
