"""Every product's weights in whole numbers, fitted one after the other in the order in which they run."""

from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.corrections import Whole, alone, moments_of, whole_weights
from littoral.compiler.quantize.marks import ROWS, Marks, numbers, rounded_rows
from littoral.compiler.quantize.twin import fitting_count, run_twin
from littoral.tensors import Array

__all__ = ["Finer", "Fitted", "fit"]

Tell = Callable[[str, int, int], None]


class Finer(NamedTuple):
    """Of a node whose weights have 7 bits: weights of 8; and of 7, fitted to float32 before it."""

    weights: Whole
    alone: Whole


class Fitted(NamedTuple):
    """errors: of each node's output, relative."""

    marks: Marks
    finer: dict[Node, Finer]
    errors: dict[Node, float]


def fit(
    graph: Graph,
    feeds: Sequence[Mapping[str, Array]],
    schemes: Mapping[Value, Scheme],
    bits: Mapping[Node, int],
    rows: Set[Node],
    alternatives: bool,
    hold: float,
    tell: Tell,
    known: Mapping[Node, Whole] = MappingProxyType({}),
) -> Fitted:
    """known: weights of products that have them already. bits: 8 or 7, of the weights of each product of bytes. rows:
    products whose rows have scales of their own. alternatives: whether `finer` is wanted. hold: how much more than
    usual weights are held where they are.
    """
    marks, finer = Marks(dict(schemes), rows=rows), dict[Node, Finer]()
    count = fitting_count(graph, len(feeds))
    few = [feeds[i * len(feeds) // count] for i in range(count)]

    def take(node: Node, want: list[Array], got: list[Array]) -> None:
        scheme = ROWS if node in rows else schemes.get(node.inputs[0])
        if node not in bits or scheme is None:
            return
        if (whole := known.get(node)) is not None:
            marks.weights[node] = whole
            return
        if scheme is ROWS:
            got = [rounded_rows(numbers(a, schemes.get(node.inputs[0]))) for a in got]
        weights, bias = node.inputs[1].data, _bias(node)
        assert weights is not None
        moments = moments_of(node, scheme, want, got, hold)
        marks.weights[node] = whole_weights(node, weights, bias, scheme, moments, bits[node])
        if alternatives and bits[node] < 8:
            plain = whole_weights(node, weights, bias, scheme, alone(moments), bits[node])
            finer[node] = Finer(whole_weights(node, weights, bias, scheme, moments, 8), plain)

    errors = run_twin(graph, few, marks, take, lambda done, total: tell("fit", done, total))
    return Fitted(marks, finer, errors)


def _bias(node: Node) -> Array:
    if not node.op.bias:  # type: ignore[attr-defined]
        return np.zeros(node.outputs[0].shape[-1], np.float32)
    bias = node.inputs[2].data
    assert bias is not None
    return bias.reshape(-1)
