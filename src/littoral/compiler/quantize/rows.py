"""Products whose left side is better held with a scale for each row, found when the model runs, than with one for all.

What normalisation and GELU leave in the rows of a transformer differs in size from token to token: one scale for all is
too coarse for most of them. It is measured on the feeds, before anything is fitted; what is gained must be worth a pass
over the rows.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import MatMul
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.marks import Marks, held, numbers, rounded_rows
from littoral.compiler.quantize.observe import Seen
from littoral.compiler.quantize.sensitivity import Judge
from littoral.compiler.quantize.wanted import is_product
from littoral.tensors import Array

__all__ = ["GAIN", "better_by_row"]

LOSS_MIN = 0.005  # of the cosine, or half of what a budget allows
GAIN = 2.0  # by which scales of rows must lower the loss
JUDGED = 4
Schemes = Callable[[Iterable[Node]], dict[Value, Scheme]]
"""Of values, where some products are of bytes with fixed scales."""


def better_by_row(
    graph: Graph, seen: Mapping[Value, Seen], schemes: Schemes, judge: Judge, least_cosine: float | None
) -> frozenset[Node]:
    """Such products of the graph: those whose error by row is less.

    None where what all bytes together take off the cosine is little, or rows do not take much of that away: bytes from
    end to end are faster.
    """
    readers: dict[Value, list[Node]] = {}
    products = [node for node in graph.nodes if is_product(node)]
    every = schemes(products)
    for node in products:
        if isinstance(node.op, MatMul) and node.inputs[0] in every:  # what a steep map is behind stays in float32
            readers.setdefault(node.inputs[0], []).append(node)
    gains = {value: _gain(seen[value].sample(), every[value], nodes) for value, nodes in readers.items()}
    rows = frozenset(node for value, nodes in readers.items() if gains[value] > 1 for node in nodes)
    if not rows:
        return rows
    least = LOSS_MIN if least_cosine is None else min(LOSS_MIN, (1 - least_cosine) / 2)
    whole = 1 - judge.agreement(Marks(every), JUDGED)
    left = 1 - judge.agreement(Marks(schemes([n for n in products if n not in rows]), rows=rows), JUDGED)
    return rows if whole > least and left < whole / GAIN else frozenset()


def _gain(sample: Array, scheme: Scheme, readers: list[Node]) -> float:
    """How many times smaller the square error of what reads the value becomes."""
    weight = sum((_strengths(node) for node in readers), np.zeros(sample.shape[-1]))
    errors = [
        float(np.square(found - sample, dtype=np.float64).mean(0) @ weight)
        for found in (numbers(held(sample, scheme), scheme), rounded_rows(sample))
    ]
    return errors[0] / max(errors[1], 1e-30)


def _strengths(node: Node) -> Array:
    """Of each element of a row in what the node makes: squares of its weights."""
    weights = node.inputs[1].data
    assert weights is not None
    return np.asarray(np.square(weights, dtype=np.float64).sum(1))
