"""The motion gate: of a scene that stands still one picture now and then is enough."""

from dataclasses import dataclass

import numpy as np

from littoral.tensors import Array

__all__ = ["MotionGate"]

LEVELS = 24


@dataclass
class MotionGate:
    """share: of the pixels of a small grey picture that must differ from the last one let through, by over 24 of 255
    levels; 0 lets everything through. at_least_s: a picture goes through after this time whatever it shows.
    """

    share: float = 0.0
    at_least_s: float = 10.0
    _last: Array | None = None
    _last_at: float = 0.0

    def lets_through(self, grey: Array, at_s: float) -> bool:
        """grey: uint8[height, width]. at_s: of the frame, growing."""
        if not self._moved(grey) and at_s - self._last_at < self.at_least_s:
            return False
        self._last, self._last_at = grey, at_s
        return True

    def _moved(self, grey: Array) -> bool:
        if not self.share or self._last is None or self._last.shape != grey.shape:
            return True
        changed = np.abs(grey.astype(np.int16) - self._last) > LEVELS
        return float(changed.mean()) >= self.share
