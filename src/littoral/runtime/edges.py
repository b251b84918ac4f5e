"""What flows between the steps of a pipeline, and what fits: checked at start-up (docs/reference/pipelines.md).

The rules are few and convert nothing: dtype and rank must be equal, sizes equal where both are known; one tensor fits
one port whatever their names, several match by name; a missing leading dimension of 1 (the batch) is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.abi import Ports
from littoral.tensors import Array, TensorSpec

__all__ = [
    "BYTES",
    "HITS",
    "HITS_OF_EACH",
    "BytesType",
    "EdgeType",
    "Fit",
    "HitsType",
    "TensorsType",
    "Value",
    "edge_of",
    "fit_tensors",
    "tensors_of",
]


@dataclass(frozen=True)
class BytesType:
    """A file, a message, a text: the next step looks into it."""

    def __str__(self) -> str:
        return "bytes"


@dataclass(frozen=True)
class TensorsType:
    """Named tensors; −1 in a shape = any size."""

    ports: tuple[TensorSpec, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.ports)) or "no tensors"


@dataclass(frozen=True)
class HitsType:
    """Points found by a search, best first; of_each: a list of them for each of several items."""

    of_each: bool = False

    def __str__(self) -> str:
        return "hits of each item" if self.of_each else "hits"


EdgeType = BytesType | TensorsType | HitsType
Value = bytes | Mapping[str, Array] | Sequence[object]

BYTES = BytesType()
HITS = HitsType()
HITS_OF_EACH = HitsType(of_each=True)


def edge_of(ports: Ports) -> EdgeType:
    """The edge type of an agent's input or output."""
    return BYTES if ports == "bytes" else TensorsType(ports)


def tensors_of(value: object) -> Mapping[str, Array]:
    """The value of an edge of tensors. Raises InputError for anything else."""
    if not isinstance(value, Mapping):
        raise InputError(f"takes tensors by name, got `{type(value).__name__}`")
    return value


class Fit(NamedTuple):
    """The tensor `source` serves the port `port`, with a leading 1 added or not."""

    source: str
    port: str
    adds_batch: bool

    def of(self, tensors: Mapping[str, Array]) -> Array:
        if (array := tensors.get(self.source)) is None:
            raise InputError(f"tensor `{self.source}` is missing")
        return np.asarray(array)[None] if self.adds_batch else array


def fit_tensors(given: EdgeType, wanted: Sequence[TensorSpec]) -> tuple[Fit, ...]:
    """How the given tensors serve the wanted ports. Raises SettingError `takes …` where they do not."""
    refused = SettingError(f"takes {TensorsType(tuple(wanted))}")
    if not isinstance(given, TensorsType) or len(given.ports) != len(wanted):
        raise refused
    sources = {port.name: port for port in given.ports}
    if len(wanted) == 1:
        sources = {wanted[0].name: given.ports[0]}
    fits = []
    for port in wanted:
        source = sources.get(port.name)
        if source is None or (adds_batch := _adds_batch(source, port)) is None:
            raise refused
        fits.append(Fit(source.name, port.name, adds_batch))
    return tuple(fits)


def _adds_batch(given: TensorSpec, wanted: TensorSpec) -> bool | None:
    if given.dtype != wanted.dtype:
        return None
    if _is_shape_fit(given.shape, wanted.shape):
        return False
    return True if _is_shape_fit((1, *given.shape), wanted.shape) else None


def _is_shape_fit(given: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(given) == len(wanted) and all(
        -1 in (one, other) or one == other for one, other in zip(given, wanted, strict=True)
    )
