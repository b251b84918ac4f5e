"""Numbers as the bytes that travel and are stored: float32, little-endian."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.records import Multi, PointId, PointVectors, Sparse, Vector

__all__ = ["Vectors", "as_array", "as_json", "packed", "packed_point", "packed_rows", "packed_vector"]

Vectors = npt.NDArray[Any] | Sequence[Any]
"""Real numbers: an array, or (nested) lists."""

INDEX_MAX = 2**32 - 1


def packed(numbers: Vectors, shape: tuple[int, ...], what: str) -> bytes:
    """Raises InputError for another shape or what is no real number."""
    try:
        found = np.asarray(numbers)
    except ValueError as error:
        raise InputError(f"{what}: vector is no list of numbers") from error
    if found.dtype.kind not in "fiu":
        raise InputError(f"{what}: vector is no list of real numbers")
    if found.shape != shape:
        told = f"{found.shape[0]} numbers" if found.ndim == 1 else f"shape {list(found.shape)}"
        raise InputError(f"{what}: vector has {told}, expected {shape[-1]}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as that
        return found.astype("<f4").tobytes()


def packed_rows(vectors: Vectors, size: int, ids: Sequence[PointId]) -> bytes:
    """float32 bytes of all rows; looks at them one by one only to say which is wrong."""
    if len(vectors) != len(ids):
        raise InputError(f"{len(ids)} ids, {len(vectors)} vectors")
    if not len(ids):
        return b""
    try:
        return packed(vectors, (len(ids), size), "points")
    except InputError:
        for point_id, vector in zip(ids, vectors, strict=True):
            packed(vector, (size,), f"point `{point_id}`")
        raise


def packed_vector(json: Any, what: str) -> Vector:
    """A list of numbers, a list of such lists, or `{"indices", "values"}`. Raises InputError.

    How many numbers there must be is for whoever knows the collection.
    """
    if isinstance(json, dict):
        return _packed_sparse(json, what)
    if not isinstance(json, list):
        raise InputError(f"{what}: vector must be a list of numbers, of such lists, or have indices and values")
    if json and isinstance(json[0], list):
        rows = [_packed_list(row, what) for row in json]
        if len({len(row) for row in rows}) > 1:
            raise InputError(f"{what}: rows of a multivector must be equally long")
        return Multi(len(rows), b"".join(rows))
    return _packed_list(json, what)


def _packed_list(json: Any, what: str) -> bytes:
    if not isinstance(json, list):
        raise InputError(f"{what}: vector must be a list of numbers")
    try:
        return array("f", json).tobytes()
    except (TypeError, OverflowError) as error:
        raise InputError(f"{what}: vector is no list of real numbers") from error


def _packed_sparse(json: dict[str, Any], what: str) -> Sparse:
    if set(json) != {"indices", "values"} or not all(isinstance(part, list) for part in json.values()):
        raise InputError(f"{what}: a sparse vector needs `indices` and `values`")
    indices = json["indices"]
    if not all(type(index) is int and 0 <= index <= INDEX_MAX for index in indices):
        raise InputError(f"{what}: indices must be integers in 0..{INDEX_MAX}")
    if len(indices) != len(json["values"]):
        raise InputError(f"{what}: {len(indices)} indices, {len(json['values'])} values")
    return Sparse(array("I", indices).tobytes(), _packed_list(json["values"], what))


def packed_point(json: Any, what: str) -> PointVectors:
    """The vectors of one point: one without a name, or an object of names. Raises InputError."""
    if isinstance(json, dict):
        return {name: packed_vector(vector, f"{what}, vector `{name}`") for name, vector in json.items()}
    return packed_vector(json, what)


def as_array(vector: PointVectors) -> npt.NDArray[np.float32]:
    """The plain vector of a Hit or Record as float32[size]; a read-only view."""
    if not isinstance(vector, bytes):
        raise InputError("the point has no plain vector")
    return np.frombuffer(vector, "<f4")


def as_json(vectors: PointVectors) -> Any:
    """As Qdrant tells them."""
    match vectors:
        case bytes():
            return np.frombuffer(vectors, "<f4").tolist()
        case Multi():
            return np.frombuffer(vectors.numbers, "<f4").reshape(vectors.count, -1).tolist()
        case Sparse():
            values = np.frombuffer(vectors.values, "<f4").tolist()
            return {"indices": np.frombuffer(vectors.indices, "<u4").tolist(), "values": values}
    return {name: as_json(vector) for name, vector in vectors.items()}
