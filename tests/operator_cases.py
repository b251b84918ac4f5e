"""Operator cases, written once: model and feeds. Runners: the interpreter, the module, and ONNX Runtime as oracle."""

from typing import Any, NamedTuple

import numpy as np

from onnx_models import single

RNG = np.random.default_rng(11)


class Case(NamedTuple):
    """limit: largest error over the output's largest magnitude; 0 means equal."""

    name: str
    model: bytes
    feeds: dict[str, Any]
    limit: float


def floats(*shape: int, low: float = -3, high: float = 3) -> Any:
    return RNG.uniform(low, high, shape).astype(np.float32)


def case(
    op: str, feeds: dict[str, Any], constants: dict[str, Any] | None = None, limit: float = 2e-6, **more: Any
) -> Case:
    tag = more.pop("tag", "")
    name = "-".join(p for p in (op, tag) if p)
    return Case(name, single(op, feeds, constants, **more), feeds, limit)


ODD = (2, 3, 5, 7)  # no dimension is a whole number of vectors
UNARY = (
    "Abs Ceil Erf Exp Floor HardSwish LeakyRelu Neg Reciprocal Relu Round Sigmoid Sign Softsign Sqrt Tanh Elu Selu "
    "HardSigmoid Celu ThresholdedRelu"
)
BINARY = "Add Sub Mul Div"
COMPARE = "Equal Less LessOrEqual Greater GreaterOrEqual"


def elementwise() -> list[Case]:
    found = [case(op, {"x": floats(*ODD, low=0.1 if op in ("Sqrt", "Reciprocal") else -3)}) for op in UNARY.split()]
    found.append(case("Gelu", {"x": floats(*ODD)}, opset=20, tag="exact"))
    found.append(case("Gelu", {"x": floats(*ODD)}, opset=20, tag="tanh", approximate="tanh"))
    pairs = {
        "same": (ODD, ODD),
        "row": (ODD, (7,)),
        "column": (ODD, (3, 1, 1)),
        "both": ((2, 1, 5, 1), (3, 1, 7)),
        "scalar": (ODD, ()),
        "nothing": ((0, 3), (1, 3)),
    }
    for op in BINARY.split():
        for tag, (a, b) in pairs.items():
            found.append(case(op, {"a": floats(*a), "b": floats(*b, low=0.5)}, tag=tag))
    for op in COMPARE.split():
        a = RNG.integers(-2, 3, (4, 9))
        for kind in (np.float32, np.int64, np.int32):
            found.append(case(op, {"a": a.astype(kind), "b": a[::-1].astype(kind)}, limit=0, tag=kind.__name__))
    for kind in (np.int32, np.int64):
        a, b = RNG.integers(-9, 9, (3, 11)).astype(kind), RNG.integers(1, 5, (3, 11)).astype(kind)
        for op in ("Add", "Sub", "Mul", "Div", "Mod"):
            found.append(case(op, {"a": a, "b": b}, limit=0, tag=kind.__name__))
    bools = {"a": RNG.integers(0, 2, (2, 9)).astype(bool), "b": RNG.integers(0, 2, (2, 9)).astype(bool)}
    found += [case(op, bools, limit=0) for op in ("And", "Or", "Xor")]
    found.append(case("Not", {"a": bools["a"]}, limit=0))
    found.append(case("Where", {"c": bools["a"], "x": floats(2, 9), "y": floats(9)}, limit=0))
    for op in ("Min", "Max", "Sum", "Mean"):
        found.append(case(op, {"a": floats(2, 5), "b": floats(5), "c": floats(2, 1)}))
    found.append(case("Clip", {"x": floats(*ODD)}, {"low": np.float32(-1), "high": np.float32(1.5)}, limit=0))
    found.append(case("Clip", {"x": floats(*ODD)}, {"none": 0, "high": np.float32(1.5)}, limit=0, tag="high"))
    found.append(case("Clip", {"x": floats(*ODD)}, opset=6, min=-1.0, max=1.0, limit=0, tag="attributes"))
    found.append(case("PRelu", {"x": floats(*ODD)}, {"slope": floats(3, 1, 1)}))
    for exponent in (2.0, 3.0, 0.5):
        found.append(case("Pow", {"x": floats(3, 7, low=0.1)}, {"e": np.float32(exponent)}, tag=str(exponent)))
    for source, target in (
        (np.float32, 7),
        (np.int64, 1),
        (np.int32, 9),
        (np.bool_, 6),
        (np.float32, 3),
        (np.uint8, 1),
    ):
        values = (RNG.uniform(-5, 5, (3, 9))).astype(source)
        found.append(case("Cast", {"x": values}, limit=0, to=target, tag=f"{source.__name__}-{target}"))
    found.append(
        case(
            "BatchNormalization",
            {"x": floats(*ODD)},
            {"s": floats(3), "b": floats(3), "m": floats(3), "v": floats(3, low=0.5)},
        )
    )
    return found


