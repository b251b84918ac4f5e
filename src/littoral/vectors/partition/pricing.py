"""Prices of cells with which none is too full.

The dual of a transport problem, by shortest paths: what is too much in a cell goes, over the cells between, to the
nearest with room; the nearest is where the way adds the least to the costs. Every cell on the way rises by what the way
from there on adds, so that on each border of it a batch of points crosses.
"""

import numpy as np

from littoral.vectors.partition.grid import Whole
from littoral.vectors.partition.points import Ints

__all__ = ["balanced_prices"]


def balanced_prices(costs: Whole, prices: Whole, most: Ints, rounds: int) -> Whole:
    """Prices with which no cell has more than its `most`, or the nearest to it that was come by.

    costs: without prices, float64[n, cells], whole numbers. prices: to begin with. most: int64[cells], in all ≥ n.
    """
    count = len(most)
    best, least = prices, np.inf
    for _ in range(rounds):
        total = costs + prices
        cells = total.argmin(axis=1)
        counts = np.bincount(cells, minlength=count)
        if (fullest := float((counts / most).max())) < least:
            best, least = prices, fullest
        if least <= 1.0:
            break
        prices = prices + _rises(total, cells, counts, most)
    return best


def _rises(total: Whole, cells: Ints, counts: Ints, most: Ints) -> Whole:
    """What prices must rise by for half of the largest surplus to leave."""
    room = most - counts
    worst = int(room.argmin())
    batch = min(max(1, -int(room[worst]) // 2), int(room.max()))
    lengths = _lengths(_thresholds(total, cells, counts, batch), worst)
    target = int(np.where(room >= batch, lengths, np.inf).argmin())
    rises: Whole = np.maximum(lengths[target] - lengths, 0.0)
    return rises


def _thresholds(total: Whole, cells: Ints, counts: Ints, batch: int) -> Whole:
    """float64[cells, cells]: by how much the first must rise against the second for `batch` points to go over."""
    found = np.full((len(counts), len(counts)), np.inf)
    for cell in np.flatnonzero(counts).tolist():
        own = total[cells == cell]
        gaps = own - own[:, cell : cell + 1]
        at = min(batch, len(own)) - 1
        found[cell] = np.partition(gaps, at, axis=0)[at] + 1
    return found


def _lengths(edges: Whole, source: int) -> Whole:
    """Of the shortest way from `source` to each (Dijkstra)."""
    lengths = np.full(len(edges), np.inf)
    lengths[source] = 0.0
    is_open = np.ones(len(edges), bool)
    for _ in range(len(edges)):
        nearest = int(np.where(is_open, lengths, np.inf).argmin())
        is_open[nearest] = False
        lengths = np.where(is_open, np.minimum(lengths, lengths[nearest] + edges[nearest]), lengths)
    return lengths
