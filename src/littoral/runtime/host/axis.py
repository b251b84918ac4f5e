"""Along the last axis: `normalize`, `softmax`, `top_k`; what is large enough: `threshold`; as it is: `join`."""

from collections.abc import Mapping, Sequence

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import HITS, EdgeType, TensorsType
from littoral.runtime.host.kinds import Bound, Kind, float_ports
from littoral.runtime.host.options import Join, Normalize, Softmax, Threshold, TopK
from littoral.tensors import Array, TensorSpec

__all__ = ["JOIN", "NORMALIZE", "SOFTMAX", "THRESHOLD", "TOP_K", "normalized", "softmax", "threshold", "top_k"]


def _any_floats(_options: object) -> TensorsType:
    return TensorsType((TensorSpec("values", "float32", (-1,)),))


def _bind_normalize(_options: Normalize, given: EdgeType) -> Bound:
    return Bound(TensorsType(float_ports(given)), normalized)


def _bind_softmax(_options: Softmax, given: EdgeType) -> Bound:
    return Bound(TensorsType(float_ports(given)), softmax)


def _bind_join(_options: Join, given: EdgeType) -> Bound:
    if not isinstance(given, TensorsType):
        raise SettingError("takes tensors")
    return Bound(given, dict)


def normalized(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Vectors of length 1; a zero vector stays zero."""
    return {name: _normalized(array) for name, array in tensors.items()}


def _normalized(array: Array) -> Array:
    length = np.sqrt(np.sum(np.square(array, dtype=np.float64), axis=-1, keepdims=True))
    unit: Array = array / np.where(length > 0, length, 1)
    return unit.astype(array.dtype)


def softmax(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Exponentials that sum to 1."""
    return {name: _softmax(array) for name, array in tensors.items()}


def _softmax(array: Array) -> Array:
    raised = np.exp(array.astype(np.float64) - array.max(axis=-1, keepdims=True))
    shares: Array = raised / raised.sum(axis=-1, keepdims=True)
    return shares.astype(array.dtype)


def _bind_top_k(options: TopK, given: EdgeType, labels: Sequence[str] | None = None) -> Bound:
    ports, k = float_ports(given), options.k
    if len(ports) != 1:
        raise SettingError("takes one tensor")
    *outer, count = ports[0].shape
    if 0 <= count < k:
        raise SettingError(f"takes a last dimension of at least {k}")
    if labels is None:
        scores, indices = (TensorSpec(n, t, (*outer, k)) for n, t in (("scores", ports[0].dtype), ("indices", "int64")))
        return Bound(TensorsType((scores, indices)), lambda tensors: top_k(tensors, k))
    if any(size not in (1, -1) for size in outer):
        raise SettingError("takes one row, where it gives hits with `labels`")
    if 0 <= count != len(labels):
        raise SettingError(f"takes a last dimension of {len(labels)}, as many as there are `labels`")
    return Bound(HITS, lambda tensors: _named(top_k(tensors, k), labels))


def top_k(tensors: Mapping[str, Array], k: int) -> dict[str, Array]:
    """The k largest values, largest first, ties by index: `scores` and `indices`. Raises InputError for fewer."""
    (array,) = tensors.values()
    if array.shape[-1] < k:
        raise InputError(f"step `top_k`: {array.shape[-1]} values, `k` is {k}")
    indices = np.argsort(-array, axis=-1, kind="stable")[..., :k]
    return {"scores": np.take_along_axis(array, indices, axis=-1), "indices": indices.astype(np.int64)}


def _named(best: Mapping[str, Array], labels: Sequence[str]) -> list[object]:
    scores, indices = best["scores"].reshape(-1).tolist(), best["indices"].reshape(-1).tolist()
    if len(scores) != best["scores"].shape[-1] or max(indices) >= len(labels):
        raise InputError(
            f"step `top_k`: values of shape {list(best['scores'].shape)}, expected one row of {len(labels)}"
        )
    return [
        {"id": index, "score": score, "payload": {"label": labels[index]}}
        for score, index in zip(scores, indices, strict=True)
    ]


def _bind_threshold(options: Threshold, given: EdgeType) -> Bound:
    if options.by is None:
        ports = tuple(TensorSpec(port.name, "bool", port.shape) for port in float_ports(given))
        return Bound(TensorsType(ports), lambda tensors: {name: array >= options.at for name, array in tensors.items()})
    refused = SettingError(f"takes `{options.by}` float32[?] and tensors of as many rows")
    if not isinstance(given, TensorsType) or any(not port.shape for port in given.ports):
        raise refused
    by = next((port for port in given.ports if port.name == options.by), None)
    rows = {port.shape[0] for port in given.ports} - {-1}
    if by is None or len(by.shape) != 1 or len(rows) > 1:
        raise refused
    float_ports(TensorsType((by,)))
    ports = tuple(TensorSpec(port.name, port.dtype, (-1, *port.shape[1:])) for port in given.ports)
    return Bound(TensorsType(ports), lambda tensors: threshold(tensors, by.name, options.at))


def threshold(tensors: Mapping[str, Array], by: str, at: float) -> dict[str, Array]:
    """The rows of all tensors where `by` is at least `at`. Raises InputError for unequal numbers of rows."""
    kept = tensors[by] >= at
    for name, array in tensors.items():
        if len(array) != len(kept):
            raise InputError(f"step `threshold`: `{name}` has {len(array)} rows, `{by}` {len(kept)}")
    return {name: array[kept] for name, array in tensors.items()}


NORMALIZE = Kind(_any_floats, _bind_normalize)
SOFTMAX = Kind(_any_floats, _bind_softmax)
JOIN = Kind(_any_floats, _bind_join)
TOP_K = Kind(_any_floats, _bind_top_k)
THRESHOLD = Kind(_any_floats, _bind_threshold)
