"""Steps that the host does itself, on arrays: `normalize`, `softmax`, `top_k`, each along the last axis."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import EdgeType, TensorsType, Value, tensors_of
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.step import How
from littoral.tensors import Array, TensorSpec

__all__ = ["HOST_STEPS", "TOP_K", "HostStage", "HostStep", "normalized", "softmax", "top_k"]

INLINE_BYTES_MAX = 1 << 18  # above, the work would hold up the event loop
TOP_K = 5
_FLOATS = ("float32", "float64", "float16")


class _Kind(NamedTuple):
    gives: Callable[[tuple[TensorSpec, ...], int], tuple[TensorSpec, ...]]
    run: Callable[[Mapping[str, Array], int], dict[str, Array]]


class HostStep:
    """One of `HOST_STEPS`. k: how many `top_k` keeps; of no meaning for the others."""

    def __init__(self, kind: str, *, threads: GuestThreads, k: int = TOP_K, name: str | None = None) -> None:
        if (found := HOST_STEPS.get(kind)) is None:
            raise SettingError(f"step `{kind}` is unknown, known: {', '.join(HOST_STEPS)}")
        if k < 1:
            raise SettingError(f"step `{kind}`: `k` is `{k}`, must be at least 1")
        self.name = name or kind
        self._kind = found
        self._k = k
        self._threads = threads

    @property
    def takes(self) -> EdgeType:
        return TensorsType((TensorSpec("values", "float32", (-1,)),))

    def bind(self, given: EdgeType) -> "HostStage":
        if not isinstance(given, TensorsType) or any(p.dtype not in _FLOATS or not p.shape for p in given.ports):
            raise SettingError(f"takes tensors of {', '.join(_FLOATS)}, not scalars")
        gives = TensorsType(self._kind.gives(given.ports, self._k))
        return HostStage(gives, lambda tensors: self._kind.run(tensors, self._k), self._threads)


class HostStage(NamedTuple):
    gives: EdgeType
    work: Callable[[Mapping[str, Array]], dict[str, Array]]
    threads: GuestThreads

    async def run(self, value: Value, _how: How) -> Value:
        tensors = tensors_of(value)
        if sum(array.nbytes for array in tensors.values()) > INLINE_BYTES_MAX:
            return await self.threads.run(self.work, tensors)
        return self.work(tensors)


def _same(ports: tuple[TensorSpec, ...], _k: int) -> tuple[TensorSpec, ...]:
    return ports


def _top_k_ports(ports: tuple[TensorSpec, ...], k: int) -> tuple[TensorSpec, ...]:
    if len(ports) != 1:
        raise SettingError("takes one tensor")
    *outer, count = ports[0].shape
    if 0 <= count < k:
        raise SettingError(f"takes a last dimension of at least {k}")
    return (TensorSpec("scores", ports[0].dtype, (*outer, k)), TensorSpec("indices", "int64", (*outer, k)))


def normalized(tensors: Mapping[str, Array], _k: int) -> dict[str, Array]:
    """Vectors of length 1; a zero vector stays zero."""
    return {name: _normalized(array) for name, array in tensors.items()}


def _normalized(array: Array) -> Array:
    length = np.sqrt(np.sum(np.square(array, dtype=np.float64), axis=-1, keepdims=True))
    unit: Array = array / np.where(length > 0, length, 1)
    return unit.astype(array.dtype)


def softmax(tensors: Mapping[str, Array], _k: int) -> dict[str, Array]:
    """Exponentials that sum to 1."""
    return {name: _softmax(array) for name, array in tensors.items()}


def _softmax(array: Array) -> Array:
    raised = np.exp(array.astype(np.float64) - array.max(axis=-1, keepdims=True))
    shares: Array = raised / raised.sum(axis=-1, keepdims=True)
    return shares.astype(array.dtype)


def top_k(tensors: Mapping[str, Array], k: int) -> dict[str, Array]:
    """The k largest values, largest first, ties by index: `scores` and `indices`. Raises InputError for fewer."""
    (array,) = tensors.values()
    if array.shape[-1] < k:
        raise InputError(f"step `top_k`: {array.shape[-1]} values, `k` is {k}")
    indices = np.argsort(-array, axis=-1, kind="stable")[..., :k]
    return {"scores": np.take_along_axis(array, indices, axis=-1), "indices": indices.astype(np.int64)}


HOST_STEPS = {
    "normalize": _Kind(_same, normalized),
    "softmax": _Kind(_same, softmax),
    "top_k": _Kind(_top_k_ports, top_k),
}
