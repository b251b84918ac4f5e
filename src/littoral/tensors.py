"""Dtypes, shapes, tensor specs, and tensors as bytes (safetensors frames).

A dtype is numpy's name, or `bfloat16`, `float8_e4m3fn` and kin as raw bits; a 4-bit or 2-bit integer fills a byte.
Frames follow the safetensors format (u64 header length, JSON header, raw little-endian data), read with bounds.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import InputError, TooLargeError

__all__ = [
    "DTYPES",
    "RANK_MAX",
    "Array",
    "DType",
    "Frame",
    "TensorSpec",
    "decode_frame",
    "element_count",
    "encode_frame",
    "merged_specs",
    "read_frame",
]

Array = npt.NDArray[Any]

FRAME_HEADER_BYTES_MAX = 1 << 16
FRAME_TENSORS_MAX = 256
RANK_MAX = 32
DTYPE_COUNT_MAX = 256
METADATA = "__metadata__"


class DType(NamedTuple):
    """One element type: what lies in memory for it, and its name in a safetensors header ('' = none)."""

    name: str
    storage: np.dtype[Any]
    safetensors: str

    @property
    def bytes(self) -> int:
        return int(self.storage.itemsize)


DTYPES = {
    name: DType(name, np.dtype(storage), safetensors)
    for name, storage, safetensors in (
        ("float32", "<f4", "F32"),
        ("float64", "<f8", "F64"),
        ("float16", "<f2", "F16"),
        ("bfloat16", "<u2", "BF16"),
        ("int8", "i1", "I8"),
        ("int16", "<i2", "I16"),
        ("int32", "<i4", "I32"),
        ("int64", "<i8", "I64"),
        ("uint8", "u1", "U8"),
        ("uint16", "<u2", "U16"),
        ("uint32", "<u4", "U32"),
        ("uint64", "<u8", "U64"),
        ("bool", "?", "BOOL"),
        ("float8_e4m3fn", "u1", "F8_E4M3"),
        ("float8_e4m3fnuz", "u1", "F8_E4M3FNUZ"),
        ("float8_e5m2", "u1", "F8_E5M2"),
        ("float8_e5m2fnuz", "u1", "F8_E5M2FNUZ"),
        ("float8_e8m0fnu", "u1", "F8_E8M0"),
        ("float4_e2m1fn", "u1", ""),
        ("int4", "i1", ""),
        ("uint4", "u1", ""),
        ("int2", "i1", ""),
        ("uint2", "u1", ""),
    )
}
_BY_SAFETENSORS = {d.safetensors: d for d in DTYPES.values() if d.safetensors}


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, dtype and shape of one input or output; −1 in a shape = any size."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"`{self.name}` {self.dtype}[{', '.join('?' if d < 0 else str(d) for d in self.shape)}]"

    def accepts(self, dtype: str, shape: Sequence[int]) -> bool:
        """Whether a tensor of this dtype and shape fits."""
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(want in (-1, got) for want, got in zip(self.shape, shape, strict=True))
        )


def merged_specs(forms: Sequence[Sequence[TensorSpec]]) -> tuple[TensorSpec, ...]:
    """One spec for each tensor that comes in several forms of one rank: −1 where their sizes differ."""
    return tuple(
        TensorSpec(
            specs[0].name,
            specs[0].dtype,
            tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*(s.shape for s in specs), strict=True)),
        )
        for specs in zip(*forms, strict=True)
    )


def element_count(shape: Sequence[int]) -> int:
    """Product of the dimensions, exact; 1 for a scalar."""
    return math.prod(shape)


def encode_frame(
    tensors: Mapping[str, Array], dtypes: Mapping[str, str] | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Tensors as one safetensors frame, in the mapping's order.

    dtypes: dtype by name, for arrays of raw bits. metadata: texts of the header. Raises InputError for a dtype
    safetensors lacks.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    chunks: list[Array] = []
    at = 0
    for name, array in tensors.items():
        own = _name_of(array.dtype)
        kind = (dtypes or {}).get(name, own)
        if (dtype := DTYPES.get(kind)) is None or not dtype.safetensors:
            raise InputError(f"tensor `{name}`: dtype `{kind}` has no safetensors name")
        if own == _name_of(dtype.storage):
            data = np.ascontiguousarray(array, dtype.storage)
        else:
            data = np.ascontiguousarray(array).view(dtype.storage)  # ml_dtypes: the bits as they are
        size = data.nbytes
        header[name] = {"dtype": dtype.safetensors, "shape": list(array.shape), "data_offsets": [at, at + size]}
        chunks.append(data)
        at += size
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(chunk.data for chunk in chunks if chunk.size)])


@lru_cache(maxsize=DTYPE_COUNT_MAX)
def _name_of(dtype: np.dtype[Any]) -> str:
    """Numpy makes the name anew each time, which takes as long as to copy 50 KB."""
    return dtype.name


class Frame(NamedTuple):
    """What a safetensors frame holds. The arrays are read-only views of it."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


