"""Sound for a voice activity detector, in the chunks that it takes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

RATE = 16000


def chunks() -> Iterator[Any]:
    """Two seconds of silence, noise and something like a voice, 512 samples each with the 64 before them."""
    at = np.arange(2 * RATE) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 3 * at)) / RATE
    voice = sum(np.sin(n * pitch) * np.exp(-(((n * 120 - f) / 250) ** 2)) for n in range(1, 30) for f in (600, 1400))
    syllables = np.clip(np.sin(2 * np.pi * 4 * at), 0, 1) * (at > 0.7)
    noise = np.random.default_rng(4).normal(0, 0.01, len(at)) * (at > 0.3)
    sound = np.pad((0.2 * voice * syllables + noise).astype(np.float32), (64, 0))
    for start in range(0, len(at) - 511, 512):
        yield sound[None, start : start + 576]
