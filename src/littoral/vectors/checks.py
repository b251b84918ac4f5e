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
from littoral.vectors.records import Payload, PointBatch, PointId, VectorParams

__all__ = [
    "NORM_MAX",
    "NORM_MIN",
    "check_columns",
    "check_payload",
    "check_points",
    "check_vector",
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


def check_points(batch: PointBatch, params: VectorParams, rows: Sequence[int]) -> None:
    """Vectors and payloads of the given rows; the columns must be equally long (see `columns`)."""
    vectors = memoryview(batch.vectors).cast("f")
    for row in rows:
        what = f"point `{batch.ids[row]}`"
        check_vector(vectors[row * params.size : (row + 1) * params.size], params, what)
        if batch.payloads is not None and (payload := batch.payloads[row]) is not None:
            check_payload(payload, what)


def check_columns(batch: PointBatch, params: VectorParams) -> None:
    """As many vectors and payloads as ids."""
    wanted = len(batch.ids) * params.size * FLOAT_BYTES
    if len(batch.vectors) != wanted:
        raise InputError(
            f"{len(batch.ids)} points: vectors have {len(batch.vectors)} bytes, "
            f"expected {wanted} ({params.size} float32 each)"
        )
    if batch.payloads is not None and len(batch.payloads) != len(batch.ids):
        raise InputError(f"{len(batch.ids)} points: {len(batch.payloads)} payloads")
