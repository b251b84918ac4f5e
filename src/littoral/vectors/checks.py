"""Checks that every write and query passes before the store sees it.

The store accepts what later poisons it: NaN is counted and never found, an infinite Dot score ranks first, a payload
nested 130 deep can be written and not read. Each check raises InputError or TooLargeError and names the point.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.vectors.records import (
    CollectionConfig,
    Multi,
    Payload,
    PointBatch,
    PointId,
    PointVectors,
    Sparse,
    Vector,
    VectorParams,
)

__all__ = [
    "NORM_MAX",
    "NORM_MIN",
    "check_columns",
    "check_named",
    "check_payload",
    "check_points",
    "check_vector",
    "check_vectors",
    "checked_id",
    "checked_ids",
]

ID_MAX = 2**64 - 1
INTEGER_MIN = -(2**63)
NORM_MIN = 1e-12
NORM_MAX = 1e18
PAYLOAD_BYTES_MAX = 1 << 20
PAYLOAD_DEPTH_MAX = 32
FLOAT_BYTES = 4
MULTI_COUNT_MAX = 4096
SPARSE_COUNT_MAX = 1 << 20

_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")


def checked_id(value: Any) -> PointId:
    """The id in the form the store gives back: an int in 0 … 2⁶⁴ − 1, or a canonical UUID."""
    if isinstance(value, str):
        if match := _UUID.fullmatch(value.lower()):
            return "-".join(match.groups())
        raise InputError(f"point id is `{value[:80]}`, must be an unsigned integer or a UUID")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"point id is of type {type(value).__name__}, must be an unsigned integer or a UUID")
    if not 0 <= value <= ID_MAX:
        raise InputError(f"point id is {_shown(value)}, must be an integer in 0..{ID_MAX} or a UUID")
    return value


def checked_ids(values: Iterable[Any]) -> list[PointId]:
    """`checked_id` of each, in order."""
    return [checked_id(value) for value in values]


def _shown(value: int) -> str:
    return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"


def check_vector(vector: "memoryview[float]", params: VectorParams, what: str) -> None:
    """vector: float32[size]. `what` begins the message: "point `7`", "query"."""
    if len(vector) != params.size:
        raise InputError(f"{what}: vector has {len(vector)} numbers, expected {params.size}")
    norm = math.hypot(*vector)
    if not math.isfinite(norm):
        at = next(i for i, number in enumerate(vector) if not math.isfinite(number))
        raise InputError(f"{what}: number {at} of the vector is {vector[at]}, must be finite in float32")
    if norm > NORM_MAX:
        raise InputError(f"{what}: length of the vector is {norm:.3g}, must be at most {NORM_MAX:g}")
    if params.distance == "Cosine" and norm < NORM_MIN:
        raise InputError(f"{what}: length of the vector is {norm:.3g}, Cosine needs at least {NORM_MIN:g}")


def check_payload(payload: Payload, what: str) -> None:
    """A JSON object of bounded depth and bytes."""
    _check_json(payload, what, PAYLOAD_DEPTH_MAX)
    try:
        size = len(msgspec.msgpack.encode(payload))
    except UnicodeEncodeError as error:
        raise InputError(f"{what}: payload holds text that is no Unicode: {error.reason}") from error
    if size > PAYLOAD_BYTES_MAX:
        raise TooLargeError(f"{what}: payload has {size} bytes, at most {PAYLOAD_BYTES_MAX}")


def _check_json(value: Any, what: str, depth_left: int) -> None:
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= ID_MAX:
            raise InputError(f"{what}: payload holds {_shown(value)}, integers must be in -2^63..2^64-1")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{what}: payload holds {value}, numbers must be finite")
        return
    if not isinstance(value, (list, dict)):
        raise InputError(f"{what}: payload holds a value of type {type(value).__name__}, must be JSON")
    if not depth_left:
        raise TooLargeError(f"{what}: payload is nested deeper than {PAYLOAD_DEPTH_MAX}")
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise InputError(f"{what}: payload holds a key that is no text")
    for part in value.values() if isinstance(value, dict) else value:
        _check_json(part, what, depth_left - 1)


def check_vectors(vectors: PointVectors, config: CollectionConfig, what: str) -> None:
    """Every vector of a point has a known name, and is as that name says."""
    if not isinstance(vectors, dict):
        vectors = {"": vectors}
    for name, vector in vectors.items():
        check_named(vector, name, config, what)


def check_named(vector: Vector, name: str, config: CollectionConfig, what: str) -> None:
    """One vector of any kind against what the collection says of its name."""
    what = f"{what}, vector `{name}`" if name else what
    if name in config.sparse:
        if not isinstance(vector, Sparse):
            raise InputError(f"{what}: must be a sparse vector")
        _check_sparse(vector, what)
        return
    if (params := config.dense.get(name)) is None:
        raise InputError(f"{what}: not existing vector name, the collection has {_names(config)}")
    if isinstance(vector, Sparse):
        raise InputError(f"{what}: is no sparse vector")
    if isinstance(vector, Multi):
        if params.multivector_config is None:
            raise InputError(f"{what}: is one vector, not several")
        _check_multi(vector, params, what)
    elif len(vector) % FLOAT_BYTES:
        raise InputError(f"{what}: vector has {len(vector)} bytes, expected {params.size} float32")
    else:
        check_vector(memoryview(vector).cast("f"), params, what)


def _names(config: CollectionConfig) -> str:
    return ", ".join(f"`{name}`" for name in (*config.dense, *config.sparse))


def _check_multi(vector: Multi, params: VectorParams, what: str) -> None:
    if not 1 <= vector.count <= MULTI_COUNT_MAX:
        raise InputError(f"{what}: {vector.count} vectors, must be 1..{MULTI_COUNT_MAX}")
    if len(vector.numbers) % (vector.count * FLOAT_BYTES):
        raise InputError(f"{what}: {vector.count} vectors in {len(vector.numbers)} bytes")
    numbers = memoryview(vector.numbers).cast("f")
    size = len(numbers) // vector.count
    for row in range(vector.count):
        check_vector(numbers[row * size : (row + 1) * size], params, what)


def _check_sparse(vector: Sparse, what: str) -> None:
    if len(vector.indices) != len(vector.values) or len(vector.indices) % FLOAT_BYTES:
        raise InputError(f"{what}: indices and values must be equally many")
    if len(vector.indices) > SPARSE_COUNT_MAX * FLOAT_BYTES:
        raise TooLargeError(f"{what}: {len(vector.indices) // FLOAT_BYTES} values, at most {SPARSE_COUNT_MAX}")
    indices = memoryview(vector.indices).cast("I")
    if len(set(indices)) != len(indices):
        raise InputError(f"{what}: indices must be unique")
    if not all(map(math.isfinite, memoryview(vector.values).cast("f"))):
        raise InputError(f"{what}: values must be finite in float32")


def check_points(batch: PointBatch, config: CollectionConfig, rows: Sequence[int]) -> None:
    """Vectors and payloads of the given rows; the columns must be equally long (see `check_columns`)."""
    columns = memoryview(batch.vectors).cast("f") if isinstance(batch.vectors, bytes) else None
    for row in rows:
        what = f"point `{batch.ids[row]}`"
        if columns is not None and (params := config.vectors) is not None:
            check_vector(columns[row * params.size : (row + 1) * params.size], params, what)
        else:
            check_vectors(batch.vectors[row], config, what)  # type: ignore[arg-type]
        if batch.payloads is not None and (payload := batch.payloads[row]) is not None:
            check_payload(payload, what)


def check_columns(batch: PointBatch, config: CollectionConfig) -> None:
    """As many vectors and payloads as ids."""
    count = len(batch.ids)
    if isinstance(batch.vectors, list):
        if len(batch.vectors) != count:
            raise InputError(f"{count} points: {len(batch.vectors)} vectors")
    elif config.vectors is None:
        raise InputError(f"points: vectors need a name, the collection has {_names(config)}")
    elif len(batch.vectors) != (wanted := count * config.vectors.size * FLOAT_BYTES):
        raise InputError(
            f"{count} points: vectors have {len(batch.vectors)} bytes, "
            f"expected {wanted} ({config.vectors.size} float32 each)"
        )
    if batch.payloads is not None and len(batch.payloads) != count:
        raise InputError(f"{count} points: {len(batch.payloads)} payloads")
