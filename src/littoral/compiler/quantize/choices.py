"""Which layers have weights of 7 bits, which of 8, which stay in float32: by what each takes off the cosine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.quantize.costs import cost_ms
from littoral.compiler.quantize.fit import Fitted
from littoral.compiler.quantize.marks import Marks
from littoral.compiler.quantize.report import FLOAT_BITS
from littoral.compiler.quantize.sensitivity import Judge

__all__ = ["Choice", "choose_floats", "choose_weights"]

TRIES_MAX = 5
SEVENTH_BIT = 0.75  # of a rounding's square error that a bit more takes away
Tell = Callable[[str, int, int], None]


@dataclass
class Choice:
    """bits of each product. losses: by node, what was measured for its own. cosine: on feeds held out of the fit."""

    bits: dict[Node, int]
    losses: dict[Node, float] = field(default_factory=dict)
    cosine: float = 1.0


def choose_weights(choice: Choice, fitted: Fitted, judge: Judge, least_cosine: float, tell: Tell) -> None:
    """Weights that can have 8 bits get them, where that wins most for its time, until the outputs keep the cosine."""
    for i, (node, finer) in enumerate(fitted.finer.items()):
        tell("sensitivity", i, len(fitted.finer))
        choice.losses[node] = judge.loss_of_weights(node, finer.alone)

    def gain(node: Node) -> float:
        return choice.losses[node] / max(cost_ms(node, 8) - cost_ms(node, choice.bits[node]), 1e-9)

    order = sorted(fitted.finer, key=gain, reverse=True)
    raised = _fewest(order, choice.losses, (least_cosine - choice.cosine) / SEVENTH_BIT)
    for _ in range(TRIES_MAX if raised else 0):
        weights = {node: fitted.finer[node].weights for node in order[:raised]}
        choice.cosine = judge.agreement(replace(fitted.marks, weights={**fitted.marks.weights, **weights}))
        if choice.cosine >= least_cosine or raised == len(order):
            break
        raised = min(len(order), raised + max(1, (len(order) - raised) // 2))
    for node in order[:raised]:
        choice.bits[node] = 8
        choice.losses[node] *= 1 - SEVENTH_BIT
        fitted.marks.weights[node] = fitted.finer[node].weights


def _fewest(order: Sequence[Node], losses: Mapping[Node, float], needed: float) -> int:
    count = 0
    while needed > 0 and count < len(order):
        needed -= losses[order[count]]
        count += 1
    return count


def choose_floats(graph: Graph, choice: Choice, marks: Marks, judge: Judge, least_cosine: float, tell: Tell) -> None:
    """Values that hurt most are not held in bytes: what reads them stays in float32."""
    readers: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        if node in choice.bits and (node in marks.rows or node.inputs[0] in marks.schemes):
            readers.setdefault(node.inputs[0], []).append(node)
    losses: dict[Value, float] = {}
    for i, value in enumerate(readers):
        tell("sensitivity", i, len(readers))
        losses[value] = judge.loss_of_bytes(value, marks.schemes.get(value))

    def gain(value: Value) -> float:
        cost = sum(cost_ms(n, FLOAT_BITS) - cost_ms(n, choice.bits[n]) for n in readers[value])
        return losses[value] / max(cost, 1e-9)

    missing = least_cosine - choice.cosine
    for value in sorted(readers, key=gain, reverse=True):
        if missing <= 0:
            break
        missing -= losses[value]
        for node in readers[value]:
            choice.bits[node] = FLOAT_BITS
            choice.losses[node] = losses[value]
