"""A shop that does not exist: goods, tastes and purchases from a written model, by numpy alone.

Goods lie around the centre of their category in a space of 12 tastes, and some are better known than others. What
somebody buys is drawn with odds of exp(2 taste · good + fame), what
they send back with those of exp(fame − 2 taste · good).
"""

from typing import NamedTuple

import numpy as np

CATEGORIES = ("tents", "boots", "jackets", "lamps", "stoves", "bags", "ropes", "maps")
SHOPS = ("harbour", "station", "old town")
GOODS, TASTES, BOUGHT, RETURNED = 1200, 12, 20, 4


class Goods(NamedTuple):
    """places: [n, 12]. fame: [n]. The rest is what a payload says."""

    places: np.ndarray
    fame: np.ndarray
    payloads: list[dict[str, object]]


def goods(rng: np.random.Generator) -> Goods:
    kinds = rng.integers(0, len(CATEGORIES), GOODS)
    centres = rng.standard_normal((len(CATEGORIES), TASTES))
    places = 0.75 * centres[kinds] + 0.66 * rng.standard_normal((GOODS, TASTES))
    prices = np.exp(rng.normal(3.6, 0.8, GOODS)).round(2)
    in_stock, shops = rng.random(GOODS) < 0.8, rng.integers(0, len(SHOPS), GOODS)
    payloads = [
        {"category": CATEGORIES[k], "price": float(p), "in_stock": bool(s), "shop": SHOPS[at]}
        for k, p, s, at in zip(kinds, prices, in_stock, shops, strict=True)
    ]
    return Goods(places, rng.normal(0, 0.8, GOODS), payloads)


def people(rng: np.random.Generator, offered: Goods, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What each bought, int[count, 20], and sent back, int[count, 4]: in no order, nothing twice."""
    tastes = rng.standard_normal((count, TASTES)) / np.sqrt(TASTES)
    liking = 2 * tastes @ offered.places.T
    bought = drawn(rng, liking + offered.fame, BOUGHT)
    np.put_along_axis(liking, bought, np.inf, axis=1)
    returned = drawn(rng, offered.fame - liking, RETURNED)
    return rng.permuted(bought, axis=1), returned


def drawn(rng: np.random.Generator, odds: np.ndarray, count: int) -> np.ndarray:
    """By rows, without putting back: the largest of odds (logarithms) with Gumbel's noise."""
    return np.argsort(-(odds + rng.gumbel(size=odds.shape)), axis=1)[:, :count]
