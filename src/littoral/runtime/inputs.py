"""What a caller gives for an input, as the array that the model wants: exact, or refused.

* An array (numpy's, or anything that turns into one) must have the dtype; memory order and byte order do not matter.
* Python numbers and lists of them have no dtype of their own: whole numbers must fit exactly, fractions are rounded to
  the float that is asked for, and nothing becomes a bool or stops being one.
* A dtype that numpy lacks is given as ml_dtypes' array or as raw bits (`littoral.tensors.DTYPES`).
"""

import functools
import importlib
import reprlib
from types import ModuleType

import numpy as np

from littoral.errors import InputError
from littoral.tensors import DTYPES, Array, DType

__all__ = ["as_named", "as_stored"]

_RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3), "float4_e2m1fn": (0, 15)}
_NUMBERS = (bool, int, float, list, tuple)


def as_stored(value: object, dtype: str, label: str) -> Array:
    """`value` as an array of what lies in memory for `dtype`; not copied where it is one already.

    label: opens the message, such as ``model `m`: input `x` ``. Raises InputError.
    """
    kind = DTYPES[dtype]
    if isinstance(value, _NUMBERS) and not isinstance(value, np.generic):
        return _in_range(_from_numbers(value, kind, label), kind, label)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{label}: `{type(value).__name__}` is no array: {error}") from error
    if array.dtype == kind.storage:
        return _in_range(array, kind, label)
    if array.dtype.newbyteorder("<") == kind.storage:
        return array.astype(kind.storage)
    if array.dtype.name == dtype and array.dtype.itemsize == kind.bytes:  # ml_dtypes
        return array.astype(kind.storage) if "int" in dtype else np.asarray(array, order="C").view(kind.storage)
    raise InputError(f"{label}: dtype `{array.dtype.name}`, expected `{dtype}`", hint=f"convert it to `{dtype}` first")


def as_named(array: Array, dtype: str) -> Array:
    """Stored values under their own dtype where numpy or an installed ml_dtypes knows it, else as they are."""
    if array.dtype.name == dtype or (package := _ml_dtypes()) is None:
        return array
    named = np.dtype(getattr(package, dtype))
    return array.astype(named) if "int" in dtype else array.view(named)


@functools.cache
def _ml_dtypes() -> ModuleType | None:
    try:
        return importlib.import_module("ml_dtypes")
    except ImportError:
        return None


def _from_numbers(value: object, kind: DType, label: str) -> Array:
    if kind.storage.name != kind.name and "int" not in kind.name:
        raise InputError(f"{label}: Python numbers are no `{kind.name}`", hint="give an array of its raw bits")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{label}: {_example(value)} is no regular array: {error}") from error
    if array.size == 0:
        return array.astype(kind.storage)
    given, wanted = array.dtype.kind, kind.storage.kind
    if given not in "biuf" or (given == "b") != (wanted == "b") or (given == "f" and wanted != "f"):
        raise InputError(f"{label}: {_example(value)} is no `{kind.name}`")
    with np.errstate(over="ignore"):
        stored: Array = array.astype(kind.storage)
    if not (_rounds(array, stored) if given == "f" else _is_equal(array, stored)):
        raise InputError(f"{label}: {_example(value)} does not fit `{kind.name}`")
    return stored


def _rounds(array: Array, stored: Array) -> bool:
    return bool(np.array_equal(np.isfinite(array), np.isfinite(stored)))


def _is_equal(array: Array, stored: Array) -> bool:
    return bool((array.astype(object) == stored.astype(object)).all())  # Python compares int with float exactly


def _in_range(array: Array, kind: DType, label: str) -> Array:
    if (limits := _RANGES.get(kind.name)) is not None and array.size:
        smallest, largest = int(array.min()), int(array.max())
        if smallest < limits[0] or largest > limits[1]:
            raise InputError(f"{label}: values {smallest}..{largest}, `{kind.name}` holds {limits[0]}..{limits[1]}")
    return array


def _example(value: object) -> str:
    return f"`{reprlib.repr(value)}`"
