"""Weights out of a legacy torch checkpoint, without torch and without running anything the file names.

The file is three pickles (magic number, protocol, system), the object, a pickled list of storage keys, and then for
each key a count (i64) and the raw numbers. The unpickler knows `OrderedDict`, tensors and storages, nothing else.
"""

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from littoral.errors import ModelError
from littoral.tensors import Array

__all__ = ["read_checkpoint"]

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_Dims = tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: _Dims, strides: _Dims, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            **{("torch", storage): storage for storage in _STORAGES},
        }
        if (module, name) not in known:
            raise ModelError(f"checkpoint: it names `{module}.{name}`, which a file of weights has no use for")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _device, count, _view = pid
        if kind != "storage" or storage not in _STORAGES:
            raise ModelError(f"checkpoint: storage of kind `{storage}`")
        return _Storage(key, _STORAGES[storage], count)


def read_checkpoint(data: bytes) -> dict[str, Array]:
    """Tensors by name. Raises ModelError for anything that is not such a file."""
    stream = io.BytesIO(data)
    try:
        if _Unpickler(stream).load() != MAGIC_NUMBER or _Unpickler(stream).load() != PROTOCOL:
            raise ModelError("checkpoint: not a legacy torch file")
        _Unpickler(stream).load()
        tensors: dict[str, _Tensor] = _Unpickler(stream).load()
        keys: list[str] = _Unpickler(stream).load()
        kinds = {t.storage.key: t.storage.dtype for t in tensors.values()}
        storages = {key: _numbers(stream, kinds[key]) for key in keys}
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"checkpoint: damaged: {error}") from error
    return {name: _array(name, t, storages[t.storage.key]) for name, t in tensors.items()}


def _numbers(stream: io.BytesIO, dtype: np.dtype[Any]) -> Array:
    count = int.from_bytes(stream.read(8), "little")
    raw = stream.read(count * dtype.itemsize)
    return np.frombuffer(raw, dtype, count)


def _array(name: str, tensor: _Tensor, numbers: Array) -> Array:
    """A copy in row-major order. Strides are checked, because a lying one would read elsewhere."""
    reach = tensor.offset + sum((d - 1) * s for d, s in zip(tensor.shape, tensor.strides, strict=True) if d)
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or reach >= max(numbers.size, 1):
        raise ModelError(f"checkpoint: tensor `{name}` lies outside its storage")
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, numbers.dtype)
    strides = tuple(s * numbers.itemsize for s in tensor.strides)
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view)
