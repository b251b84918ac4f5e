"""What was learned about one entry: how similar a question was, and whether the entry's answer was right for it."""

import struct
from typing import Self

import numpy as np
from numpy.typing import NDArray

from littoral.errors import ArtifactError

__all__ = ["OBSERVATIONS_MAX", "Observations"]

OBSERVATIONS_MAX = 64
"""Of one entry; the newest. Which ones a judge was asked about does not depend on what it said, so neither does what
is forgotten."""

PAIR = struct.Struct("<fB")
ROW = np.dtype([("similarity", "<f4"), ("is_correct", "u1")])


class Observations:
    """Pairs of similarity and `is_correct`, oldest first; never changed once made, so that what follows from them can
    be kept. Packed: five bytes a pair, a float32 and 0 or 1.
    """

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes = b"") -> None:
        self._packed = packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Raises ArtifactError where the bytes are no pairs."""
        rows = np.frombuffer(packed, ROW) if len(packed) % PAIR.size == 0 else None
        if rows is None or len(rows) > OBSERVATIONS_MAX or not _are_pairs(rows):
            raise ArtifactError(
                f"observations of an entry: {len(packed)} bytes are not up to {OBSERVATIONS_MAX} pairs of a similarity "
                "in -1 … 1 and 0 or 1",
                hint="purge the entry, its observations are learned anew",
            )
        return cls(packed)

    def pack(self) -> bytes:
        return self._packed

    def __len__(self) -> int:
        return len(self._packed) // PAIR.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Observations) and self._packed == other._packed

    def __hash__(self) -> int:
        return hash(self._packed)

    def added(self, similarity: float, is_correct: bool) -> "Observations":
        """With one more; the oldest goes where there are too many. similarity: finite, taken into -1 … 1."""
        more = PAIR.pack(min(max(float(similarity), -1.0), 1.0), bool(is_correct))
        return Observations((self._packed + more)[-OBSERVATIONS_MAX * PAIR.size :])

    @property
    def similarities(self) -> NDArray[np.float64]:
        return np.frombuffer(self._packed, ROW)["similarity"].astype(np.float64)

    @property
    def are_correct(self) -> NDArray[np.bool_]:
        return np.frombuffer(self._packed, ROW)["is_correct"] > 0


def _are_pairs(rows: NDArray[np.void]) -> bool:
    return bool((np.abs(rows["similarity"]) <= 1).all() and (rows["is_correct"] <= 1).all())
