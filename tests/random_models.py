"""Random models from a seed: operators of every family on shapes with 0, 1, primes and scalars among their sizes.

Values stay within bounds that keep rounding errors small, and what jumps (comparisons, rounding, places of the largest)
reads inputs alone, so that two right answers never differ much.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from model_maker import BOUND_MAX, FLOAT, SIZES, Made, Maker, Skip, Tensor

UNARY = (
    *("Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Abs", "Neg"),
    *("LeakyRelu", "Elu", "Softplus", "Softsign", "Sin", "Cos", "Identity"),
)


def unary(m: Maker) -> None:
    x = m.pick()
    op = m.rng.choice(UNARY)
    if op in ("Sin", "Cos") and x.bound > 20:
        op = "Tanh"  # the error of a large sum is large beside a turn
    m.node(op, [x], 1.0 if op in ("Sigmoid", "Tanh", "Erf", "Sin", "Cos", "Softsign") else x.bound)


def clip(m: Maker) -> None:
    low, high = m.weight(np.float32(-1.5)), m.weight(np.float32(0.75))
    m.node("Clip", [m.pick(), low, high], 1.5)


def powers(m: Maker) -> None:
    x = m.pick(lambda t: t.bound <= 4)
    m.node("Exp", [x], 55.0)


def jumps(m: Maker) -> None:
    x = m.pick(lambda t: t.exact)
    m.node(m.rng.choice(["Floor", "Ceil", "Round", "Sign"]), [x], 2.0)


def swish(m: Maker) -> None:
    x = m.pick()
    gate = m.node(m.rng.choice(["Sigmoid", "HardSigmoid", "Tanh"]), [x], 1.0)
    m.node("Mul", [x, gate] if m.rng.random() < 0.5 else [gate, x], x.bound)


def partner(m: Maker, x: Tensor) -> Any:
    """Something that broadcasts with x: another tensor, or a constant of some of its axes."""
    fits = [t for t in m.tensors if t.dtype == x.dtype and t.shape == x.shape]
    if m.rng.random() < 0.5:
        return m.rng.choice(fits)
    cut = m.rng.randrange(len(x.shape) + 1)
    shape = [d if m.rng.random() < 0.6 else 1 for d in x.shape[cut:]]
    if m.rng.random() < 0.3:
        return m.input(tuple(shape))
    return m.floats(*shape)


def binary(m: Maker) -> None:
    x = m.pick()
    other = partner(m, x)
    bound = 1.0 if isinstance(other, str) else other.bound
    op = m.rng.choice(["Add", "Sub", "Mul", "Max", "Min", "Add"])
    total = {"Mul": x.bound * bound, "Max": max(x.bound, bound), "Min": max(x.bound, bound)}.get(op, x.bound + bound)
    m.node(op, [x, other] if m.rng.random() < 0.7 else [other, x], total)


def quotient(m: Maker) -> None:
    x = m.pick()
    m.node("Div", [x, m.floats(*x.shape[-1:], low=0.5, high=2.0)], 2 * x.bound)


def choose(m: Maker) -> None:
    x = m.pick(lambda t: t.exact)
    limit = m.weight(np.float32(0.25))
    flag = m.node(m.rng.choice(["Greater", "LessOrEqual"]), [x, limit], 1.0)
    y = m.pick(lambda t: t.shape == x.shape)
    m.node("Where", [flag, y, partner(m, y)], max(y.bound, 2.0))


def reduce(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0)
    kinds = ["ReduceSum", "ReduceSumSquare", "ReduceL2"]
    if 0 not in x.shape:
        kinds += ["ReduceMean", "ReduceMax", "ReduceMin"]
    op = m.rng.choice(kinds)
    axes = m.rng.sample(range(len(x.shape)), m.rng.randint(1, len(x.shape)))
    if 0 not in x.shape:  # of an empty tensor, ONNX Runtime takes no negative axes
        axes = [a - len(x.shape) if m.rng.random() < 0.3 else a for a in axes]
    size = float(np.prod([x.shape[a] for a in axes]))
    bound = {"ReduceSum": x.bound * size, "ReduceSumSquare": x.bound**2 * size, "ReduceL2": x.bound * size}
    m.node(op, [x, m.integers(*axes)], bound.get(op, x.bound), keepdims=m.rng.randint(0, 1))


def window(m: Maker, spatial: Sequence[int], kernels: Sequence[int]) -> dict[str, Any]:
    """Attributes of a sliding window that fits."""
    kernel = [m.rng.choice(kernels) for _ in spatial]
    strides = [m.rng.choice([1, 1, 2, 3]) for _ in spatial]
    dilations = [m.rng.choice([1, 1, 1, 2]) for _ in spatial]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    before = [m.rng.randint(0, min(r - 1, 2)) for r in reach]
    after = [m.rng.randint(0, min(r - 1, 2)) for r in reach]
    if any(n + a + b < r for n, a, b, r in zip(spatial, before, after, reach, strict=True)):
        raise Skip
    if m.rng.random() < 0.15 and set(dilations) == {1} and all(n >= r for n, r in zip(spatial, reach, strict=True)):
        return found | {"auto_pad": m.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    return found | {"pads": [*before, *after]}


def is_picture(t: Tensor) -> bool:
    return len(t.shape) in (3, 4, 5) and 0 not in t.shape


def fresh_picture(m: Maker) -> Tensor:
    sizes = m.rng.choice(SIZES), m.rng.choice(SIZES)
    return m.input((1, 4 * m.rng.randint(1, 8), *sizes))


def conv(m: Maker) -> None:
    x = m.pick(is_picture) if m.rng.random() < 0.8 else fresh_picture(m)
    channels = x.shape[1]
    groups = m.rng.choice([1, 1, channels, *(g for g in (2, 3, 4) if channels % g == 0)])
    made = groups * m.rng.choice([1, 1, 2, 3, 5]) if groups > 1 else m.rng.choice(SIZES)
    about = window(m, x.shape[2:], [1, 1, 2, 3, 3, 5])
    w = m.floats(made, channels // groups, *about["kernel_shape"], low=-0.5, high=0.5)
    bias = [m.floats(made)] if m.rng.random() < 0.6 else []
    reads = channels // groups * float(np.prod(about["kernel_shape"]))
    y = m.node("Conv", [x, w, *bias], x.bound * reads**0.5 + 1, group=groups, **about)
    if m.rng.random() < 0.4:
        c = [m.floats(made, low=0.5, high=1.5), m.floats(made), m.floats(made), m.floats(made, low=0.5, high=1.5)]
        m.node("BatchNormalization", [y, *c], 2 * y.bound + 2, epsilon=0.01)


def filtered(m: Maker) -> None:
    """Large enough for minimal filtering, with something to fuse behind it."""
    channels, made = m.rng.choice([32, 36]), m.rng.choice([32, 34, 36])
    x = m.input((m.rng.choice([1, 1, 2]), channels, m.rng.randint(15, 18), m.rng.randint(15, 18)))
    pads = [m.rng.randint(0, 2) for _ in range(4)]
    w = m.floats(made, channels, 3, 3, low=-0.2, high=0.2)
    y = m.node("Conv", [x, w, *([m.floats(made)] if m.rng.random() < 0.5 else [])], 10.0, pads=pads)
    if m.rng.random() < 0.5:
        y = m.node("Add", [y, m.input(y.shape) if m.rng.random() < 0.5 else m.floats(made, 1, 1)], 12.0)
    if m.rng.random() < 0.7:
        m.node(m.rng.choice(["Relu", "Sigmoid", "HardSwish"]), [y], 12.0)


def deep(m: Maker) -> None:
    """A product whose sums are made in parts, or whose right side is long."""
    rows, depth, width = (
        m.rng.choice([1, 5, 16, 19, 33]),
        m.rng.choice([520, 1031, 2100]),
        m.rng.choice([8, 31, 64, 97]),
    )
    y = m.node("MatMul", [m.input((rows, depth)), m.floats(depth, width, low=-0.1, high=0.1)], 20.0)
    if m.rng.random() < 0.5:
        y = m.node("Add", [y, m.input((rows, width))], 22.0)
    if m.rng.random() < 0.5:
        m.node(m.rng.choice(["Relu", "Tanh"]), [y], 22.0)


def conv_transpose(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) == 4 and 0 not in t.shape)
    groups = m.rng.choice([1, 1, x.shape[1]])
    kernel, strides = [m.rng.randint(1, 3) for _ in "hw"], [m.rng.randint(1, 3) for _ in "hw"]
    if m.rng.random() < 0.3:
        strides = kernel
    dilations = [m.rng.choice([1, 1, 2]) for _ in "hw"]
    pads = [m.rng.randint(0, (k - 1) // 2) for k in kernel] * 2
    extra = [m.rng.randint(0, s - 1) for s in strides]
    w = m.floats(x.shape[1], m.rng.choice([1, 2, 5]), *kernel, low=-0.5, high=0.5)
    about = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
    bound = x.bound * x.shape[1] * 9**0.5
    m.node("ConvTranspose", [x, w], bound, group=groups, output_padding=extra, **about)


def pool(m: Maker) -> None:
    x = m.pick(is_picture)
    about = window(m, x.shape[2:], [1, 2, 2, 3])
    if "pads" in about:  # or a window might hold nothing but padding, of which no two agree what is its largest
        about["dilations"] = [1] * len(about["dilations"])
        room = [k - 1 for k in about["kernel_shape"]]
        about["pads"] = [min(p, k) for p, k in zip(about["pads"], room * 2, strict=True)]
    if m.rng.random() < 0.2:
        m.node(m.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), [x], x.bound)
        return
    if m.rng.random() < 0.5 and "auto_pad" not in about:
        about["ceil_mode"] = 1
    if m.rng.random() < 0.5:
        m.node("MaxPool", [x], x.bound, **about)
        return
    about.pop("dilations")
    if "pads" in about:
        about["count_include_pad"] = m.rng.randint(0, 1)
        about.pop("ceil_mode", None)
    m.node("AveragePool", [x], x.bound, **about)


def matmul(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) >= 2 and 0 not in t.shape)
    depth, width = x.shape[-1], m.rng.choice(SIZES)
    if m.rng.random() < 0.5:
        other: Any = m.floats(depth, width)
    else:
        batch = [d if m.rng.random() < 0.6 else 1 for d in x.shape[:-2]][m.rng.randrange(len(x.shape) - 1) :]
        shape = (*batch, depth, width)
        other = m.input(shape) if m.rng.random() < 0.6 else m.floats(*shape)
    y = m.node("MatMul", [x, other], x.bound * depth**0.5 * 2)
    if m.rng.random() < 0.5:
        m.node("Add", [y, m.floats(width)], y.bound + 1)


def gemm(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) == 2 and 0 not in t.shape)
    turn, width = m.rng.randint(0, 1), m.rng.choice(SIZES)
    w = m.floats(*((width, x.shape[1]) if turn else (x.shape[1], width)))
    bias = [m.rng.choice([m.floats(width), m.floats(1, width), m.floats()])]
    m.node("Gemm", [x, w, *bias], x.bound * x.shape[1], transB=turn, alpha=0.5, beta=2.0)


def turn(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) >= 2)
    m.node("Transpose", [x], x.bound, perm=m.rng.sample(range(len(x.shape)), len(x.shape)))


def reshape(m: Maker) -> None:
    x = m.pick(lambda t: 0 not in t.shape)
    left, shape = int(np.prod(x.shape)), []
    while left > 1 and len(shape) < 4:
        factor = m.rng.choice([f for f in range(1, left + 1) if left % f == 0])
        shape.append(factor)
        left //= factor
    shape.append(left)
    m.rng.shuffle(shape)
    if shape and m.rng.random() < 0.4:
        shape[m.rng.randrange(len(shape))] = -1
    m.node("Reshape", [x, m.integers(*shape)], x.bound)


def squeeze(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) < 5)
    if 1 in x.shape and m.rng.random() < 0.5:
        m.node("Squeeze", [x, m.integers(x.shape.index(1))], x.bound)
    else:
        m.node("Unsqueeze", [x, m.integers(m.rng.randint(0, len(x.shape)))], x.bound)


def cut(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0)
    axes = m.rng.sample(range(len(x.shape)), m.rng.randint(1, min(2, len(x.shape))))
    starts, stops, steps = [], [], []
    for axis in axes:
        size, step = x.shape[axis], m.rng.choice([1, 1, 2, 3, -1, -2])
        a, b = sorted((m.rng.randint(-size - 1, size + 1), m.rng.randint(-size - 1, size + 1)))
        starts.append(a if step > 0 else b)
        stops.append(b if step > 0 else a)
        steps.append(step)
    m.node("Slice", [x, *(m.integers(*part) for part in (starts, stops, axes, steps))], x.bound)


def split(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0 and t.shape[-1] >= 2)
    first = m.rng.randint(1, x.shape[-1] - 1)
    m.node("Split", [x, m.integers(first, x.shape[-1] - first)], x.bound, outputs=2, axis=-1)


def concat(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0)
    axis = m.rng.randrange(len(x.shape))
    fits = [
        t
        for t in m.tensors
        if t.dtype == x.dtype
        and len(t.shape) == len(x.shape)
        and all(a == b for i, (a, b) in enumerate(zip(t.shape, x.shape, strict=True)) if i != axis)
    ]
    parts = [x, *(m.rng.choice(fits) for _ in range(m.rng.randint(1, 3)))]
    m.node("Concat", parts, max(t.bound for t in parts), axis=axis)


def gather(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0 and 0 not in t.shape)
    axis = m.rng.randrange(len(x.shape))
    size = x.shape[axis]
    shape = m.rng.choice([(), (1,), (3,), (2, 2)])
    m.node("Gather", [x, m.weight(m.numbers.integers(-size, size, shape))], x.bound, axis=axis)


def pad(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0 and all(d > 2 or d == 1 for d in t.shape))
    mode = m.rng.choice(["constant", "constant", "edge", "reflect"])
    room = [m.rng.randint(0, 2) if d > 2 else 0 for d in x.shape] + [
        m.rng.randint(0, 2) if d > 2 else 0 for d in x.shape
    ]
    value = [m.weight(np.float32(m.rng.choice([0.0, 0.0, 1.5])))] if mode == "constant" else []
    m.node("Pad", [x, m.integers(*room), *value], max(x.bound, 1.5), mode=mode)


def expand(m: Maker) -> None:
    x = m.pick(lambda t: 1 in t.shape or len(t.shape) < 2)
    shape = [m.rng.choice([1, 2, 3]), *(m.rng.choice([1, 3, 4]) if d == 1 else d for d in x.shape)]
    m.node("Expand", [x, m.integers(*shape)], x.bound)


def tile(m: Maker) -> None:
    x = m.pick(lambda t: 0 < len(t.shape) < 4)
    m.node("Tile", [x, m.integers(*(m.rng.choice([1, 1, 2, 3]) for _ in x.shape))], x.bound)


def resize(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) == 4 and 0 not in t.shape)
    scales = m.weight(np.asarray([1, 1, m.rng.choice([2, 1, 3]), m.rng.choice([2, 1])], np.float32))
    mode = m.rng.choice(["nearest", "linear", "cubic"])
    how = m.rng.choice(["half_pixel", "asymmetric", "align_corners"])
    m.node("Resize", [x, "", scales], 2 * x.bound, mode=mode, coordinate_transformation_mode=how)


def softmax(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 0 and 0 not in t.shape and t.bound < 50)
    m.node(
        m.rng.choice(["Softmax", "Softmax", "LogSoftmax"]),
        [x],
        2 * x.bound + 10,
        axis=m.rng.randrange(-1, len(x.shape)),
    )


def layer_norm(m: Maker) -> None:
    x = m.pick(lambda t: len(t.shape) > 1 and 0 not in t.shape and t.bound < 50)
    width = x.shape[-1]
    bias = [m.floats(width)] if m.rng.random() < 0.7 else []
    m.node("LayerNormalization", [x, m.floats(width), *bias], 10.0, axis=-1, epsilon=0.1)


def layer_norm_by_hand(m: Maker) -> None:
    """As older exporters write it."""
    x = m.pick(lambda t: len(t.shape) > 1 and 0 not in t.shape and t.bound < 50)
    last = m.integers(-1)
    mean = m.node("ReduceMean", [x, last], x.bound)
    off = m.node("Sub", [x, mean], 2 * x.bound)
    square = m.node("Pow", [off, m.weight(np.float32(2))], BOUND_MAX)
    spread = m.node("Add", [m.node("ReduceMean", [square, last], BOUND_MAX), m.weight(np.float32(0.1))], BOUND_MAX)
    y = m.node("Div", [off, m.node("Sqrt", [spread], BOUND_MAX)], 10.0)
    y = m.node("Mul", [y, m.floats(x.shape[-1])], 10.0)
    m.node("Add", [y, m.floats(x.shape[-1])], 11.0)


def attention(m: Maker) -> None:
    """Heads side by side, split, scored, mixed and joined."""
    heads, size, tokens = m.rng.choice([1, 2, 3]), m.rng.choice([2, 4, 5, 8]), m.rng.choice(SIZES)
    x = m.input((m.rng.choice([1, 2]), tokens, heads * size))
    split_shape, joined = m.integers(0, -1, heads, size), m.integers(0, -1, heads * size)
    sides = []
    for perm in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)):
        y = m.node("MatMul", [x, m.floats(heads * size, heads * size, low=-0.3, high=0.3)], 10.0)
        y = m.node("Add", [y, m.floats(heads * size)], 10.0)
        sides.append(m.node("Transpose", [m.node("Reshape", [y, split_shape], 10.0)], 10.0, perm=perm))
    scores = m.node("MatMul", sides[:2], 50.0)
    scores = m.node(m.rng.choice(["Mul", "Div"]), [scores, m.weight(np.float32(0.7))], 40.0)
    if m.rng.random() < 0.5:
        scores = m.node("Add", [scores, m.weight(np.triu(np.full((tokens, tokens), -1e4, np.float32), 1))], 40.0)
    mixed = m.node("MatMul", [m.node("Softmax", [scores], 1.0, axis=-1), sides[2]], 10.0)
    beside = m.node("Transpose", [mixed], 10.0, perm=(0, 2, 1, 3))
    y = m.node("Reshape", [beside, joined], 10.0)
    m.node("Add", [x, y], 12.0)


def recurrent(m: Maker) -> None:
    op, hidden = m.rng.choice(["LSTM", "GRU", "RNN"]), m.rng.choice([1, 3, 4])
    x = m.pick(lambda t: len(t.shape) == 3 and 0 not in t.shape and t.bound < 50)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * hidden
    direction = m.rng.choice(["forward", "reverse", "bidirectional"])
    ways = 2 if direction == "bidirectional" else 1
    w = [m.floats(ways, gates, x.shape[2]), m.floats(ways, gates, hidden), m.floats(ways, 2 * gates)]
    m.node(op, [x, *w], 1.0, hidden_size=hidden, direction=direction)


def loop(m: Maker) -> None:
    """A body that reads a tensor from around it, carries one and collects one."""
    x = m.pick(lambda t: len(t.shape) < 4)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["state", "half"], ["halved"]),
            helper.make_node("Sub", [x.name, "halved"], ["next"]),
            helper.make_node("Tanh", ["next"], ["added"]),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        [info("i", TensorProto.INT64, ()), info("on", TensorProto.BOOL, ()), info("state", FLOAT, x.shape)],
        [info("go", TensorProto.BOOL, ()), info("next", FLOAT, x.shape), info("added", FLOAT, x.shape)],
        [numpy_helper.from_array(np.float32(0.5), "half")],
    )
    runs = m.rng.randint(0, 4)
    last, every = m.fresh("t"), m.fresh("t")
    m.nodes.append(helper.make_node("Loop", [m.weight(np.int64(runs)), "", x.name], [last, every], body=body))
    m.tensors += [Tensor(last, FLOAT, x.shape, 2 * x.bound), Tensor(every, FLOAT, (runs, *x.shape), 1.0)]


def branch(m: Maker) -> None:
    x = m.pick()
    flag = m.input((), TensorProto.BOOL)
    info = helper.make_tensor_value_info

    def arm(op: str) -> Any:
        return helper.make_graph([helper.make_node(op, [x.name], ["r"])], op, [], [info("r", FLOAT, x.shape)])

    made = m.fresh("t")
    m.nodes.append(helper.make_node("If", [flag.name], [made], then_branch=arm("Relu"), else_branch=arm("Neg")))
    m.tensors.append(Tensor(made, FLOAT, x.shape, x.bound))


def scan(m: Maker) -> None:
    x = m.pick(lambda t: 1 < len(t.shape) < 5 and 0 not in t.shape)
    inner = x.shape[1:]
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Max", ["state", "element"], ["next"]), helper.make_node("Neg", ["next"], ["added"])],
        "body",
        [info("state", FLOAT, inner), info("element", FLOAT, inner)],
        [info("next", FLOAT, inner), info("added", FLOAT, inner)],
    )
    start = m.floats(*inner)
    last, every = m.fresh("t"), m.fresh("t")
    turned = m.rng.randint(0, 1)
    m.nodes.append(
        helper.make_node(
            "Scan", [start, x.name], [last, every], body=body, num_scan_inputs=1, scan_input_directions=[turned]
        )
    )
    m.tensors += [Tensor(last, FLOAT, inner, x.bound + 1), Tensor(every, FLOAT, x.shape, x.bound + 1)]


STEPS: dict[Callable[[Maker], None], int] = {
    unary: 6,
    binary: 8,
    swish: 3,
    clip: 2,
    powers: 1,
    jumps: 1,
    quotient: 1,
    choose: 1,
    reduce: 4,
    conv: 8,
    filtered: 1,
    deep: 1,
    conv_transpose: 2,
    pool: 3,
    matmul: 6,
    gemm: 2,
    turn: 6,
    reshape: 4,
    squeeze: 2,
    cut: 3,
    split: 1,
    concat: 3,
    gather: 2,
    pad: 2,
    expand: 1,
    tile: 1,
    resize: 1,
    softmax: 3,
    layer_norm: 2,
    layer_norm_by_hand: 1,
    attention: 1,
    recurrent: 1,
    loop: 1,
    branch: 1,
    scan: 1,
}


RANKS = [(4,), (4, 4), (3,), (2, 3), (4, 2), (5,), (0, 2), (1, 3)]


def random_model(seed: int, nodes: int = 12) -> Made:
    """A model of about so many operators, and inputs for it; the same for the same seed."""
    m = Maker(seed)
    for rank in m.rng.choice(RANKS):
        m.input(m.shape(rank))
    return grown(m, nodes, STEPS)


def grown(m: Maker, nodes: int, choice: Mapping[Callable[[Maker], None], int]) -> Made:
    """With steps taken by their weights until there are so many nodes."""
    steps, weights = zip(*choice.items(), strict=True)
    for _ in range(20 * nodes):
        if len(m.nodes) >= nodes:
            break
        (step,) = m.rng.choices(steps, weights)
        before = len(m.nodes), len(m.tensors), len(m.inputs)
        try:
            step(m)
        except Skip:
            del m.nodes[before[0] :], m.tensors[before[1] :], m.inputs[before[2] :]
    return m.finish()
