"""What may be given for an input: exact, or refused with both values."""

import numpy as np
import pytest

from littoral.errors import InputError
from littoral.runtime.inputs import as_stored


@pytest.mark.parametrize(
    ("value", "dtype", "stored"),
    [
        (7, "int64", 7),
        (7, "int8", 7),
        (7, "uint8", 7),
        (7, "float16", 7),
        ([1, 2], "float32", [1, 2]),
        ([0.1, 2], "float32", [np.float32(0.1), 2]),
        ((1, 2), "int32", [1, 2]),
        ([[1], [2]], "int64", [[1], [2]]),
        ([], "float32", []),
        ([[], []], "int64", [[], []]),
        (True, "bool", True),
        ([True, False], "bool", [True, False]),
        (float("inf"), "float32", float("inf")),
        (2**64 - 1, "uint64", 2**64 - 1),
        (-(2**63), "int64", -(2**63)),
        (2**24, "float32", 2**24),
        (-8, "int4", -8),
        (np.float32(1.5), "float32", 1.5),
        (np.array([1, 2], ">i4"), "int32", [1, 2]),
        (memoryview(bytes([1, 2])), "uint8", [1, 2]),
    ],
)
def test_what_is_exact_is_taken(value: object, dtype: str, stored: object) -> None:
    array = as_stored(value, dtype, "input `x`")
    assert array.dtype.name in (dtype, "int8")
    assert array.tolist() == stored


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (300, "int8", "`300` does not fit `int8`"),
        (-1, "uint8", "`-1` does not fit `uint8`"),
        (-1, "uint64", "`-1` does not fit `uint64`"),
        (2**63, "int64", "`9223372036854775808` does not fit `int64`"),
        (2**80, "int64", "`1208925819614629174706176` is no `int64`"),
        (2**24 + 1, "float32", "`16777217` does not fit `float32`"),
        (70_000, "float16", "`70000` does not fit `float16`"),
        (1e39, "float32", "`1e+39` does not fit `float32`"),
        (1.0, "int64", "`1.0` is no `int64`"),
        ([1, 2.5], "int64", "`[1, 2.5]` is no `int64`"),
        (True, "int64", "`True` is no `int64`"),
        (1, "bool", "`1` is no `bool`"),
        (["a"], "float32", "`['a']` is no `float32`"),
        ([None], "float32", "`[None]` is no `float32`"),
        ([[1], [2, 3]], "float32", "`[[1], [2, 3]]` is no regular array"),
        (1.5, "bfloat16", "Python numbers are no `bfloat16` · hint: give an array of its raw bits"),
        (8, "int4", "values 8..8, `int4` holds -8..7"),
        (np.array([-1, 16], np.int8).view(np.uint8), "uint4", "values 16..255, `uint4` holds 0..15"),
        (np.array([1], np.int64), "int32", "dtype `int64`, expected `int32` · hint: convert it to `int32` first"),
        (np.array([1], np.uint16), "float16", "dtype `uint16`, expected `float16`"),
        (np.float64(1), "float32", "dtype `float64`, expected `float32`"),
        ("text", "float32", "dtype `str128`, expected `float32`"),
        (b"text", "uint8", "dtype `bytes32`, expected `uint8`"),
        ({"a": 1}, "float32", "dtype `object`, expected `float32`"),
        ([0] * 1000, "bool", "`[0, 0, 0, 0, 0, 0, ...]` is no `bool`"),
    ],
)
def test_what_is_not_exact_is_refused_with_both_values(value: object, dtype: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        as_stored(value, dtype, "input `x`")
    assert str(caught.value).startswith(f"input `x`: {message}")


def test_an_object_that_fails_to_become_an_array_is_refused() -> None:
    class Broken:
        def __array__(self, dtype: object = None, copy: object = None) -> None:
            raise TypeError("no data")

    with pytest.raises(InputError, match="input `x`: `Broken` is no array: no data"):
        as_stored(Broken(), "float32", "input `x`")


def test_an_array_of_the_right_kind_is_not_copied() -> None:
    array = np.zeros(4, np.float32)
    assert as_stored(array, "float32", "input `x`") is array
