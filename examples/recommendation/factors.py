"""Alternating least squares for implicit feedback (Hu, Koren and Volinsky 2008), in numpy.

A purchase weighs 1 + `WEIGHT` times as much as none; of people and goods each gets `SIZE` numbers.
"""

import numpy as np

SIZE, WEIGHT, SHRINK, ROUNDS = 16, 10.0, 10.0, 8


def learn(rng: np.random.Generator, bought: np.ndarray, goods_count: int) -> np.ndarray:
    """Vectors of goods, float64[goods, 16], of unit length in the mean. bought: int[people, k]."""
    goods = 0.1 * rng.standard_normal((goods_count, SIZE))
    seen = np.zeros((len(bought), goods_count))
    np.put_along_axis(seen, bought, 1.0, axis=1)
    for _ in range(ROUNDS):
        goods = solve(seen.T, solve(seen, goods))
    return goods / np.linalg.norm(goods, axis=1).mean()


def solve(seen: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The best vectors for the rows of `seen` (0 or 1), [rows, others], while those of the others stay."""
    gram = others.T @ others + SHRINK * np.eye(SIZE)
    extra = np.einsum("ro,of,og->rfg", WEIGHT * seen, others, others, optimize=True)
    return np.linalg.solve(gram + extra, (1 + WEIGHT) * (seen @ others)[:, :, None])[:, :, 0]
