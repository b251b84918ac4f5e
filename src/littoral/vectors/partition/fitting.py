"""Balanced k-means: centres where points are dense, and prices that leave no cell more than its part.

k-means++ (Arthur, Vassilvitskii 2007) on a sample, Lloyd's steps with prices carried along, and prices fitted on all
rows at the end: surplus goes from cell to cell to the nearest with room (`pricing`).
Whole numbers throughout: the same vectors and seed give the same bytes on every machine.
"""

from collections.abc import Sequence

import numpy as np

from littoral.errors import InputError
from littoral.vectors.partition.cells import CHUNK_ROWS, Cells, cells_of, costs
from littoral.vectors.partition.grid import Whole, grid_for
from littoral.vectors.partition.points import Ints, Vectors
from littoral.vectors.partition.pricing import balanced_prices
from littoral.vectors.records import Distance

__all__ = ["BALANCE_MIN", "fit_cells", "two_means"]

SAMPLE_ROWS, SAMPLE_ROWS_PER_CELL = 1 << 14, 256
PRICED_ROWS = 1 << 18
STEPS, STEPS_WITH_REPAIR = 30, 20
ROUNDS_OF_STEP, ROUNDS = 12, 500
SEED_TRIES = 4
TRIES, NEAREST = 10, 10
TRIAL_ROWS, TRIAL_ROWS_PER_CELL, TRIAL_QUERIES = 1 << 12, 64, 1 << 10
STARVED = 0.4
"""A cell with less than this of the mean is given a new place."""

HALVES_BALANCE = 1.2
BALANCE_MIN = 1.01


def fit_cells(
    vectors: Vectors,
    *,
    distance: Distance,
    shares: Sequence[float],
    seed: int,
    balance: float = 1.25,
    tries: int = TRIES,
) -> Cells:
    """A cell for each share, of which none has more than `balance` times its part of these vectors.

    That bound needs vectors that differ: equal ones share a cell, however many. vectors: float32[n, d], at least one a
    cell; of more than 16,384 a seeded sample places the centres, of more than 262,144 one sets the prices. shares:
    parts of cells against each other. tries: how many k-means are begun, of which the best is taken. Raises InputError.
    """
    count = len(shares)
    if len(vectors) < count or count < 1:
        raise InputError(f"partition by vectors: {len(vectors)} vectors for {count} cells", hint="use fewer shards")
    if balance < BALANCE_MIN:
        raise InputError(f"partition by vectors: balance is {balance}, must be at least {BALANCE_MIN}")
    parts = balance * np.array(shares, np.float64) / sum(shares)
    random = np.random.default_rng(seed)
    grid = grid_for(vectors, distance)
    most = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_CELL * count)
    whole = grid.whole(vectors[_sample(len(vectors), most, random)])
    centres, prices = _stepped(whole, parts, random, _best_begun(whole, parts, random, tries))
    rows = _sample(len(vectors), PRICED_ROWS, random)
    chunks = [rows[at : at + CHUNK_ROWS] for at in range(0, len(rows), CHUNK_ROWS)]
    found = np.concatenate([costs(grid.whole(vectors[chunk]), centres) for chunk in chunks])
    prices = balanced_prices(found, prices, _most(parts, len(rows)), ROUNDS)
    return cells_of(distance, grid, centres, [int(price) for price in prices - prices.min()])


def two_means(whole: Whole, seed: int) -> tuple[Whole, Whole]:
    """Centres float64[2, d] and prices of two halves, neither with more than 3/5 of these points, if they differ."""
    random = np.random.default_rng(seed)
    return _stepped(whole, np.full(2, HALVES_BALANCE / 2), random, _seeded(whole, 2, random))


def _most(parts: Whole, rows: int) -> Ints:
    """Rows of each cell at most; of all together no fewer than there are."""
    found: Ints = np.maximum(np.floor(parts * rows), np.ceil(parts / parts.sum() * rows)).astype(np.int64)
    return found


