"""What a value of the graph is: an element type and a shape known at compile time."""

from typing import NamedTuple

from littoral.tensors import DTYPES, element_count

__all__ = ["HELD_DTYPES", "TensorType"]

# What a compiled module can hold in a variable; other dtypes exist in constants only.
HELD_DTYPES = (
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
)


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
