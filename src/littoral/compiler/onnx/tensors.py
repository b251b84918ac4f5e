"""Tensors of an ONNX file as arrays: inline, packed, or in files beside the model, with every size checked."""

import math
import os
import stat
from pathlib import Path

import numpy as np

from littoral.compiler.onnx.proto import TensorProto
from littoral.errors import OnnxFormatError, UnsupportedOperatorError
from littoral.tensors import DTYPES, RANK_MAX, Array

__all__ = ["ONNX_DTYPES", "UNHELD_DTYPES", "read_tensor"]

ONNX_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
UNHELD_DTYPES = {8: "string", 14: "complex64", 15: "complex128"}
_BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
_TENSOR_BYTES_MAX = 1 << 31
_DIM_MAX = 1 << 40


def read_tensor(tensor: TensorProto, folder: Path | None) -> tuple[Array, str]:
    """The tensor's elements and dtype; raw bits for dtypes numpy lacks, one value a byte below 8 bits.

    folder: where external data may lie. Raises OnnxFormatError or UnsupportedOperatorError, naming the tensor.
    """
    name = f"tensor `{tensor.name}`"
    if (dtype := ONNX_DTYPES.get(tensor.data_type)) is None:
        word = UNHELD_DTYPES.get(tensor.data_type, f"number {tensor.data_type}")
        raise UnsupportedOperatorError("Constant", tensor.name, why=f"has data type {word}, which is not supported")
    if len(tensor.dims) > RANK_MAX or any(not 0 <= d < _DIM_MAX for d in tensor.dims):
        raise OnnxFormatError(f"{name}: bad dimensions {tensor.dims[:8]}")
    count = math.prod(tensor.dims)
    bits = _BITS.get(dtype, DTYPES[dtype].bytes * 8)
    wanted = -(-count * bits // 8)
    if wanted > _TENSOR_BYTES_MAX:
        raise OnnxFormatError(f"{name}: {wanted} bytes, at most {_TENSOR_BYTES_MAX}")
    if tensor.data_location == 1:
        raw: bytes | memoryview = _external(tensor, folder, wanted)
    elif tensor.raw_data is not None:
        raw = tensor.raw_data
    else:
        raw = _listed(tensor, dtype, count, bits)
    if len(raw) != wanted:
        raise OnnxFormatError(f"{name}: {len(raw)} bytes for {dtype}{list(tensor.dims)}, expected {wanted}")
    elements = _unpacked(raw, dtype, bits, count) if bits < 8 else np.frombuffer(raw, DTYPES[dtype].storage)
    return elements.reshape(tensor.dims), dtype


def _listed(tensor: TensorProto, dtype: str, count: int, bits: int) -> bytes:
    """Elements given as numbers. Halves, 8-bit floats and small integers come as int32, packed ones by the byte."""
    if dtype in ("float32", "float64"):
        return np.asarray(tensor.float_data or tensor.double_data, DTYPES[dtype].storage).tobytes()
    numbers = tensor.int32_data or tensor.int64_data or tensor.uint64_data
    storage = np.dtype("u1") if bits < 8 else DTYPES[dtype].storage
    carrier = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[storage.itemsize]
    del count
    return np.asarray(numbers, np.int64).astype(carrier).tobytes()


def _unpacked(raw: bytes | memoryview, dtype: str, bits: int, count: int) -> Array:
    octets = np.frombuffer(raw, np.uint8)
    fields = np.stack([octets >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)], -1).reshape(-1)[:count]
    if dtype.startswith("int"):
        signed = fields.astype(np.int8)
        return np.where(signed >= 1 << (bits - 1), signed - (1 << bits), signed).astype(np.int8)
    return fields.astype(np.uint8)


def _external(tensor: TensorProto, folder: Path | None, wanted: int) -> bytes:
    name = f"tensor `{tensor.name}`"
    about = {pair.key: pair.value for pair in tensor.external_data}
    location = about.get("location", "")
    if folder is None:
        raise OnnxFormatError(
            f"{name}: its data lie in the file `{location}`",
            hint="compile from the path of the model, not from its bytes",
        )
    path = Path(location)
    if not location or path.is_absolute() or ".." in path.parts:
        raise OnnxFormatError(f"{name}: external data `{location}` must lie in the model's folder")
    try:
        offset = int(about.get("offset") or 0)
        length = int(about.get("length") or wanted)
    except ValueError as error:
        raise OnnxFormatError(f"{name}: external data `{location}`: offset or length is no number") from error
    if offset < 0 or length != wanted:
        raise OnnxFormatError(f"{name}: external data `{location}`: {length} bytes at {offset}, expected {wanted}")
    return _read_inside(folder, path, offset, length, name)


def _read_inside(folder: Path, path: Path, offset: int, length: int, name: str) -> bytes:
    """Bytes of a regular file below `folder`; no part of the path may be a symbolic link."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for i, part in enumerate(path.parts):
            last = i == len(path.parts) - 1
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if last else os.O_DIRECTORY)
            inner = os.open(part, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OnnxFormatError(f"{name}: external data `{path}` is no regular file")
        found = os.pread(handle, length, offset)
    except OSError as error:
        raise OnnxFormatError(f"{name}: external data `{path}`: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(found) != length:
        raise OnnxFormatError(f"{name}: external data `{path}` ends early: {len(found)} bytes, expected {length}")
    return found
