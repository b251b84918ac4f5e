"""Resize and Upsample: along each axis, a table of input elements and weights for every output element."""

from collections.abc import Callable

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, cast
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Resample
from littoral.compiler.ir.quanta import Stored, stored
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.marking import BYTE_LIMITS
from littoral.compiler.onnx.operators import resize_at_run_time
from littoral.errors import ShapeError
from littoral.tensors import Array

SIZE_MAX = 1 << 20
TABLE_MAX = 1 << 22
_Coordinate = Callable[[Array, float, int, int], Array]

# (output index, scale, input size, output size) -> input coordinate
COORDINATES: dict[str, _Coordinate] = {
    "half_pixel": lambda i, s, _n, _m: (i + 0.5) / s - 0.5,
    "half_pixel_symmetric": lambda i, s, n, m: (n / 2) * (1 - m / (s * n)) + (i + 0.5) / s - 0.5,
    "pytorch_half_pixel": lambda i, s, _n, m: (i + 0.5) / s - 0.5 if m > 1 else i * 0.0,
    "align_corners": lambda i, _s, n, m: i * ((n - 1) / (m - 1)) if m > 1 else i * 0.0,
    "asymmetric": lambda i, s, _n, _m: i / s,
}
NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _nearest(x: Array, size: int, rounding: str) -> tuple[Array, Array]:
    at = np.clip(NEAREST[rounding](x), 0, size - 1).astype(np.int32)
    return at[:, None], np.ones((len(x), 1))


def _triangle(distance: Array, _a: float) -> Array:
    weights: Array = np.maximum(1 - np.abs(distance), 0)
    return weights


def _cubic(distance: Array, a: float) -> Array:
    """Keys' kernel."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    weights: Array = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return weights


KERNELS = {"linear": (_triangle, 1), "cubic": (_cubic, 2)}


def _weighted(
    x: Array, size: int, scale: float, mode: str, a: float, antialias: bool, exclude: bool
) -> tuple[Array, Array]:
    """Taps of a linear or cubic kernel, widened when it shrinks with `antialias`; borders repeat or are left out."""
    kernel, radius = KERNELS[mode]
    stretch = min(scale, 1.0) if antialias else 1.0
    reach = int(np.ceil(radius / stretch))
    if reach * len(x) > TABLE_MAX:
        raise ShapeError(f"{2 * reach} inputs for each of {len(x)} outputs, at most {2 * TABLE_MAX} in all")
    first = np.floor(x).astype(np.int64) - reach + 1
    at = first[:, None] + np.arange(2 * reach)
    weights = kernel((at - x[:, None]) * stretch, a)
    if exclude:
        weights = np.where((at >= 0) & (at < size), weights, 0.0)
    if exclude or antialias or mode == "linear":
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(at, 0, size - 1).astype(np.int32), weights


@operator("Resize", "Upsample")
def resize(node: OnnxNode) -> Value:
    x = node.input(0)
    mode = node.choice("mode", "nearest", ("nearest", "linear", "cubic"))
    default = "half_pixel" if node.op == "Resize" and node.opset >= 11 else "asymmetric"
    coordinate = node.choice("coordinate_transformation_mode", default, (*COORDINATES, "tf_crop_and_resize"))
    rounding = node.choice("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor", tuple(NEAREST))
    a, antialias = node.number("cubic_coeff_a", -0.75), bool(node.integer("antialias", 0))
    exclude = bool(node.integer("exclude_outside", 0))
    form = resize_at_run_time.Form(
        mode, coordinate, rounding, a, antialias, exclude, node.number("extrapolation_value", 0.0)
    )
    scales_at = {"Upsample": 1, "Resize": 2 if node.opset >= 11 else 1}[node.op]
    if coordinate == "tf_crop_and_resize" or any(
        v is not None and v.data is None for v in (node.optional(i) for i in (scales_at, scales_at + 1))
    ):
        return resize_at_run_time.resize(node, x, form, scales_at)
    scales, sizes = _targets(node, x.shape, scales_at)
    given = x.dtype
    if mode != "nearest" and not given.startswith("float"):  # whole numbers are cut off, as ONNX Runtime does
        x = node.add(Map(cast(Arg(given, 0), "float32")), x)
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if size == x.shape[axis] and scale == 1.0:
            continue
        source = x.shape[axis]
        if size > SIZE_MAX:
            raise ShapeError(f"node `{node.label}`: resizes to {size} elements along axis {axis}, at most {SIZE_MAX}")
        at = np.asarray(COORDINATES[coordinate](np.arange(size, dtype=np.float64), scale, source, size), np.float64)
        if mode == "nearest":
            indices, weights = _nearest(at, source, rounding)
        else:
            indices, weights = _weighted(at, source, scale, mode, a, antialias, exclude)
        x = node.add(Resample(axis), x, node.constant(indices), node.constant(weights.astype(np.float32)))
    return x if x.dtype == given else node.add(Map(_cut_off(given)), x)


def _cut_off(dtype: str) -> Expr:
    """float32 to a whole number, within its limits."""
    value: Expr = Arg("float32", 0)
    if dtype in BYTE_LIMITS:
        low, high = BYTE_LIMITS[dtype]
        return stored(Stored(value, "trunc", 0, low, high, dtype))
    return cast(value, dtype)


def _targets(node: OnnxNode, shape: tuple[int, ...], at: int) -> tuple[list[float], list[int]]:
    """Scale and size of every axis, from the one that is given and `axes` and `keep_aspect_ratio_policy`."""
    rank = len(shape)
    axes = [node.normal_axis(a, rank) for a in node.optional_integers("axes") or range(rank)]
    scales_given: Array | None = np.asarray(node.numbers("scales", ()), np.float32)
    if node.op == "Resize" or node.opset >= 9:
        scales_given = node.optional_array(at, "scales")
    if scales_given is not None and scales_given.size == 0:
        scales_given = None
    sizes_given = node.optional_array(at + 1, "sizes") if scales_given is None else None
    policy = node.choice("keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
    scales, sizes = [1.0] * rank, list(shape)
    if scales_given is not None:
        for axis, scale in zip(axes, scales_given, strict=True):
            scales[axis], sizes[axis] = float(scale), int(np.floor(shape[axis] * float(scale)))
        return scales, sizes
    if sizes_given is None:
        raise ShapeError(f"node `{node.label}`: neither scales nor sizes are given")
    ratios = [int(s) / shape[a] for a, s in zip(axes, sizes_given, strict=True)]
    for axis, size, ratio in zip(axes, sizes_given, ratios, strict=True):
        if policy == "stretch":
            scales[axis], sizes[axis] = ratio, int(size)
        else:
            common = min(ratios) if policy == "not_larger" else max(ratios)
            scales[axis], sizes[axis] = common, int(np.floor(common * shape[axis] + 0.5))
    return scales, sizes