def special_values() -> list[Case]:
    odd = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3.4e38, -3.4e38, 1.0, -1.0], np.float32)
    found = [
        case(op, {"x": odd}, tag="special") for op in ("Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Floor")
    ]
    found.append(case("IsNaN", {"x": odd}, limit=0))
    for op in ("Add", "Mul", "Sub"):
        found.append(case(op, {"a": odd, "b": odd[::-1].copy()}, tag="special"))
    return found


def movement() -> list[Case]:
    x, integers = floats(*ODD), RNG.integers(0, 9, ODD)
    i64 = lambda *v: np.asarray(v, np.int64)  # noqa: E731
    found = [
        case("Reshape", {"x": x}, {"s": i64(0, -1, 7)}, limit=0),
        case("Flatten", {"x": x}, axis=2, limit=0),
        case("Squeeze", {"x": floats(1, 3, 1, 2)}, {"a": i64(0, 2)}, limit=0),
        case("Unsqueeze", {"x": x}, {"a": i64(0, -1)}, limit=0),
        case("Identity", {"x": x}, limit=0),
        case("Expand", {"x": floats(3, 1)}, {"s": i64(2, 1, 6)}, limit=0),
        case("Tile", {"x": floats(2, 3)}, {"r": i64(2, 3)}, limit=0),
        case("Slice", {"x": x}, {"s": i64(1, -6), "e": i64(3, 99), "a": i64(1, 3), "t": i64(1, 2)}, limit=0),
        case("Slice", {"x": x}, {"s": i64(4), "e": i64(-99), "a": i64(2), "t": i64(-2)}, limit=0, tag="backwards"),
        case("Slice", {"x": x}, opset=9, starts=[1], ends=[2], axes=[1], limit=0, tag="attributes"),
        case("Concat", {"a": x, "b": floats(2, 1, 5, 7), "c": x}, axis=1, limit=0),
        case("Concat", {"a": x, "b": x}, axis=-1, limit=0, tag="last"),
        case("Split", {"x": x}, {"s": i64(1, 2)}, axis=1, outputs=2, limit=0),
        case("Split", {"x": floats(7, 2)}, axis=0, outputs=3, num_outputs=3, opset=18, limit=0, tag="uneven"),
        case("Gather", {"x": x}, {"i": i64(2, -1, 0)}, axis=1, limit=0),
        case("Gather", {"x": x, "i": RNG.integers(-5, 5, (2, 2))}, axis=2, limit=0, tag="at run time"),
        case("Gather", {"x": x}, {"i": np.asarray(3)}, axis=3, limit=0, tag="scalar"),
        case("DepthToSpace", {"x": floats(1, 8, 2, 3)}, blocksize=2, limit=0),
        case("DepthToSpace", {"x": floats(1, 8, 2, 3)}, blocksize=2, mode="CRD", limit=0, tag="CRD"),
        case("SpaceToDepth", {"x": floats(1, 2, 4, 6)}, blocksize=2, limit=0),
        case("OneHot", {"x": RNG.integers(-3, 3, (2, 4))}, {"d": np.asarray(3), "v": floats(2)}, axis=1, limit=0),
        case("Trilu", {"x": x}, {"k": np.asarray(1)}, upper=1, limit=0),
        case("Trilu", {"x": x}, upper=0, limit=0, tag="lower"),
    ]
    for perm in ((0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 2, 3)):
        found.append(case("Transpose", {"x": x}, perm=perm, limit=0, tag=str(perm)))
        found.append(case("Transpose", {"x": integers}, perm=perm, limit=0, tag=f"int64 {perm}"))
    for mode in ("constant", "edge", "reflect", "wrap"):
        constants = {"p": i64(0, 1, 2, 1, 0, 0, 1, 3)}
        if mode == "constant":
            constants["v"] = np.float32(1.5)
        found.append(case("Pad", {"x": x}, constants, mode=mode, opset=19, limit=0, tag=mode))
    found.append(case("Pad", {"x": x}, {"p": i64(0, -1, 2, 0, 0, 0, -2, 1)}, limit=0, tag="negative"))
    return found


