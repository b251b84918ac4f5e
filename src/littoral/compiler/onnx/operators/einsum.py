"""Einsum: letters are axes; two inputs meet in a matrix product, one is transposed and summed."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from littoral.compiler.ir.expr import Expr, Load, Position, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, MatMul, Reduce, Reshape, Transpose
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.errors import ShapeError

_Axes = tuple[str, ...]
_DOTS = "..."


class _Term(NamedTuple):
    """A value, and the name of each of its axes, all different."""

    value: Value
    axes: _Axes

    def size(self, axis: str) -> int:
        return self.value.shape[self.axes.index(axis)] if axis in self.axes else 1


@operator("Einsum")
def einsum(node: OnnxNode) -> Value:
    equation = node.text("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    sides, inputs = left.split(","), node.inputs()
    if len(sides) != len(inputs):
        raise ShapeError(f"node `{node.label}`: equation `{equation}` for {len(inputs)} inputs")
    terms = [_diagonal(node, v, _axes(node, s, v.type.rank)) for s, v in zip(sides, inputs, strict=True)]
    dots = max((a for t in terms for a in [tuple(x for x in t.axes if x.startswith(_DOTS))]), key=len, default=())
    wanted = _named(right, dots) if arrow else (*dots, *_lone_letters(left))
    terms = [_without_lone(node, t, [u for u in terms if u is not t], wanted) for t in terms]
    found = terms[0]
    for i, term in enumerate(terms[1:], 1):
        later = {a for t in terms[i + 1 :] for a in t.axes}
        found = _product(node, found, term, {*wanted, *later})
    rest = tuple(a for a in found.axes if a not in wanted)
    return _ordered(node, _summed(node, found, rest), wanted)


def _named(text: str, dots: _Axes) -> _Axes:
    """Letters as axes, the dots as axes of their own."""
    return tuple(a for part in re.findall(r"\.\.\.|.", text) for a in (dots if part == _DOTS else (part,)))


def _axes(node: OnnxNode, text: str, rank: int) -> _Axes:
    """The name of each axis; those under the dots are counted from their end."""
    letters = len(text.replace(_DOTS, ""))
    hidden = rank - letters
    if hidden < 0 or (hidden and _DOTS not in text):
        raise ShapeError(f"node `{node.label}`: `{text}` for an input of rank {rank}")
    return _named(text, tuple(f"{_DOTS}{hidden - i}" for i in range(hidden)))


def _lone_letters(text: str) -> _Axes:
    """What is left without an arrow: letters that come once, in the order of the alphabet."""
    return tuple(sorted(c for c in set(text) - {",", "."} if text.count(c) == 1))


def _diagonal(node: OnnxNode, value: Value, axes: _Axes) -> _Term:
    """An axis named twice becomes one: both coordinates are the same."""
    once = tuple(dict.fromkeys(axes))
    if once == axes:
        return _Term(value, axes)
    sizes = dict(zip(axes, value.shape, strict=True))
    at: Expr = number("int32", 0)
    for axis, stride in zip(axes, contiguous(value.shape), strict=True):
        at = at + Position("int32", once.index(axis)) * stride
    shape = tuple(sizes[a] for a in once)
    return _Term(node.add(Map(Load(value.dtype, 0, at), shape), value), once)


def _summed(node: OnnxNode, term: _Term, axes: Sequence[str]) -> _Term:
    if not axes:
        return term
    places = tuple(sorted(term.axes.index(a) for a in axes))
    kept = tuple(a for a in term.axes if a not in axes)
    total = node.add(Reduce("sum", places), term.value)
    return _Term(node.add(Reshape(tuple(term.size(a) for a in kept)), total), kept)


def _without_lone(node: OnnxNode, term: _Term, others: Sequence[_Term], wanted: _Axes) -> _Term:
    """Axes that nothing else has are summed first."""
    elsewhere = {a for other in others for a in other.axes}
    return _summed(node, term, [a for a in term.axes if a not in wanted and a not in elsewhere])


def _product(node: OnnxNode, a: _Term, b: _Term, kept: set[str]) -> _Term:
    """One matrix product: shared axes that stay are batches, shared ones that do not are summed over."""
    shared = [x for x in a.axes if x in b.axes]
    batch = [x for x in shared if x in kept]
    inner = [x for x in shared if x not in kept]
    rows, columns = [x for x in a.axes if x not in shared], [x for x in b.axes if x not in shared]
    left, right = _matrix(node, a, batch, rows, inner), _matrix(node, b, batch, inner, columns)
    product = node.add(MatMul(), left, right)
    sizes = [max(a.size(x), b.size(x)) for x in (*batch, *rows, *columns)]
    return _Term(node.add(Reshape(tuple(sizes)), product), (*batch, *rows, *columns))


def _matrix(node: OnnxNode, term: _Term, batch: list[str], rows: list[str], columns: list[str]) -> Value:
    order = [*batch, *rows, *columns]
    value = _ordered(node, term, tuple(order))
    sizes = [term.size(a) for a in batch]
    high, wide = (math.prod(term.size(a) for a in group) for group in (rows, columns))
    return node.add(Reshape((*sizes, high, wide)), value)


def _ordered(node: OnnxNode, term: _Term, axes: _Axes) -> Value:
    if set(axes) != set(term.axes):
        raise ShapeError(f"node `{node.label}`: the result asks for axes that no input has")
    if axes == term.axes:
        return term.value
    return node.add(Transpose(tuple(term.axes.index(a) for a in axes)), term.value)
