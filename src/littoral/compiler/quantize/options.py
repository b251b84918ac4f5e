"""What a caller asks of quantisation."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["BITS", "EFFORTS", "RANGES", "Int8", "int8_of"]

BITS = (8, 7, "auto")
RANGES = ("auto", "minmax", "percentile", "entropy")
EFFORTS = ("normal", "high")
BUDGET_AUTO = 0.99


@dataclass(frozen=True)
class Int8:
    """Compile a float32 model to integers.

    feeds: inputs by name, as `Session.run` takes them; values are observed on all of them. bits: of a weight, 8, or 7,
    which is faster and less exact; "auto": 7 where the budget allows. budget: the cosine that outputs keep to those of
    float32, mean over feeds: layers that hurt most stay float32 until it is kept (None: none does; with "auto" 0.99).
    ranges: of activations; "auto" takes for each the one with the least error. effort: "high" looks longer.
    like: file with the fit of a model before this one: layers that are the same keep its bytes, as long as the outputs
    are as close to float32's, so that few bytes of the module change. fit: file to write this model's fit to.
    """

    feeds: Iterable[Mapping[str, Array]]
    bits: int | Literal["auto"] = 8
    budget: float | None = None
    ranges: Literal["auto", "minmax", "percentile", "entropy"] = "auto"
    effort: Literal["normal", "high"] = "normal"
    like: str | os.PathLike[str] | None = None
    fit: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("bits", BITS), ("ranges", RANGES), ("effort", EFFORTS)):
            if (given := getattr(self, name)) not in allowed:
                raise InputError(f"`Int8({name}={given!r})`: {name} must be one of {', '.join(map(str, allowed))}")
        if self.budget is not None and not 0 < self.budget < 1:
            raise InputError(f"`Int8(budget={self.budget!r})`: must be a cosine, above 0 and below 1")

    @property
    def least_cosine(self) -> float | None:
        """The budget, also where none was given but one is needed."""
        return BUDGET_AUTO if self.budget is None and self.bits == "auto" else self.budget


def int8_of(given: Any) -> Int8:
    """An `Int8`, or feeds alone."""
    return given if isinstance(given, Int8) else Int8(given)