def contractions() -> list[Case]:
    found = [
        case("Gemm", {"a": floats(5, 9)}, {"b": floats(9, 11), "c": floats(11)}),
        case("Gemm", {"a": floats(9, 5)}, {"b": floats(11, 9)}, transA=1, transB=1, alpha=0.5, tag="transposed"),
        case("Gemm", {"a": floats(3, 4), "b": floats(4, 6), "c": floats(3, 1)}, beta=2.0, tag="at run time"),
        case("MatMul", {"a": floats(2, 3, 5, 4)}, {"b": floats(4, 7)}, tag="constant"),
        case("MatMul", {"a": floats(2, 1, 5, 4), "b": floats(3, 4, 7)}, tag="broadcast"),
        case("MatMul", {"a": floats(4), "b": floats(3, 4, 7)}, tag="vector"),
        case("MatMul", {"a": floats(3, 7, 4), "b": floats(4)}, tag="vector right"),
        case("MatMul", {"a": floats(5, 4).astype("f8"), "b": floats(4, 3).astype("f8")}, tag="double"),
    ]
    convs: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
        "pointwise": ((2, 5, 6, 7), (9, 5, 1, 1), {}),
        "3x3": ((1, 3, 9, 11), (8, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        "strided": ((2, 4, 9, 10), (6, 4, 3, 3), {"strides": [2, 2], "pads": [0, 1, 1, 0]}),
        "dilated": ((1, 4, 12, 12), (5, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        "depthwise": ((2, 6, 9, 9), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        "multiplier": ((1, 3, 7, 7), (6, 1, 3, 3), {"group": 3}),
        "groups": ((2, 6, 7, 8), (9, 2, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
        "1d": ((2, 3, 20), (5, 3, 4), {"strides": [3], "pads": [2, 1]}),
        "3d": ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"pads": [1, 1, 0, 0, 1, 1]}),
        "same upper": ((1, 3, 8, 9), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        "same lower": ((1, 3, 8, 9), (4, 3, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        "7x7": ((1, 3, 20, 20), (9, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    }
    for tag, (x, w, attributes) in convs.items():
        constants = {"w": floats(*w), "b": floats(w[0])}
        found.append(case("Conv", {"x": floats(*x)}, constants, tag=tag, limit=1e-5, **attributes))
    found.append(
        case("Conv", {"x": floats(1, 3, 6, 6), "w": floats(4, 3, 3, 3)}, tag="weights at run time", limit=1e-5)
    )
    transposed: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
        "tiled": ((1, 3, 4, 5), (3, 4, 2, 2), {"strides": [2, 2]}),
        "overlapping": (
            (1, 3, 4, 5),
            (3, 4, 3, 3),
            {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        ),
        "groups": ((2, 4, 4, 5), (4, 3, 3, 3), {"strides": [2, 1], "group": 2}),
        "dilated": ((1, 2, 5, 5), (2, 3, 3, 3), {"dilations": [2, 2], "pads": [1, 0, 0, 1]}),
        "1d": ((1, 3, 9), (3, 4, 4), {"strides": [3]}),
    }
    for tag, (x, w, attributes) in transposed.items():
        groups = attributes.get("group", 1)
        constants = {"w": floats(*w), "b": floats(w[1] * groups)}
        found.append(case("ConvTranspose", {"x": floats(*x)}, constants, tag=tag, limit=1e-5, **attributes))
    return found


def reductions() -> list[Case]:
    x = floats(*ODD)
    found = []
    for op in (
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
    ):
        for tag, axes, keep in (("inner", [3], 1), ("outer", [0, 1], 0), ("middle", [-2], 1), ("all", [0, 1, 2, 3], 0)):
            if op == "ReduceSum":
                found.append(case(op, {"x": x}, {"a": np.asarray(axes)}, keepdims=keep, tag=tag, limit=5e-6))
            else:
                found.append(case(op, {"x": x}, axes=axes, keepdims=keep, tag=tag, limit=5e-6))
    found.append(case("ReduceSum", {"x": RNG.integers(-9, 9, ODD)}, {"a": np.asarray([1])}, limit=0, tag="int64"))
    found.append(case("ReduceMax", {"x": RNG.integers(-9, 9, ODD).astype(np.int32)}, axes=[2], limit=0, tag="int32"))
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        found.append(case(op, {"x": x}))
    pools: dict[str, dict[str, Any]] = {
        "plain": {"kernel_shape": [2, 3]},
        "padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        "ceil": {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    }
    for tag, attributes in pools.items():
        for op in ("MaxPool", "AveragePool"):
            found.append(case(op, {"x": floats(2, 5, 7, 9)}, tag=tag, **attributes))
    counted = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    found.append(case("AveragePool", {"x": floats(2, 5, 7, 9)}, tag="pads count", **counted))
    found.append(case("MaxPool", {"x": floats(1, 4, 11)}, kernel_shape=[3], strides=[2], dilations=[2], tag="1d"))
    for axis in (1, 2, -1):
        found.append(case("Softmax", {"x": floats(2, 5, 7)}, axis=axis, tag=str(axis)))
    found.append(case("Softmax", {"x": floats(2, 5, 7)}, axis=1, opset=11, tag="flattened"))
    return found


def resizes() -> list[Case]:
    x = floats(1, 2, 5, 6)
    found = []
    for mode in ("nearest", "linear", "cubic"):
        for coordinate in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            for tag, scale in (("up", 2.0), ("down", 0.6)):
                constants = {"none": 0, "s": np.asarray([1, 1, scale, scale], np.float32)}
                attributes = {"mode": mode, "coordinate_transformation_mode": coordinate}
                found.append(
                    case("Resize", {"x": x}, constants, tag=f"{mode} {coordinate} {tag}", limit=1e-5, **attributes)
                )
    sizes = {"none0": 0, "none1": 0, "z": np.asarray([1, 2, 9, 4])}
    found.append(case("Resize", {"x": x}, sizes, mode="linear", tag="sizes", limit=1e-5))
    shrunk = {"none0": 0, "s": np.asarray([1, 1, 0.5, 0.4], np.float32)}
    found.append(case("Resize", {"x": x}, shrunk, mode="linear", antialias=1, opset=18, tag="antialias", limit=1e-5))
    return found


def found_by_data() -> list[Case]:
    """Detection heads, sampling, contractions and transforms, and what keeps as much as data say."""
    boxes = RNG.uniform(0, 1, (2, 40, 2)).astype(np.float32)
    boxes = np.concatenate([boxes, boxes + RNG.uniform(0.1, 0.5, boxes.shape).astype(np.float32)], -1)
    scores = RNG.uniform(0, 1, (2, 3, 40)).astype(np.float32)
    limits = {"m": np.asarray([7]), "i": np.asarray([0.3], np.float32), "t": np.asarray([0.2], np.float32)}
    found = [
        case("NonMaxSuppression", {"b": boxes, "s": scores}, limits, limit=0),
        case("NonMaxSuppression", {"b": boxes, "s": scores} | limits, limit=0, tag="limits at run time"),
        case("Compress", {"x": floats(3, 5, 7), "c": RNG.integers(0, 2, 5).astype(bool)}, axis=1, limit=0),
        case("NonZero", {"x": RNG.integers(0, 2, (3, 5, 7)).astype(np.float32)}, limit=0),
        case("Unique", {"x": RNG.integers(0, 9, 37)}, outputs=4, limit=0),
        case("Unique", {"x": RNG.integers(0, 2, (9, 2))}, axis=0, outputs=4, limit=0, tag="rows"),
        case("MaxPool", {"x": floats(1, 3, 9, 11)}, kernel_shape=[3, 3], pads=[1, 1, 1, 1], outputs=2, tag="places"),
        case("Det", {"x": floats(5, 4, 4)}, limit=1e-5),
        case("LpPool", {"x": floats(1, 3, 9, 11)}, kernel_shape=[3, 2], strides=[2, 1], p=2),
        case("DFT", {"x": floats(2, 13, 1)}, axis=1, limit=1e-5),
        case("DFT", {"x": floats(2, 16, 1)}, axis=1, onesided=1, limit=1e-5, tag="onesided"),
        case(
            "RoiAlign",
            {"x": floats(2, 3, 17, 19), "r": np.float32([[1, 2, 9, 11], [0.5, 3, 16, 14]]), "b": np.asarray([0, 1])},
            output_height=3,
            output_width=5,
            sampling_ratio=2,
            limit=1e-5,
        ),
        case("Upsample", {"x": floats(1, 2, 5, 7), "s": np.float32([1, 1, 2, 3])}, opset=9, limit=0),
    ]
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            feeds = {"x": floats(2, 3, 6, 5), "g": floats(2, 4, 7, 2, low=-1.4, high=1.4)}
            found.append(
                case("GridSample", feeds, mode=mode, padding_mode=padding, limit=1e-5, tag=f"{mode} {padding}")
            )
    for equation, shapes in {
        "bhid,bhjd->bhij": ((2, 3, 5, 7), (2, 3, 4, 7)),
        "...ij,jk": ((2, 3, 5), (5, 4)),
        "ij,jk,kl->il": ((2, 3), (3, 5), (5, 4)),
        "iij->ji": ((3, 3, 5),),
    }.items():
        names = {name: floats(*shape) for name, shape in zip("abc", shapes, strict=False)}
        found.append(case("Einsum", names, equation=equation, limit=1e-5, tag=equation))
    return found


CASES = [*elementwise(), *special_values(), *movement(), *contractions(), *reductions(), *resizes(), *found_by_data()]