def _best_begun(whole: Whole, parts: Whole, random: np.random.Generator, count: int) -> Whole:
    """Centres to begin with: of several tries on a smaller sample that which leaves most neighbours together.

    In which optimum k-means ends matters more than how exactly: on sentences the share of neighbours in one cell of
    four differs by a twentieth between tries, while the squared distances hardly do.
    """
    some = whole[_sample(len(whole), max(TRIAL_ROWS, TRIAL_ROWS_PER_CELL * len(parts)), random)]
    if len(parts) == 1 or count == 1 or len(some) <= NEAREST:
        return _seeded(whole, len(parts), random)
    asked = random.permutation(len(some))[:TRIAL_QUERIES]
    nearest = np.argpartition(costs(some[asked], some), NEAREST, axis=1)[:, : NEAREST + 1]
    tries = []
    for _ in range(count):
        centres, prices = _stepped(some, parts, random, _seeded(some, len(parts), random))
        cells = (costs(some, centres) + prices).argmin(axis=1)
        tries.append((int((cells[nearest] == cells[asked, None]).sum()), centres))
    return max(tries, key=lambda one: one[0])[1]


def _stepped(whole: Whole, parts: Whole, random: np.random.Generator, centres: Whole) -> tuple[Whole, Whole]:
    """Centres and prices after Lloyd's steps. Prices fade from step to step: what is no longer crowded gets cheap."""
    most, prices = _most(parts, len(whole)), np.zeros(len(parts))
    for step in range(STEPS):
        found = costs(whole, centres)
        prices = balanced_prices(found, np.floor(prices / 2), most, ROUNDS_OF_STEP)
        cells = (found + prices).argmin(axis=1)
        moved = _means(whole, cells, centres)
        if step < STEPS_WITH_REPAIR:
            _repair(moved, prices, whole, cells, random)
        if (moved == centres).all():
            break
        centres = moved
    return centres, prices


def _repair(centres: Whole, prices: Whole, whole: Whole, cells: Ints, random: np.random.Generator) -> None:
    """Puts the emptiest cell, if it has next to nothing, beside the centre of the widest one."""
    counts = np.bincount(cells, minlength=len(centres))
    starved = int(counts.argmin())
    if counts[starved] >= STARVED * counts.mean():
        return
    squares = (whole * whole).sum(axis=1)
    spread = np.bincount(cells, weights=squares, minlength=len(centres)) - counts * (centres * centres).sum(axis=1)
    widest = int(spread.argmax())
    rows = np.flatnonzero(cells == widest)
    if widest != starved and len(rows):
        centres[starved] = whole[rows[random.integers(len(rows))]]
        prices[starved] = prices[widest]


def _sample(count: int, most: int, random: np.random.Generator) -> Ints:
    if count <= most:
        return np.arange(count)
    return np.sort(random.permutation(count)[:most])


def _seeded(whole: Whole, count: int, random: np.random.Generator) -> Whole:
    """Greedy k-means++: each next centre is, of a few drawn by squared distance, that which leaves least of it."""
    squares = (whole * whole).sum(axis=1)

    def far(row: int) -> Whole:
        distances: Whole = np.maximum(squares - 2 * (whole @ whole[row]) + squares[row], 0.0)
        return distances

    chosen = [int(random.integers(len(whole)))]
    left = far(chosen[0])
    for _ in range(count - 1):
        steps = np.cumsum(left)
        drawn = np.searchsorted(steps, random.random(SEED_TRIES) * steps[-1], side="right")
        tries = [(row, np.minimum(left, far(row))) for row in np.minimum(drawn, len(whole) - 1).tolist()]
        sums = [float(np.cumsum(rest)[-1]) for _, rest in tries]
        row, left = tries[int(np.argmin(sums))]
        chosen.append(row)
    return whole[chosen]


def _means(whole: Whole, cells: Ints, centres: Whole) -> Whole:
    """Centres of the cells; an empty one stays where it was."""
    counts = np.bincount(cells, minlength=len(centres))
    ends = np.cumsum(counts).tolist()
    order = np.argsort(cells, kind="stable")
    moved = centres.copy()
    for cell in np.flatnonzero(counts).tolist():
        count = int(counts[cell])
        moved[cell] = np.rint(whole[order[ends[cell] - count : ends[cell]]].sum(axis=0) / count)
    return moved
