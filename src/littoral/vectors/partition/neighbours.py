"""How much shards have to do with each other, and blocks of those that have much."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from littoral.vectors.partition.cells import costs
from littoral.vectors.partition.grid import grid_for
from littoral.vectors.partition.points import Points, Vectors
from littoral.vectors.partition.strategy import Hybrid, Strategy
from littoral.vectors.records import Distance

__all__ = ["Ties", "in_blocks", "ties_between"]

Ties = npt.NDArray[np.float64]
"""float64[n, n], symmetric, zeros on the diagonal: how often a query of one shard needs the other."""

FULL = 1.1
SWEEPS = 100
NEAREST = 10
POINTS_MAX, QUERIES_MAX, QUERIES_AT_ONCE = 1 << 15, 1024, 64


def ties_between(strategy: Strategy, vectors: Vectors, distance: Distance, *, seed: int = 0) -> Ties:
    """By the order of `strategy.shards`: how often the ten nearest of a vector lie in both, among a sample of these.

    Shards of one outer cell have 1 more, which is more than any others have: they are meant for one node.
    """
    random = np.random.default_rng(seed)
    some = vectors[np.sort(random.permutation(len(vectors))[:POINTS_MAX])]
    whole = grid_for(some, distance).whole(some)
    home = np.searchsorted(np.sort(strategy.shards), strategy.place(Points(range(len(some)), some)).home)
    home = np.argsort(strategy.shards, kind="stable")[home]
    asked = random.permutation(len(some))[:QUERIES_MAX]
    count, near = len(strategy.shards), min(NEAREST, len(some) - 1)
    found = np.zeros((count, count))
    for at in range(0, len(asked) if near > 0 else 0, QUERIES_AT_ONCE):
        nearest = np.argpartition(costs(whole[asked[at : at + QUERIES_AT_ONCE]], whole), near, axis=1)[:, :near]
        shares = np.stack([np.bincount(home[row], minlength=count) for row in nearest]) / near
        found += shares.T @ shares
    found /= max(1, len(asked))
    if isinstance(strategy, Hybrid):
        outer = np.repeat(np.arange(len(strategy.parts)), [len(part.shards) for part in strategy.parts])
        found += outer[:, None] == outer[None, :]
    np.fill_diagonal(found, 0.0)
    return found


def in_blocks(ties: Ties, sizes: Sequence[int], blocks: int) -> list[list[int]]:
    """Members of each block: blocks about equally large, with as much as possible of the ties within them.

    Greedy growth, then exchanges of two as long as one helps (Kernighan, Lin 1970).
    """
    block = _grown(ties, np.array(sizes, np.float64), blocks)
    _exchange(ties, np.array(sizes, np.float64), block, blocks)
    return [np.flatnonzero(block == number).tolist() for number in range(blocks)]


def _grown(ties: Ties, sizes: npt.NDArray[np.float64], blocks: int) -> npt.NDArray[np.int64]:
    """Each block begins with what has least to do with those before, and takes its nearest until it is full."""
    block = np.full(len(sizes), -1)
    for number in range(blocks):
        left = block < 0
        most = sizes[left].sum() / (blocks - number)
        taken = int(np.where(left, ties[:, ~left].sum(axis=1), np.inf).argmin())
        block[taken], held = number, sizes[taken]
        while (left := block < 0).any() and left.sum() > blocks - number - 1:
            best = int(np.where(left, ties[:, block == number].sum(axis=1), -np.inf).argmax())
            if number < blocks - 1 and held + sizes[best] / 2 > most:
                break
            block[best] = number
            held += sizes[best]
    return block


def _exchange(ties: Ties, sizes: npt.NDArray[np.float64], block: npt.NDArray[np.int64], blocks: int) -> None:
    most = FULL * max(sizes.sum() / blocks, float(np.bincount(block, weights=sizes, minlength=blocks).max()))
    for _ in range(SWEEPS):
        to_blocks = np.stack([ties[:, block == number].sum(axis=1) for number in range(blocks)], axis=1)
        own = to_blocks[np.arange(len(block)), block]
        gains = to_blocks[:, block].T - own[:, None]
        gains = gains + gains.T - 2 * ties
        held = np.bincount(block, weights=sizes, minlength=blocks)
        after = held[block][:, None] - sizes[:, None] + sizes[None, :]
        gains[(block[:, None] == block[None, :]) | (after > most) | (most < after.T)] = 0.0
        first, second = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[first, second] <= 1e-12:
            return
        block[first], block[second] = block[second], block[first]
