"""What the agent `spectrum` computes, in numpy: to train by, and to test the agent against."""

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "spectrum"]

BINS = 256
PART, HOP = 2048, 1024
FLOOR = 1e-3

Array = npt.NDArray[np.float32]


def spectrum(samples: Array) -> Array:
    """float32[256] of log power, relative to its mean.

    Mean over parts of 2048 samples that overlap by half, each under a Hann window (Welch's method), and over the lines
    of the transform that fall in one bin.
    """
    taper = np.hanning(PART + 1)[:-1]
    parts = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), PART)[::HOP]
    power = (np.abs(np.fft.rfft(parts * taper)[:, 1:]) ** 2).mean(axis=0)
    bins = power.reshape(BINS, -1).mean(axis=1)
    return np.log(bins / max(bins.mean(), 1e-30) + FLOOR).astype(np.float32)
