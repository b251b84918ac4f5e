"""A guest's tensor of wasi-nn, read against what the model takes.

Three numberings of element types go by the name of wasi-nn. Type and element size together say which is meant, for
every pair; 16-bit elements that none of them has come as bytes (type u8) with two bytes an element.
"""

import math
from typing import NamedTuple

import numpy as np

from littoral.errors import InputError, TooLargeError
from littoral.runtime.guest_memory import GuestMemory
from littoral.tensors import DTYPES, RANK_MAX, Array, TensorSpec

__all__ = ["DIALECTS", "read_tensor"]

TENSOR_BYTES = 20

DIALECTS = {
    "A": {"float16": 0, "float32": 1, "uint8": 2, "int32": 3},
    "B": {"float16": 0, "float32": 1, "float64": 2, "uint8": 3, "int32": 4, "int64": 5},
    "C": {"float16": 0, "float32": 1, "float64": 2, "bfloat16": 3, "uint8": 4, "int32": 5, "int64": 6},
}
"""A: the first specification, wasi-nn before 0.6. B: Wasmtime, WasmEdge, wasi-nn 0.6. C: the order of the WIT, WAMR."""

_BY_TYPE_AND_SIZE = {
    (number, DTYPES[dtype].bytes): dtype for names in DIALECTS.values() for dtype, number in names.items()
} | {(2, 2): "bytes16", (3, 2): "bytes16", (4, 2): "bytes16"}
_BY_TYPE = {number: dtype for dtype, number in DIALECTS["B"].items()} | {6: "int64"}
# What stands for an element type that wasi-nn has no number for.
_STANDS_FOR = {"int16": "bytes16", "uint16": "bytes16", "bfloat16": "bytes16", "uint32": "int32", "uint64": "int64"}


class _Tensor(NamedTuple):
    """The structure of 20 bytes: dimensions at +0 and +4, type at +8, data at +12 and +16."""

    shape: tuple[int, ...]
    type: int
    data: Array


def read_tensor(memory: GuestMemory, at: int, spec: TensorSpec, *, bytes_max: int) -> Array:
    """A copy of the tensor at `at`, as `spec` has it. Raises InputError, TooLargeError, OutsideError."""
    tensor = _structure(memory, at)
    count = math.prod(tensor.shape)
    kind = DTYPES[spec.dtype]
    given = _given_type(tensor, count)
    wanted = _STANDS_FOR.get(spec.dtype, "uint8" if kind.bytes == 1 else spec.dtype)
    if count and given != wanted:
        raise InputError(f"input {spec}: type {tensor.type} ({given}), expected {wanted}")
    if len(tensor.shape) != len(spec.shape) or not spec.accepts(spec.dtype, tensor.shape):
        raise InputError(f"input {spec}: shape {list(tensor.shape)}")
    if tensor.data.size != count * kind.bytes:
        raise InputError(f"input {spec}: {tensor.data.size} bytes, expected {count * kind.bytes}")
    if tensor.data.size > bytes_max:
        raise TooLargeError(f"input {spec}: {tensor.data.size} bytes, {bytes_max} are left to keep them")
    copy = tensor.data.copy()
    return (copy != 0 if spec.dtype == "bool" else copy.view(kind.storage)).reshape(tensor.shape)


def _structure(memory: GuestMemory, at: int) -> _Tensor:
    memory.span(at, TENSOR_BYTES)
    rank = memory.u32(at + 4)
    if rank > RANK_MAX:
        raise InputError(f"tensor of {rank} dimensions, at most {RANK_MAX}")
    shape = memory.span(memory.u32(at), 4 * rank).tobytes()
    sizes = tuple(int(size) for size in np.frombuffer(shape, "<u4"))
    return _Tensor(sizes, int(memory.span(at + 8, 1)[0]), memory.span(memory.u32(at + 12), memory.u32(at + 16)))


def _given_type(tensor: _Tensor, count: int) -> str:
    """What the guest means by its number. Raises InputError for what no dialect has."""
    if count == 0:
        found = _BY_TYPE.get(tensor.type)
    else:
        size, rest = divmod(tensor.data.size, count)
        found = None if rest else _BY_TYPE_AND_SIZE.get((tensor.type, size))
    if found is None:
        raise InputError(f"tensor {list(tensor.shape)} of type {tensor.type} cannot have {tensor.data.size} bytes")
    return found
