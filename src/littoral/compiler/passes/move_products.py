"""Products over channels move before what spreads or joins their input, where that saves work.

A product over channels and a weighted sum over places change order: a picture is resized after its channels became
others. A product of joined channels is a sum of products. Two products in a row are one, whose weights are multiplied
here, in float64. Exact but for the order of sums.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Arg
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import add_map
from littoral.compiler.ir.ops import Concat, Conv, MatMul, Resample, Reshape
from littoral.tensors import Array

__all__ = ["move_products"]

GAIN_MIN = 1.25
MOVED = 4  # multiply-adds in the time in which an element is copied, added, or weighed by one tap
PARTS_MAX = 8
DEPTH_MAX = 16  # nodes before a product that are looked at, one behind the other

Shape = tuple[int, ...]


class _Product(NamedTuple):
    """A way to a product. work: in multiply-adds. make: its value, with a bias if it takes one."""

    work: int
    make: Callable[[Array | None], Value]
    takes_bias: bool = True


def move_products(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        moved = _moved(rewriter, node)
        if moved is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [moved])
    return rewriter.finish()


def _moved(rewriter: Rewriter, node: Node) -> Value | None:
    weights, bias = _dense(node)
    if weights is None:
        return None
    found = _Mover(rewriter, node.label)
    x, out = node.inputs[0], node.outputs[0]
    direct, best = found.direct(x, weights), found.best(x, weights)
    if not best.work or best.work * GAIN_MIN > direct.work:
        return None
    value = best.make(bias if best.takes_bias else None)
    if bias is not None and not best.takes_bias:
        value = found.sum([value, rewriter.build.constant(bias.astype(np.float32))], value.shape)
    return value if value.shape == out.shape else rewriter.build.add(Reshape(out.shape), value, label=node.label)


def _dense(node: Node) -> tuple[Array | None, Array | None]:
    """Weights f64[depth, width] and bias f64[width] of a product over the last axis alone, if the node is one."""
    op, inputs = node.op, node.inputs
    if not isinstance(op, Conv | MatMul) or op.epilogue is not None or len(inputs) != 2 + op.bias:
        return None, None
    if any(v.data is None or not v.type.elements for v in inputs[1:]) or any(v.dtype != "float32" for v in inputs):
        return None, None
    w = inputs[1].data
    assert w is not None
    bias = inputs[2].data.astype(np.float64) if op.bias and inputs[2].data is not None else None
    if isinstance(op, MatMul):
        is_plain = w.ndim == 2 and not (op.left or op.right or op.result)
        return (w.astype(np.float64) if is_plain else None), bias
    window = op.window
    is_plain = {*window.kernel, *window.strides} == {1} and not any(p for pair in window.pads for p in pair)
    if not (is_plain and op.last and op.groups == 1):
        return None, None
    return w.reshape(w.shape[:2]).T.astype(np.float64), bias


class _Mover:
    """Ways to multiply what a value of the old graph holds by weights f64[depth, width]."""

    def __init__(self, rewriter: Rewriter, label: str) -> None:
        self.rewriter = rewriter
        self.build = rewriter.build
        self.label = label

    def best(self, value: Value, weights: Array, lead: Shape | None = None, level: int = 0) -> _Product:
        """The one of least work. What others read too is there anyway, and is only read.

        lead: the result's shape but for its last axis, where it is not the value's.
        """
        direct = self.direct(value, weights, lead, level)
        node = value.producer
        if node is None or value.dtype != "float32" or self.rewriter.uses[value] > 1 or level == DEPTH_MAX:
            return direct
        match node.op:
            case Concat(axis=axis) if axis == value.type.rank - 1 and len(node.inputs) <= PARTS_MAX:
                found = self._led(self._of_joined(node, weights, level + 1), weights, lead)
            case Resample(axis=axis) if axis < value.type.rank - 1:
                found = self._led(self._of_resampled(node, node.op, weights, level + 1), weights, lead)
            case Reshape() if node.inputs[0].shape[-1:] == value.shape[-1:]:
                found = self.best(node.inputs[0], weights, lead or value.shape[:-1], level + 1)
            case Conv() | MatMul():
                found = self._of_product(node, weights, lead, direct.work) or direct
            case _:
                return direct
        return min(direct, found, key=lambda p: p.work)

    def direct(self, value: Value, weights: Array, lead: Shape | None = None, level: int = 0) -> _Product:
        """After everything."""
        work = self._work(value, level) + value.type.elements * weights.shape[1]
        return _Product(work, lambda bias: self._product(value, weights, bias, lead))

    def _work(self, value: Value, level: int) -> int:
        """Of what a product would move before."""
        node = value.producer
        if node is None or self.rewriter.uses[value] > 1 or level == DEPTH_MAX:
            return 0
        elements = value.type.elements
        match node.op:
            case Concat():
                return MOVED * elements + sum(self._work(v, level + 1) for v in node.inputs)
            case Resample():
                return MOVED * elements * node.inputs[1].shape[1] + self._work(node.inputs[0], level + 1)
            case Reshape():
                return self._work(node.inputs[0], level + 1)
            case Conv() | MatMul() if (weights := _dense(node)[0]) is not None:
                return elements * int(weights.shape[0])
            case _:
                return 0

    def _product(self, value: Value, weights: Array, bias: Array | None, lead: Shape | None) -> Value:
        constants = [weights.astype(np.float32)] + ([] if bias is None else [bias.astype(np.float32)])
        left = self.rewriter.value(value)
        if lead is not None and lead != value.shape[:-1]:
            left = self.build.add(Reshape((*lead, value.shape[-1])), left, label=self.label)
        return self.build.add(
            MatMul(bias=bias is not None), left, *map(self.build.constant, constants), label=self.label
        )

    def _led(self, found: _Product, weights: Array, lead: Shape | None) -> _Product:
        if lead is None:
            return found
        shape = (*lead, weights.shape[1])
        return found._replace(make=lambda bias: self.build.add(Reshape(shape), found.make(bias), label=self.label))

    def sum(self, values: list[Value], shape: tuple[int, ...]) -> Value:
        expr = reduce(add, (Arg("float32", i) for i in range(len(values))))
        return add_map(self.build, expr, values, shape, self.label)

    def _of_joined(self, node: Node, weights: Array, level: int) -> _Product:
        ends = np.cumsum([v.shape[-1] for v in node.inputs])
        split = np.split(weights, ends[:-1])
        parts = [self.best(v, w, level=level) for v, w in zip(node.inputs, split, strict=True)]
        shape = (*node.outputs[0].shape[:-1], weights.shape[1])
        added = MOVED * (len(parts) - 1) * node.outputs[0].type.elements // weights.shape[0] * weights.shape[1]
        taker = next((i for i, part in enumerate(parts) if part.takes_bias), -1)

        def make(bias: Array | None) -> Value:
            return self.sum([p.make(bias if i == taker else None) for i, p in enumerate(parts)], shape)

        return _Product(sum(p.work for p in parts) + added, make, taker >= 0)

    def _of_resampled(self, node: Node, op: Resample, weights: Array, level: int) -> _Product:
        """Weights of a place need not add up to one exactly: a bias comes after."""
        x, *table = node.inputs
        inner = self.best(x, weights, level=level)
        out = node.outputs[0].type.elements // weights.shape[0] * weights.shape[1]

        def make(_: Array | None) -> Value:
            return self.build.add(op, inner.make(None), *map(self.rewriter.value, table), label=node.label)

        return _Product(inner.work + MOVED * out * table[0].shape[1], make, takes_bias=False)

    def _of_product(self, node: Node, weights: Array, lead: Shape | None, limit: int) -> _Product | None:
        """Of less work than `limit`."""
        first, own = _dense(node)
        work = node.inputs[0].type.elements * weights.shape[1]
        if first is None or work >= limit:
            return None
        with np.errstate(all="ignore"):
            both = first @ weights
            start = None if own is None else own @ weights
            is_finite = np.isfinite(both.astype(np.float32)).all()
        if not is_finite:
            return None
        x, shape = node.inputs[0], node.outputs[0].shape[:-1]

        def make(bias: Array | None) -> Value:
            return self._product(
                x, both, bias if start is None else start + (0 if bias is None else bias), lead or shape
            )

        return _Product(work, make)
