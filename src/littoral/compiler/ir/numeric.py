"""The few operations that formulas need beside `+ − × ÷ <`, for numpy arrays; kernels have the same for WebAssembly."""

from typing import Any, Protocol

import numpy as np

__all__ = ["NUMPY", "Numeric"]

_INTEGER = {"float32": np.int32, "float64": np.int64}


class Numeric(Protocol):
    """Floats of one width (f32 or f64), and signed integers of the same width for their bits."""

    def const(self, like: Any, value: float) -> Any:
        """A constant of the same kind as `like`."""

    def wide(self, x: Any) -> bool:
        """Whether `x` is f64."""

    def bits(self, x: Any) -> Any:
        """The bits of floats as integers."""

    def floats(self, i: Any) -> Any:
        """Integers as the bits of floats."""

    def shift_left(self, i: Any, count: int) -> Any: ...

    def shift_right(self, i: Any, count: int) -> Any:
        """Keeps the sign."""

    def mask(self, i: Any, value: int) -> Any:
        """Bitwise and with a constant."""

    def integer(self, like: Any, value: int) -> Any:
        """An integer constant of the same width."""

    def to_float(self, i: Any) -> Any:
        """Integers converted to floats of the same width."""

    def absolute(self, x: Any) -> Any: ...

    def square_root(self, x: Any) -> Any: ...

    def round(self, x: Any) -> Any:
        """To the nearest integer, ties to even."""

    def truncate(self, x: Any) -> Any: ...

    def copy_sign(self, x: Any, sign: Any) -> Any: ...

    def equal(self, a: Any, b: Any) -> Any: ...

    def not_equal(self, a: Any, b: Any) -> Any: ...

    def both(self, a: Any, b: Any) -> Any:
        """Conditions combined."""

    def either(self, a: Any, b: Any) -> Any: ...

    def select(self, condition: Any, a: Any, b: Any) -> Any: ...

    def at_least(self, x: Any, bound: float) -> Any:
        """x, or the bound where x is below it; a NaN stays."""

    def at_most(self, x: Any, bound: float) -> Any:
        """x, or the bound where x is above it; a NaN stays."""

    def keep(self, x: Any) -> Any:
        """Marks a value that is used more than once."""


class _Numpy:
    def const(self, like: Any, value: float) -> Any:
        return like.dtype.type(value)

    def wide(self, x: Any) -> bool:
        return bool(x.dtype == np.float64)

    def bits(self, x: Any) -> Any:
        return np.asarray(x).view(_INTEGER[x.dtype.name])

    def floats(self, i: Any) -> Any:
        return np.asarray(i).view(np.float32 if i.dtype == np.int32 else np.float64)

    def shift_left(self, i: Any, count: int) -> Any:
        return i << i.dtype.type(count)

    def shift_right(self, i: Any, count: int) -> Any:
        return i >> i.dtype.type(count)

    def mask(self, i: Any, value: int) -> Any:
        return i & i.dtype.type(value)

    def integer(self, like: Any, value: int) -> Any:
        return like.dtype.type(value)

    def to_float(self, i: Any) -> Any:
        return i.astype(np.float32 if i.dtype == np.int32 else np.float64)

    def absolute(self, x: Any) -> Any:
        return np.abs(x)

    def square_root(self, x: Any) -> Any:
        return np.sqrt(x)

    def round(self, x: Any) -> Any:
        return np.rint(x)

    def truncate(self, x: Any) -> Any:
        return np.trunc(x)

    def copy_sign(self, x: Any, sign: Any) -> Any:
        return np.copysign(x, sign)

    def equal(self, a: Any, b: Any) -> Any:
        return a == b

    def not_equal(self, a: Any, b: Any) -> Any:
        return a != b

    def both(self, a: Any, b: Any) -> Any:
        return a & b

    def either(self, a: Any, b: Any) -> Any:
        return a | b

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return np.where(condition, a, b)

    def at_least(self, x: Any, bound: float) -> Any:
        return np.where(x < self.const(x, bound), self.const(x, bound), x)

    def at_most(self, x: Any, bound: float) -> Any:
        return np.where(self.const(x, bound) < x, self.const(x, bound), x)

    def keep(self, x: Any) -> Any:
        return x


NUMPY = _Numpy()
