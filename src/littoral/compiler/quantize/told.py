"""The report of what was chosen, put together."""

from collections.abc import Mapping, Set
from dataclasses import replace

from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.quantize.choices import Choice
from littoral.compiler.quantize.costs import cost_ms
from littoral.compiler.quantize.fit import Fitted
from littoral.compiler.quantize.marks import ROWS
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.patches import is_depthwise
from littoral.compiler.quantize.ranges import HIGHEST
from littoral.compiler.quantize.report import FLOAT_BITS, LayerChoice, Report

__all__ = ["report_of"]

KEPT = "as in the model before, whose weights it has"


def report_of(
    asked: Int8,
    feeds: int,
    judged: int,
    fitted: Fitted,
    choice: Choice,
    ranges: Mapping[Value, str],
    losses: Mapping[Value, float],
    kept: Set[Node],
) -> Report:
    """losses: of the cosine, by holding a value in seven bits. kept: with the bytes of a model before."""
    layers = tuple(
        replace(layer, reason=KEPT) if node in kept else layer
        for node in choice.bits
        for layer in [_layer(node, asked, fitted, choice, ranges, losses.get(node.inputs[0]))]
    )
    return Report(asked.bits, asked.least_cosine, asked.effort, feeds, judged, choice.cosine, layers)


def _layer(
    node: Node, asked: Int8, fitted: Fitted, choice: Choice, ranges: Mapping[Value, str], in_seven: float | None
) -> LayerChoice:
    bits, by_row = choice.bits[node], node in fitted.marks.rows
    scheme = ROWS if by_row else fitted.marks.schemes.get(node.inputs[0])
    is_wide = scheme is not None and scheme.high > HIGHEST
    cost = cost_ms(node, bits, is_wide)
    more_ms = cost - cost_ms(node, bits)
    return LayerChoice(
        node.label,
        "depthwise" if is_depthwise(node) else node.op.name,
        bits,
        fitted.errors.get(node, 0.0),
        choice.losses.get(node, None if is_wide else in_seven),
        cost,
        cost_ms(node, FLOAT_BITS) - cost,
        0 if scheme is None else scheme.high,
        "by row" if by_row else ranges.get(node.inputs[0], ""),
        _reason(node, asked, bits, node in choice.losses) + _of_bytes(by_row, is_wide, in_seven, more_ms),
    )


def _reason(node: Node, asked: Int8, bits: int, is_measured: bool) -> str:
    if bits == FLOAT_BITS and not is_measured:
        return "a map behind its sums is too steep for bytes"
    if bits == FLOAT_BITS:
        return "the budget is not kept in integers"
    if is_depthwise(node) and asked.bits != 8:
        return "7 bits are no faster here"
    if not is_measured or asked.bits != "auto":
        return "as asked"
    return "the budget allows it" if bits == 7 else "7 bits cost more of the budget than elsewhere"


def _of_bytes(by_row: bool, is_wide: bool, in_seven: float | None, more_ms: float) -> str:
    """What is said of the bytes that a layer reads, where they are other than most."""
    if by_row:
        return "; rows of what it reads have scales of their own, one for all lost more"
    if is_wide and in_seven is not None:
        return f"; what it reads has 8 bits: 7 lose {in_seven:.1e}, 8 take {more_ms:.3f} ms more"
    return ""
