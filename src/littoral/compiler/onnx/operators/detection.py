"""Detection heads: NonMaxSuppression, RoiAlign, DeformConv."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import ArgReduce, Map, MatMul, Reduce, Repeat, Require, Reshape, Scatter
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.operators.picking import numbers_of_true
from littoral.errors import ShapeError

INDEX = "int32"
LONG = "int64"
_LOWEST = float("-inf")


@operator("NonMaxSuppression")
def non_max_suppression(node: OnnxNode) -> Value:
    """Of boxes that overlap, those with the best score: int64[count, 3] of batch, class and box.

    Every run of a loop takes the best box that is left of each class, and takes away what overlaps it.
    """
    boxes, scores = node.input(0), node.input(1)
    most, overlap, least = (node.optional(i) for i in (2, 3, 4))
    centered = bool(node.integer("center_point_box", 0))
    batches, classes, count = scores.shape
    if boxes.shape != (batches, count, 4):
        raise ShapeError(f"node `{node.label}`: boxes {boxes.type} for scores {scores.type}")
    most = most or node.constant(np.zeros(1, np.int64))
    overlap = overlap or node.constant(np.zeros(1, np.float32))
    known = scalar_constant(most)
    runs = count if known is None else min(count, max(int(known.value), 0))
    if not runs:
        return node.constant(np.zeros((0, 3), np.int64))
    x = Arg(scores.dtype, 0)
    kept = apply("eq", x, x) if least is None else x > Load(least.dtype, 1, number(INDEX, 0))
    start = apply("select", kept, x, number(scores.dtype, _LOWEST))
    left = node.add(Map(start), scores, *([least] if least is not None else []))
    picked = node.add(Map(number(LONG, -1), (batches, classes, runs)))
    corners = _corners(node, boxes, centered)
    given = [left, picked, corners, most, overlap]
    outer = [v for v in given[2:] if v.data is None]
    body = _best_of_each(given, outer)
    _, found = node.build.add_all(Repeat(body, runs, 2, stops=True), left, picked, *outer)
    flat = node.add(Reshape((found.type.elements,)), found)
    taken = node.add(Map(Arg(LONG, 0) >= dynamic.whole(0)), flat)
    numbers, total = numbers_of_true(node, taken)
    result = dynamic.sized(node, [dynamic.at(total, 0, 0), dynamic.whole(3)], [found.type.elements, 3], total)

    def element(c: list[Expr], _: int) -> Expr:
        at = cast(Load(LONG, 1, c[0].at_most(found.type.elements - 1)), INDEX)
        line = apply("div", at, number(INDEX, runs))
        parts = [
            cast(apply("div", line, number(INDEX, classes)), LONG),
            cast(apply("rem", line, number(INDEX, classes)), LONG),
            Load(LONG, 0, at),
        ]
        chosen = apply("select", apply("eq", c[1], number(INDEX, 1)), parts[1], parts[2])
        return apply("select", apply("eq", c[1], number(INDEX, 0)), parts[0], chosen)

    return result.fill(LONG, element, flat, numbers)


def _corners(node: OnnxNode, boxes: Value, centered: bool) -> Value:
    """[batch, box, 4]: least and largest of the first coordinate, then of the second."""
    row = (Position(INDEX, 0) * boxes.shape[1] + Position(INDEX, 1)) * 4
    a, b, c, d = (Load(boxes.dtype, 0, row + i) for i in range(4))
    if centered:
        rows = [a - c / 2.0, a + c / 2.0, b - d / 2.0, b + d / 2.0]
    else:
        rows = [a.at_most(c), a.at_least(c), b.at_most(d), b.at_least(d)]
    found: Expr = rows[3]
    for i, value in enumerate(rows[:3]):
        found = apply("select", apply("eq", Position(INDEX, 2), number(INDEX, i)), value, found)
    return node.add(Map(found, boxes.shape), boxes)


def _best_of_each(given: list[Value], outer: list[Value]) -> Graph:
    """One run: what is left and what was picked in; whether anything was picked, and both again, out."""
    build = Builder()
    run = build.input("run", TensorType(LONG, ()))
    left, picked = (build.input(n, v.type) for n, v in zip(("left", "picked"), given, strict=False))
    inner = {v: build.input(f"outer {i}", v.type) for i, v in enumerate(outer)}
    corners, most, overlap = (inner.get(v, v) for v in given[2:])
    batches, classes, count = left.shape
    dtype = left.dtype
    best = build.add(ArgReduce(2), left)
    score = build.add(Reduce("max", (2,)), left)
    wanted = cast(Arg(LONG, 1), LONG) < cast(Load(most.dtype, 2, number(INDEX, 0)), LONG)
    there = apply("and", Arg(dtype, 0) > _LOWEST, wanted)
    taken = build.add(Map(there), score, run, most)
    place = (Position(INDEX, 0) * classes + Position(INDEX, 1)) * picked.shape[2] + cast(Arg(LONG, 3), INDEX)
    noted = build.add(
        Scatter((batches, classes, 1), place, Arg(LONG, 1), guard=Arg("bool", 2)), picked, best, taken, run
    )
    box = cast(Arg(LONG, 1), INDEX).at_least(0).at_most(count - 1)
    rows = [(Position(INDEX, 0) * count + b) * 4 for b in (box, Position(INDEX, 2))]
    first, second = ([Load(corners.dtype, 2, row + i) for i in range(4)] for row in rows)
    over = _overlap(first, second) > cast(Load(overlap.dtype, 3, number(INDEX, 0)), corners.dtype)
    gone = apply("or", over, apply("eq", cast(Position(INDEX, 2), LONG), Arg(LONG, 1)))
    rest = apply("select", gone, number(dtype, _LOWEST), Arg(dtype, 0))
    after = build.add(Map(rest, left.shape), left, best, corners, overlap)
    any_taken = build.add(Reduce("max", (0, 1, 2), cast(Arg("bool", 0), INDEX)), taken)
    goes_on = build.add(Reshape(()), build.add(Map(cast(Arg(INDEX, 0), "bool")), any_taken))
    return build.finish([("goes on", goes_on), ("left", after), ("picked", noted)])


def _overlap(a: Sequence[Expr], b: Sequence[Expr]) -> Expr:
    """Shared area over the area of both; 0 where there is none."""
    zero = number(a[0].dtype, 0.0)
    high, wide = (a[i + 1].at_most(b[i + 1]) - a[i].at_least(b[i]) for i in (0, 2))
    shared = high * wide
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    real = apply("and", apply("and", high > 0.0, wide > 0.0), apply("and", areas[0] > 0.0, areas[1] > 0.0))
    return apply("select", real, shared / union, zero)


@operator("RoiAlign")
def roi_align(node: OnnxNode) -> Value:
    """Regions of images as grids of equal size; each cell is the average or largest of samples between elements."""
    x, rois, batches = node.inputs()
    high, wide = node.integer("output_height", 1), node.integer("output_width", 1)
    ratio, scale = node.integer("sampling_ratio", 0), node.number("spatial_scale", 1.0)
    mode = node.choice("mode", "avg", ("avg", "max"))
    default = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    form = node.choice("coordinate_transformation_mode", default, ("half_pixel", "output_half_pixel"))
    half = form == "half_pixel"
    cells = (high, wide)
    most = [ratio or -(-size // cell) + 1 for size, cell in zip(x.shape[2:], cells, strict=True)]
    if not ratio:
        rois = _checked_regions(node, rois, scale, half, cells, most)
    corners = [Load(rois.dtype, 1, Position(INDEX, 0) * 4 + i) for i in range(4)]
    taps, guards, counts = [], [], []
    for i, (size, cell) in enumerate(zip(x.shape[2:], cells, strict=True)):
        start, extent = _region(corners, i, scale, half)
        bin_size = extent / float(cell)
        steps = number(rois.dtype, float(ratio)) if ratio else apply("ceil", bin_size)
        tap = cast(Position(INDEX, 4 + i), rois.dtype)
        at = start + cast(Position(INDEX, 2 + i), rois.dtype) * bin_size + (tap + 0.5) * bin_size / steps
        guards.append((tap < steps, apply("and", at >= -1.0, at <= float(size))))
        counts.append(steps)
        taps.append(_between(at, size))
    image = cast(Load(batches.dtype, 2, Position(INDEX, 0)), INDEX).at_least(0).at_most(x.shape[0] - 1)
    plane = (image * x.shape[1] + Position(INDEX, 1)) * (x.shape[2] * x.shape[3])
    weighted = [
        Load(x.dtype, 0, plane + row * x.shape[3] + column) * cast(a * b, x.dtype)
        for row, a in taps[0]
        for column, b in taps[1]
    ]
    inside = apply("and", guards[0][1], guards[1][1])
    sampled = apply("and", guards[0][0], guards[1][0])
    shape = (rois.shape[0], x.shape[1], high, wide, *most)
    zero = number(x.dtype, 0.0)
    if mode == "max":
        value = weighted[0].at_least(weighted[1]).at_least(weighted[2].at_least(weighted[3]))
        value = apply("select", sampled, apply("select", inside, value, zero), number(x.dtype, _LOWEST))
        found = node.add(Reduce("max", (4, 5), value, None, shape), x, rois, batches)
    else:
        value = weighted[0] + weighted[1] + weighted[2] + weighted[3]
        value = apply("select", apply("and", sampled, inside), value, zero)
        share = value / cast((counts[0] * counts[1]).at_least(1.0), x.dtype)
        found = node.add(Reduce("sum", (4, 5), share, None, shape), x, rois, batches)
    return node.add(Reshape(shape[:4]), found)


def _region(corners: Sequence[Expr], axis: int, scale: float, half: bool) -> tuple[Expr, Expr]:
    """Where a region starts along an axis (0: down, 1: right), and how far it goes."""
    offset = 0.5 if half else 0.0
    start, stop = (corners[i] * scale - offset for i in (1 - axis, 3 - axis))
    return start, stop - start if half else (stop - start).at_least(1.0)


def _checked_regions(
    node: OnnxNode, rois: Value, scale: float, half: bool, cells: tuple[int, int], most: list[int]
) -> Value:
    """Regions that need more samples than an image has elements end the run."""
    corners = [Load(rois.dtype, 0, Position(INDEX, 0) * 4 + i) for i in range(4)]
    fits: Expr = number("bool", 1)
    for i, (cell, limit) in enumerate(zip(cells, most, strict=True)):
        _, extent = _region(corners, i, scale, half)
        fits = apply("and", fits, extent / float(cell) <= float(limit))
    all_fit = node.add(Reduce("min", (0,), cast(fits, INDEX), None, (rois.shape[0],)), rois)
    flag = node.add(Reshape(()), node.add(Map(cast(Arg(INDEX, 0), "bool")), all_fit))
    return node.add(Require(f"node `{node.label}`: a region is larger than the image"), flag, rois)


def _between(at: Expr, size: int) -> list[tuple[Expr, Expr]]:
    """The two elements beside a coordinate and their weights; beyond the last it is the last."""
    low = apply("floor", at.at_least(0.0)).at_most(float(size - 1))
    over = (at.at_least(0.0) - low).at_most(1.0)
    share = apply("select", low >= float(size - 1), over * 0.0, over)
    index = cast(low, INDEX)
    return [(index, 1.0 - share), ((index + 1).at_most(size - 1), share)]


@operator("DeformConv")
def deform_conv(node: OnnxNode) -> Value:
    """A convolution whose taps lie where the offsets say, between elements; beyond the image is 0."""
    x, w, offsets, bias, mask = node.input(0), node.input(1), node.input(2), node.optional(3), node.optional(4)
    if x.type.rank != 4:
        node.unsupported(f"of {x.type.rank - 2} spatial dimensions", supported=("2",))
    node.ignore("kernel_shape")
    groups, offset_groups = node.integer("group", 1), node.integer("offset_group", 1)
    strides, dilations = node.integers("strides", (1, 1)), node.integers("dilations", (1, 1))
    pads = node.integers("pads", (0,) * 4)
    (batch, channels, *spatial), kernel = x.shape, w.shape[2:]
    taps, out = int(np.prod(kernel)), offsets.shape[2:]
    if offsets.shape[1] != 2 * taps * offset_groups or channels != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(f"node `{node.label}`: offsets {offsets.type} and weights {w.type} for {x.type}")
    channel, tap = Position(INDEX, 1), Position(INDEX, 2)
    group = apply("div", channel, number(INDEX, channels // offset_groups))
    steps = (apply("div", tap, number(INDEX, kernel[1])), apply("rem", tap, number(INDEX, kernel[1])))
    field = Position(INDEX, 3) * out[1] + Position(INDEX, 4)
    area = out[0] * out[1]
    near = []
    for i in range(2):
        row = ((Position(INDEX, 0) * offset_groups + group) * taps + tap) * 2 + i
        base = Position(INDEX, 3 + i) * strides[i] + steps[i] * dilations[i] - pads[i]
        near.append(_or_nothing(cast(base, x.dtype) + Load(offsets.dtype, 1, row * area + field), spatial[i]))
    plane = (Position(INDEX, 0) * channels + channel) * (spatial[0] * spatial[1])
    value: Expr = number(x.dtype, 0.0)
    for row, a in near[0]:
        for column, b in near[1]:
            value = value + Load(x.dtype, 0, plane + row * spatial[1] + column) * a * b
    inputs = [x, offsets]
    if mask is not None:
        inputs.append(mask)
        at = ((Position(INDEX, 0) * offset_groups + group) * taps + tap) * area + field
        value = value * Load(mask.dtype, 2, at)
    sampled = node.add(Map(value, (batch, channels, taps, *out)), *inputs)
    lined = node.add(Reshape((batch, groups, w.shape[1] * taps, area)), sampled)
    weights = node.add(Reshape((groups, w.shape[0] // groups, w.shape[1] * taps)), w)
    result = node.add(Reshape((batch, w.shape[0], *out)), node.add(MatMul(), weights, lined))
    if bias is None:
        return result
    return mapped(node, lambda a, b: a + b, result, node.add(Reshape((w.shape[0], 1, 1)), bias))


def _or_nothing(at: Expr, size: int) -> list[tuple[Expr, Expr]]:
    """The two elements beside a coordinate and their weights; one beyond the image weighs nothing."""
    low = apply("floor", at)
    found: list[tuple[Expr, Expr]] = []
    for place, share in ((low, 1.0 - (at - low)), (low + 1.0, at - low)):
        inside = apply("and", place >= 0.0, place < float(size))
        weight = apply("select", inside, share, number(at.dtype, 0.0))
        found.append((cast(place.at_least(0.0).at_most(float(size - 1)), INDEX), weight))
    return found