class _FrameEntry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_frame_header = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_frame(
    frame: bytes | memoryview,
    *,
    header_bytes_max: int = FRAME_HEADER_BYTES_MAX,
    tensors_max: int = FRAME_TENSORS_MAX,
) -> dict[str, Array]:
    """Tensors of a safetensors frame; the arrays are read-only views of `frame`.

    Raises as `read_frame`.
    """
    return read_frame(frame, header_bytes_max=header_bytes_max, tensors_max=tensors_max).tensors


def read_frame(
    frame: bytes | memoryview,
    *,
    header_bytes_max: int = FRAME_HEADER_BYTES_MAX,
    tensors_max: int = FRAME_TENSORS_MAX,
) -> Frame:
    """Tensors and metadata of a safetensors frame.

    Raises InputError for bytes that are no such frame, TooLargeError over the limits (64 KiB of header, 256 tensors).
    """
    view = memoryview(frame)
    if len(view) < 8:
        raise InputError(f"safetensors frame: {len(view)} bytes, at least 8 expected")
    size = int.from_bytes(view[:8], "little")
    if size > header_bytes_max:
        raise TooLargeError(f"safetensors frame: header of {size} bytes, at most {header_bytes_max}")
    if size > len(view) - 8:
        raise InputError(f"safetensors frame: header of {size} bytes, only {len(view) - 8} follow")
    try:
        entries = _frame_header.decode(view[8 : 8 + size])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"safetensors frame: header is no JSON object: {error}") from error
    metadata = _metadata(entries.pop(METADATA, None))
    if len(entries) > tensors_max:
        raise TooLargeError(f"safetensors frame: {len(entries)} tensors, at most {tensors_max}")
    data = view[8 + size :]
    return Frame({name: _frame_tensor(name, raw, data) for name, raw in entries.items()}, metadata)


def _metadata(raw: msgspec.Raw | None) -> dict[str, str]:
    """Others' frames may hold anything there: what is no text by name counts as none."""
    try:
        return {} if raw is None else msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _frame_tensor(name: str, raw: msgspec.Raw, data: memoryview) -> Array:
    try:
        entry = msgspec.json.decode(raw, type=_FrameEntry)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"safetensors frame: tensor `{name}`: {error}") from error
    if (dtype := _BY_SAFETENSORS.get(entry.dtype)) is None:
        raise InputError(f"safetensors frame: tensor `{name}`: unknown dtype `{entry.dtype}`")
    if len(entry.shape) > RANK_MAX or any(d < 0 for d in entry.shape):
        raise InputError(f"safetensors frame: tensor `{name}`: bad shape {entry.shape}")
    start, stop = entry.data_offsets
    wanted = element_count(entry.shape) * dtype.bytes
    if not 0 <= start <= stop <= len(data):
        raise InputError(f"safetensors frame: tensor `{name}`: bytes {start}..{stop} of {len(data)}")
    if stop - start != wanted:
        raise InputError(
            f"safetensors frame: tensor `{name}`: {stop - start} bytes, {entry.dtype}{entry.shape}, expected {wanted}"
        )
    try:
        return np.frombuffer(data[start:stop], dtype.storage).reshape(entry.shape)
    except ValueError as error:  # a size of zero beside one that no array can have
        raise InputError(f"safetensors frame: tensor `{name}`: impossible shape {entry.shape}") from error
