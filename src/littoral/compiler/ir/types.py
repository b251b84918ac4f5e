"""What a value of the graph is: an element type and a shape known at compile time."""

from collections.abc import Sequence
from typing import NamedTuple

from littoral.tensors import DTYPES, element_count

__all__ = ["TensorType", "contiguous"]


class TensorType(NamedTuple):
    """dtype: a name of `littoral.tensors.DTYPES`. shape: every dimension is known."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> int:
        return element_count(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * DTYPES[self.dtype].bytes

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a row-major array."""
    strides, step = [], 1
    for d in reversed(shape):
        strides.append(step)
        step *= d
    return tuple(reversed(strides))
