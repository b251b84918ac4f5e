"""Vectors for tests of partitions."""

import numpy as np

from littoral.vectors.partition.points import Vectors
from littoral.vectors.records import Distance

METRICS: tuple[Distance, ...] = ("Cosine", "Euclid")


def clustered(count: int, size: int, seed: int, clusters: int = 7) -> Vectors:
    """Clusters of unlike weight, so that plain k-means is far from even."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, size))
    weights = np.arange(1, clusters + 1) ** 2.0
    found = centres[random.choice(clusters, count, p=weights / weights.sum())]
    return (found + 0.4 * random.normal(size=(count, size))).astype(np.float32)
