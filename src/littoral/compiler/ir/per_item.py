"""Whether a graph treats the items along one axis of its inputs apart, and the graph that does it to a single one.

The items of a batch are apart if no operation reads one of them for another's result. Each value that depends on them
has its items side by side along one axis, `inner` places for each; an operation that would mix them, or that this
analysis does not know, ends it. Constants beside items must be alike for all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, walk
from littoral.compiler.ir.graph import Builder, Graph, Node, Op, Value
from littoral.compiler.ir.ops import (
    ArgReduce,
    Concat,
    Conv,
    ConvTranspose,
    Cumulate,
    Gather,
    Map,
    MatMul,
    Pad,
    Pool,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Softmax,
    Spread,
    TopK,
    Transpose,
)
from littoral.compiler.ir.types import TensorType

__all__ = ["Items", "MixedItemsError", "per_item"]


class MixedItemsError(ValueError):
    """Items meet: the message names the node and says how."""


class Items(NamedTuple):
    """Where the items of a value lie: `inner` places of `axis` for each, one item after the other."""

    axis: int
    inner: int = 1


def per_item(graph: Graph, axes: Mapping[str, int], count: int) -> tuple[Graph, dict[str, Items]]:
    """What the graph does to one item, and where the items of each output that has some lie.

    axes: of the inputs that hold `count` ≥ 2 items each, the axis. Raises MixedItemsError.
    """
    return _Splitter(graph, axes, count).run()


class _Splitter:
    def __init__(self, graph: Graph, axes: Mapping[str, int], count: int) -> None:
        self.graph = graph
        self.count = count
        self.build = Builder()
        named = {v.name: v for v in graph.inputs}
        self.items: dict[Value, Items] = {named[name]: Items(axis) for name, axis in axes.items()}
        self.new = {v: self.build.input(v.name, self._type(v)) for v in graph.inputs}
        self.node: Node

    def run(self) -> tuple[Graph, dict[str, Items]]:
        if self.graph.dims:
            raise MixedItemsError("the shape of an output depends on data")
        for node in self.graph.nodes:
            self.node = node
            if not any(v in self.items for v in node.inputs):
                self._put(node.op, [v if v.is_constant else self.new[v] for v in node.inputs], None)
                continue
            rule = _RULES.get(type(node.op))
            if rule is None:
                raise self.mixed("an operation of which nothing is known")
            op, inputs, items = rule(self, node.op)
            self._put(op, inputs, items)
        outputs = [(name, v if v.is_constant else self.new[v]) for name, v in self.graph.outputs]
        found = {name: self.items[v] for name, v in self.graph.outputs if v in self.items}
        return self.build.finish(outputs), found

    def _put(self, op: Op, inputs: Sequence[Value], items: Items | None) -> None:
        outputs = self.build.add_all(op, *inputs, label=self.node.label)
        for old, new in zip(self.node.outputs, outputs, strict=True):
            self.new[old] = new
            if items is None:
                continue
            self.items[old] = items
            if new.type != self._type(old):
                raise self.mixed(f"gives {old.type}, of one item {new.type}")

    def _type(self, value: Value) -> TensorType:
        """The type of one item's part."""
        if (items := self.items.get(value)) is None:
            return value.type
        return TensorType(value.dtype, self.single(value.shape, items))

    def single(self, shape: tuple[int, ...], items: Items) -> tuple[int, ...]:
        if shape[items.axis] != self.count * items.inner:
            raise self.mixed(f"{shape[items.axis]} places for {self.count} items")
        return (*shape[: items.axis], items.inner, *shape[items.axis + 1 :])

    def mixed(self, how: str) -> MixedItemsError:
        node = getattr(self, "node", None)
        return MixedItemsError(how if node is None else f"node `{node.label}` (`{node.op.name}`): {how}")

    def joint(self, values: Sequence[tuple[Value, int]]) -> Items:
        """Items of operands that broadcast, seen from the result; with each operand comes the axis its first one is."""
        found = {Items(self.items[v].axis + at, self.items[v].inner) for v, at in values if v in self.items}
        if len(found) != 1:
            raise self.mixed("items of its inputs lie along different axes")
        return found.pop()

    def beside(self, value: Value, axis: int) -> Value:
        """An operand's part for one item; `axis` is where the result's items are, counted in the operand."""
        if value in self.items:
            return self.new[value]
        if axis < 0 or value.shape[axis] == 1:
            return value if value.is_constant else self.new[value]
        if value.data is None or value.shape[axis] % self.count:
            raise self.mixed("another input differs from item to item")
        inner = value.shape[axis] // self.count
        parts = value.data.reshape(*value.shape[:axis], self.count, inner, *value.shape[axis + 1 :])
        first = np.take(parts, 0, axis)
        alike = parts.view(f"u{parts.itemsize}") == np.expand_dims(first, axis).view(f"u{parts.itemsize}")
        if not alike.all():
            raise self.mixed("a constant differs from item to item")
        return self.build.constant(first, value.dtype)

    def alone(self, value: Value) -> Value:
        """An operand that must not depend on the items."""
        if value in self.items:
            raise self.mixed("it reads items where it takes what is the same for all")
        return value if value.is_constant else self.new[value]

    def spread(self, exprs: Sequence[Expr | None], rank: int, shape: tuple[int, ...]) -> tuple[list[Value], Items, Any]:
        """Inputs, items and given shape of what is computed for each place of a shape of `rank` axes."""
        inputs = self.node.inputs
        parts = [e for expr in exprs if expr is not None for e in walk(expr)]
        loaded = {e.index for e in parts if isinstance(e, Load)}
        if loaded & {e.index for e in parts if isinstance(e, Arg)}:
            raise self.mixed("it reads an input both in place and elsewhere")
        placed = [(v, rank - len(v.shape)) for i, v in enumerate(inputs) if i not in loaded]
        items = self.joint(placed)
        if any(isinstance(e, Position) and e.axis == items.axis for e in parts):
            raise self.mixed("it depends on the place among the items")
        new = [
            self.alone(v) if i in loaded else self.beside(v, items.axis - rank + len(v.shape))
            for i, v in enumerate(inputs)
        ]
        at = items.axis - rank + len(shape)
        if shape and at >= 0 and shape[at] != 1:
            shape = self.single(shape, Items(at, items.inner))
        return new, items, shape


