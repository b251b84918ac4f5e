"""What a kind of host step is: the type it wants at first, and how it is bound to what it is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from littoral.errors import SettingError
from littoral.runtime.edges import EdgeType, TensorsType, Value
from littoral.tensors import Array, TensorSpec

__all__ = ["FLOATS", "Bound", "Kind", "float_ports", "spec_of"]

FLOATS = ("float32", "float64", "float16")


class Bound(NamedTuple):
    """gives: the type of what `work` makes of tensors. It may be called from any thread."""

    gives: EdgeType
    work: Callable[[Mapping[str, Array]], Value]


class Kind(NamedTuple):
    """takes: as a first input, by the step's options. bind(options, type given, labels where there are some): raises

    SettingError `takes …` for what it cannot take.
    """

    takes: Callable[[Any], TensorsType]
    bind: Callable[..., Bound]


def float_ports(given: EdgeType) -> tuple[TensorSpec, ...]:
    """The tensors given, which all must be floats of at least one dimension. Raises SettingError."""
    if not isinstance(given, TensorsType) or any(p.dtype not in FLOATS or not p.shape for p in given.ports):
        raise SettingError(f"takes tensors of {', '.join(FLOATS)}, not scalars")
    return given.ports


def spec_of(given: EdgeType, name: str, dtypes: Sequence[str], what: str) -> TensorSpec | None:
    """The tensor of this name, or None; it must have one of the dtypes. Raises SettingError `takes {what}`."""
    ports = given.ports if isinstance(given, TensorsType) else ()
    found = next((port for port in ports if port.name == name), None)
    if found is not None and found.dtype not in dtypes:
        raise SettingError(f"takes {what}")
    return found
