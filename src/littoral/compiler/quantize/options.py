"""What a caller asks of quantisation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["Int8", "int8_of"]

BITS = (7, 8)


@dataclass(frozen=True)
class Int8:
    """Compile a float32 model to integers.

    feeds: inputs by name, as `Session.run` takes them; values are observed on all of them. bits: of a weight, 8, or 7,
    which is faster and less exact.
    """

    feeds: Iterable[Mapping[str, Array]]
    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise InputError(f"`Int8(bits={self.bits!r})`: bits must be one of {', '.join(map(str, BITS))}")


def int8_of(given: Any) -> Int8:
    """An `Int8`, or feeds alone."""
    return given if isinstance(given, Int8) else Int8(given)
