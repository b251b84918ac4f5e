"""The protocol's data types: their names, tensors as raw bytes and as JSON (docs/reference/oip.md).

Raw tensors are little-endian, row-major, without padding; an element of BYTES has its length before it (u32).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from littoral.errors import InputError
from littoral.runtime.inputs import as_stored
from littoral.tensors import DTYPES, RANK_MAX, Array, element_count

__all__ = ["BYTES", "DATATYPES", "Values", "check_shape", "datatype_of", "from_json", "from_raw", "to_json", "to_raw"]

BYTES = "BYTES"
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
}
RAW_ONLY = ("FP16", "BF16")
LENGTH_BYTES = 4

Values = Array | list[bytes]
"""What a tensor holds: an array, or byte strings in row-major order for BYTES."""


def datatype_of(dtype: str) -> str:
    """The protocol's name of one of our dtypes. What it has no name for is named as what lies in memory."""
    return DATATYPES.get(dtype) or DATATYPES[DTYPES[dtype].storage.name]


def check_shape(shape: Sequence[int], label: str) -> int:
    """The number of elements. Raises InputError for a shape that none can have."""
    if len(shape) > RANK_MAX or any(size < 0 for size in shape):
        raise InputError(
            f"{label}: shape {list(shape)[: RANK_MAX + 1]}, sizes must be at least 0, at most {RANK_MAX} of them"
        )
    return element_count(shape)


def from_raw(data: memoryview, dtype: str, shape: Sequence[int], label: str) -> Values:
    """The tensor in these bytes, which an array views. dtype: ours, or '' for BYTES. Raises InputError."""
    count = check_shape(shape, label)
    if not dtype:
        return _strings(data, count, label)
    storage = DTYPES[dtype].storage
    if len(data) != count * storage.itemsize:
        raise InputError(
            f"{label}: {len(data)} bytes, {datatype_of(dtype)}{list(shape)} has {count * storage.itemsize}"
        )
    try:
        return np.frombuffer(data, storage).reshape(shape) if count else np.zeros(shape, storage)
    except ValueError as error:
        raise InputError(f"{label}: impossible shape {list(shape)}") from error


def to_raw(values: Values) -> bytes:
    if isinstance(values, list):
        return b"".join(part for value in values for part in (len(value).to_bytes(LENGTH_BYTES, "little"), value))
    return values.tobytes()


def from_json(data: object, dtype: str, shape: Sequence[int], label: str) -> Values:
    """The tensor in nested or flat lists. dtype: ours, or '' for BYTES, whose elements are text. Raises InputError."""
    count = check_shape(shape, label)
    if not isinstance(data, list):
        raise InputError(f"{label}: `data` is no list")
    if not dtype:
        return [_text(value, label) for value in _flat(data, count, label)]
    if datatype_of(dtype) in RAW_ONLY:
        raise InputError(f"{label}: {datatype_of(dtype)} has no form in JSON", hint="send it as binary data")
    array = as_stored(data, dtype, label)
    if array.size != count:
        raise InputError(f"{label}: `data` has {array.size} elements, shape {list(shape)} has {count}")
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise InputError(f"{label}: impossible shape {list(shape)}") from error


def to_json(values: Values, datatype: str, label: str) -> list[Any]:
    """A flat list in row-major order. Raises InputError for what has no form in JSON."""
    if isinstance(values, list):
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise InputError(f"{label}: holds bytes that are no UTF-8", hint="ask for it as binary data") from error
    if datatype in RAW_ONLY:
        raise InputError(f"{label}: {datatype} has no form in JSON", hint="ask for it as binary data")
    flat: list[Any] = values.reshape(-1).tolist()
    return flat


def _strings(data: memoryview, count: int, label: str) -> list[bytes]:
    if count * LENGTH_BYTES > len(data):
        raise InputError(f"{label}: {len(data)} bytes, {count} elements of BYTES have at least {count * LENGTH_BYTES}")
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise InputError(f"{label}: element {len(found)} of BYTES ends at byte {at} of {len(data)}")
        found.append(bytes(data[start:at]))
    if at != len(data):
        raise InputError(f"{label}: {len(data)} bytes, its {count} elements of BYTES have {at}")
    return found


def _flat(data: list[Any], count: int, label: str) -> list[Any]:
    """The elements of nested lists, in order; no more than there should be."""
    found: list[Any] = []
    rest = [iter(data)]
    while rest:
        for value in rest[-1]:
            if isinstance(value, list):
                if len(rest) >= RANK_MAX:
                    raise InputError(f"{label}: `data` is nested too deep")
                rest.append(iter(value))
                break
            found.append(value)
        else:
            rest.pop()
    if len(found) != count:
        raise InputError(f"{label}: `data` has {len(found)} elements, its shape has {count}")
    return found


def _text(value: object, label: str) -> bytes:
    if not isinstance(value, str):
        raise InputError(f"{label}: an element of BYTES is text in JSON", hint="send other bytes as binary data")
    return value.encode("utf-8", "surrogatepass")