_Found = tuple[Op, list[Value], Items]


def _map(s: _Splitter, op: Map) -> _Found:
    inputs, items, shape = s.spread([op.expr], len(s.node.outputs[0].shape), op.shape)
    return replace(op, shape=shape), inputs, items


def _reduce(s: _Splitter, op: Reduce) -> _Found:
    inputs, items, shape = s.spread([op.before], len(s.node.outputs[0].shape), op.shape)
    if items.axis in op.axes:
        raise s.mixed("it reduces along the items")
    return replace(op, shape=shape), inputs, items


def _reshape(s: _Splitter, op: Reshape) -> _Found:
    """The items stay in order: what lies before their axis must be as many as before."""
    (x,) = s.node.inputs
    items = s.items[x]
    if not x.type.elements:
        raise s.mixed("it has no elements")
    before = prod(x.shape[: items.axis])
    for axis, size in enumerate(op.shape):
        if prod(op.shape[:axis]) == before and size % s.count == 0:
            found = Items(axis, size // s.count)
            return replace(op, shape=s.single(op.shape, found)), [s.new[x]], found
    raise s.mixed(f"{list(x.shape)} becomes {list(op.shape)}, which parts no items")


def _transpose(s: _Splitter, op: Transpose) -> _Found:
    (x,) = s.node.inputs
    return op, [s.new[x]], s.items[x]._replace(axis=op.perm.index(s.items[x].axis))


def _slice(s: _Splitter, op: Slice) -> _Found:
    (x,) = s.node.inputs
    axis = s.items[x].axis
    if (op.starts[axis], op.steps[axis], op.shape[axis]) != (0, 1, x.shape[axis]):
        raise s.mixed("it takes some of the items")
    return replace(op, shape=s.single(op.shape, s.items[x])), [s.new[x]], s.items[x]


def _pad(s: _Splitter, op: Pad) -> _Found:
    x, *fill = s.node.inputs
    if op.pads[s.items[x].axis] != (0, 0):
        raise s.mixed("it pads the items")
    return op, [s.new[x], *(s.alone(v) for v in fill)], s.items[x]


def _concat(s: _Splitter, op: Concat) -> _Found:
    items = s.joint([(v, 0) for v in s.node.inputs])
    if op.axis == items.axis:
        raise s.mixed("it joins along the items")
    return op, [s.beside(v, items.axis) for v in s.node.inputs], items


def _gather(s: _Splitter, op: Gather) -> _Found:
    data, indices = s.node.inputs
    if data not in s.items:
        items = s.items[indices]
        return op, [s.alone(data), s.new[indices]], items._replace(axis=items.axis + op.axis)
    items = s.items[data]
    if items.axis == op.axis:
        raise s.mixed("it picks among the items")
    moved = items.axis + len(indices.shape) - 1 if items.axis > op.axis else items.axis
    return op, [s.new[data], s.alone(indices)], items._replace(axis=moved)


def _matmul(s: _Splitter, op: MatMul) -> _Found:
    if op.epilogue or op.left or op.right or op.result:
        raise s.mixed("it is fused")
    a, b, *bias = s.node.inputs
    rank = len(s.node.outputs[0].shape)
    for value, summed in ((a, len(a.shape) - 1), (b, len(b.shape) - 2)):
        if value in s.items and s.items[value].axis == summed:
            raise s.mixed("it sums over the items")
    items = s.joint([(v, rank - len(v.shape)) for v in (a, b)])
    is_batch = items.axis < rank - 2
    inputs = []
    for value, own in ((a, rank - 2), (b, rank - 1)):
        if value in s.items or is_batch:
            inputs.append(s.beside(value, items.axis - rank + len(value.shape)))
        elif items.axis == own:
            raise s.mixed("its rows or columns are not the items alone")
        else:
            inputs.append(s.alone(value))
    return op, [*inputs, *(s.beside(v, items.axis - rank + len(v.shape)) for v in bias)], items


def _first_axis(s: _Splitter, op: Op) -> _Found:
    """Convolutions and pooling: items are the pictures."""
    x, *rest = s.node.inputs
    if x not in s.items or s.items[x].axis != 0:
        raise s.mixed("its items are not its pictures")
    if isinstance(op, Conv) and op.epilogue:
        raise s.mixed("it is fused")
    return op, [s.new[x], *(s.alone(v) for v in rest)], s.items[x]


def _along(s: _Splitter, op: Any) -> _Found:
    """What works along one axis, which must not be that of the items."""
    x, *rest = s.node.inputs
    if x not in s.items or s.items[x].axis == op.axis:
        raise s.mixed("it works along the items")
    return op, [s.new[x], *(s.alone(v) for v in rest)], s.items[x]


def _spread(s: _Splitter, op: Spread) -> _Found:
    (x,) = s.node.inputs
    if op.steps[s.items[x].axis] != 1:
        raise s.mixed("it spreads the items")
    return op, [s.new[x]], s.items[x]


_RULES: dict[type[Op], Callable[[_Splitter, Any], _Found]] = {
    Map: _map,
    Reduce: _reduce,
    Reshape: _reshape,
    Transpose: _transpose,
    Slice: _slice,
    Pad: _pad,
    Concat: _concat,
    Gather: _gather,
    MatMul: _matmul,
    Conv: _first_axis,
    ConvTranspose: _first_axis,
    Pool: _first_axis,
    Softmax: _along,
    ArgReduce: _along,
    Cumulate: _along,
    TopK: _along,
    Resample: _along,
    Spread: _spread,
}
