"""The graph with bytes marked in it: a quantisation and its inverse behind every value that is to be held in bytes.

The passes of the integers do the rest. Activations are 0..127 with a zero point in between: products with weights of 8
bits are exact then in the fastest instruction there is (`kernels.int8_dot`).
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Any, NamedTuple

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Conv,
    Dequantize,
    DequantizeWeights,
    Gather,
    Map,
    MatMul,
    Pool,
    Quantize,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.choices import Choice, choose_floats, choose_weights
from littoral.compiler.quantize.corrections import Whole
from littoral.compiler.quantize.costs import cost_ms
from littoral.compiler.quantize.equalize import equalized
from littoral.compiler.quantize.feeds import collected, fitting
from littoral.compiler.quantize.fit import Fitted, fit
from littoral.compiler.quantize.observe import Seen, observe
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.patches import is_depthwise
from littoral.compiler.quantize.prepared import prepared
from littoral.compiler.quantize.ranges import HIGHEST, chosen, widened
from littoral.compiler.quantize.report import FLOAT_BITS, Report
from littoral.compiler.quantize.sensitivity import Judge
from littoral.compiler.quantize.tables import long_parts_apart, looked_up, shapes_of
from littoral.compiler.quantize.told import report_of
from littoral.tensors import Array

__all__ = ["Quantized", "quantize"]

JUDGED = {"normal": 6, "high": 16}
FLOAT_TRIES_MAX = 3
WIDE_LOSS = 0.001
WIDE_SHARE = 0.08  # of the time of all products
WIDE_JUDGED = 2
REACH_MAX = 16  # of a depthwise window with its dilations, which is spread out
_MOVES = (Reshape, Transpose, Slice, Gather, Concat, Resample)


class Quantized(NamedTuple):
    """The marked graph, what the manifest says of how it was made, and the graphs that it comes from.

    exact: the same layers by the same labels, all in float32, so that each can be compared. given: the same before
    channels were equalised. report: what was chosen for each layer.
    """

    graph: Graph
    about: dict[str, Any]
    exact: Graph
    given: Graph
    report: Report


def ready(graph: Graph) -> Graph:
    """The graph in a form whose values are good to hold in bytes."""
    graph = prepared(graph)
    return long_parts_apart(graph, _wanted(graph))


def quantize(graph: Graph, asked: Int8, tell: Callable[[str, int, int], None]) -> Quantized:
    """Raises InputError for feeds that do not fit."""
    given = ready(graph)
    feeds = [fitting(given, feed, i) for i, feed in enumerate(collected(asked.feeds))]
    seen = observe(given, feeds, _wanted(given), tell)
    exact, seen = equalized(given, {node for node in given.nodes if is_product(node)}, seen)
    held_out, rest = _parted(feeds, JUDGED[asked.effort])
    work = _Work(exact, seen, {value: chosen(one, asked.ranges) for value, one in seen.items()}, asked, rest, tell)
    judge = Judge(exact, held_out)
    fitted, choice = work.chosen(judge)
    report = report_of(asked, len(feeds), judge.count, fitted, choice, {v: name for v, (name, _) in work.found.items()})
    about = {"bits": asked.bits, "feeds": len(feeds), "report": report.as_json()}
    return Quantized(_marked(exact, fitted.marks.schemes, fitted.marks.weights), about, exact, given, report)


def _parted(feeds: list[dict[str, Array]], most: int) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
    """Some feeds to judge by, at most a quarter, and the rest; of fewer than four, all for both."""
    count = min(most, len(feeds) // 4)
    if not count:
        return feeds[:most], feeds
    apart = {(2 * i + 1) * len(feeds) // (2 * count) for i in range(count)}
    return [feeds[i] for i in sorted(apart)], [f for i, f in enumerate(feeds) if i not in apart]


def _bits(node: Node, asked: int | str) -> int:
    """Weights of 7 bits make dense products faster alone."""
    return 8 if asked == 8 or is_depthwise(node) else 7


class _Work(NamedTuple):
    """A model on its way into integers. found: of each value that is to be held, how its range was found, and what."""

    graph: Graph
    seen: Mapping[Value, Seen]
    found: dict[Value, tuple[str, Scheme]]
    asked: Int8
    feeds: list[dict[str, Array]]
    tell: Callable[[str, int, int], None]

    def schemes(self, kept: Set[Value]) -> dict[Value, Scheme]:
        schemes = {value: scheme for value, (_, scheme) in self.found.items() if value in kept}
        _share(self.graph, schemes)
        return schemes | looked_up(self.graph, schemes, self.seen)

    def widen(self, judge: Judge) -> bool:
        """Values of which seven bits alone take much off the cosine have eight, in kernels that are slower.

        Those that gain most for their time come first, as far as all together take a small part of the whole. Whether
        there are any.
        """
        schemes = self.schemes(self.found.keys())
        read = [v for v in dict.fromkeys(n.inputs[0] for n in self.graph.nodes if is_product(n)) if v in schemes]
        losses: dict[Value, float] = {}
        for i, value in enumerate(read):
            self.tell("bytes", i, len(read))
            losses[value] = judge.loss_of_bytes(value, schemes[value], WIDE_JUDGED)
        added_ms, left_ms = dict.fromkeys(read, 0.0), 0.0
        for node in filter(is_product, self.graph.nodes):
            left_ms += WIDE_SHARE * cost_ms(node, 8)
            if node.inputs[0] in added_ms:
                added_ms[node.inputs[0]] += cost_ms(node, 8, is_wide=True) - cost_ms(node, 8)
        for value in sorted(read, key=lambda v: -losses[v] / max(added_ms[v], 1e-9)):
            if losses[value] > WIDE_LOSS and added_ms[value] <= left_ms:
                left_ms -= added_ms[value]
                name, scheme = self.found[value]
                self.found[value] = (name, widened(scheme, self.seen[value]))
        return any(scheme.high > HIGHEST for _, scheme in self.found.values())

    def bits(self) -> dict[Node, int]:
        products = [node for node in self.graph.nodes if is_product(node)]
        wide = {node for node in products if self.found[node.inputs[0]][1].high > HIGHEST}
        return {node: 8 if node in wide else _bits(node, self.asked.bits) for node in products}

    def fit(self, kept: Set[Value], bits: Mapping[Node, int], alternatives: bool) -> Fitted:
        return fit(self.graph, self.feeds, self.schemes(kept), bits, alternatives, self.tell)

    def fitted(self, judge: Judge) -> tuple[Fitted, Choice]:
        bits = self.bits()
        fitted = self.fit(self.found.keys(), bits, self.asked.bits == "auto")
        return fitted, Choice(bits, cosine=judge.agreement(fitted.marks))

    def chosen(self, judge: Judge) -> tuple[Fitted, Choice]:
        """Weights, and which layers have them, within the budget."""
        least = self.asked.least_cosine
        if self.asked.bits == "auto" and least is not None:
            fitted, choice = self.fitted(judge)
            if choice.cosine < least and self.widen(judge):
                fitted, choice = self.fitted(judge)
            choose_weights(choice, fitted, judge, least, self.tell)
        else:
            self.widen(judge)
            fitted, choice = self.fitted(judge)
        for _ in range(FLOAT_TRIES_MAX):
            if least is None or choice.cosine >= least:
                break
            choose_floats(self.graph, choice, fitted.marks.schemes, judge, least, self.tell)
            whole = {node: n for node, n in choice.bits.items() if n != FLOAT_BITS}
            fitted = self.fit(_wanted(self.graph, set(whole)), whole, False)
            choice.cosine = judge.agreement(fitted.marks)
        return fitted, choice


def is_product(node: Node) -> bool:
    """Whether the node can be a product of bytes."""
    op, constants = node.op, node.inputs[1:2]
    if any(v.dtype != "float32" for v in node.inputs) or any(v.data is None for v in constants):
        return False
    if isinstance(op, Conv):
        x, w = node.inputs[:2]
        own = op.groups == x.shape[-1] == w.shape[0]
        fits = op.groups == 1 or (own and max(op.window.reach()) <= REACH_MAX)
        return op.last and len(op.window.kernel) in (1, 2) and fits
    return isinstance(op, MatMul) and not (op.left or op.right or op.result) and node.inputs[1].type.rank == 2


def _wanted(graph: Graph, chosen: Set[Node] | None = None) -> set[Value]:
    """Values to be held in bytes: what products read, and what such values are made of, as far as that is plain."""
    wanted: set[Value] = set()
    whole = {node for node in graph.nodes if is_product(node)} if chosen is None else chosen
    products = {node.outputs[0] for node in whole}
    for node in reversed(graph.nodes):
        if node in whole:
            wanted.add(node.inputs[0])
            wanted.update(v for v in node.inputs[2 + node.op.bias :] if v.data is None and v in products)  # type: ignore[attr-defined]
        elif isinstance(node.op, (*_MOVES, Pool, Map)) and node.outputs[0] in wanted:
            sources = [v for v in node.inputs if v.data is None]
            if all(v.dtype == "float32" for v in sources) and _is_plain(node, sources, products | wanted):
                wanted.update(sources)
        elif isinstance(node.op, Reduce) and node.outputs[0] in wanted and len(node.inputs) == 1:
            wanted.update(v for v in node.inputs if v in products or _is_looked_up(v, products))
    return {v for v in wanted if v.data is None}


def _is_looked_up(value: Value, products: set[Value]) -> bool:
    """Whether it is one map of what a product makes."""
    before = value.producer
    return (
        before is not None and isinstance(before.op, Map) and len(before.inputs) == 1 and before.inputs[0] in products
    )


def _is_plain(node: Node, sources: list[Value], known: set[Value]) -> bool:
    """Whether bytes in give good bytes out: moves and pools always; a map where all it reads comes from products."""
    if isinstance(node.op, Map):
        roots = [shapes_of(v)[-1] for v in sources]
        return all(v in known or (v.producer is not None and isinstance(v.producer.op, Map)) for v in roots)
    return not isinstance(node.op, Pool) or node.op.combine == "max"


def _share(graph: Graph, schemes: dict[Value, Scheme]) -> None:
    """One scheme before and behind what only moves: the widest of all that meet there."""
    for node in reversed(graph.nodes):
        op, out = node.op, node.outputs[0]
        is_move = isinstance(op, _MOVES) or (isinstance(op, Pool) and op.combine == "max")
        if not is_move or out not in schemes:
            continue
        for value in node.inputs:
            if value in schemes:
                schemes[value] = schemes[out]


def _marked(graph: Graph, schemes: Mapping[Value, Scheme], weights: Mapping[Node, Whole]) -> Graph:
    rewriter = Rewriter(graph)

    def mark(old: Value) -> None:
        if (scheme := schemes.get(old)) is not None:
            build, new = rewriter.build, rewriter.value(old)
            held = build.add(Quantize(scheme), new, label="quantize")
            rewriter.replace(old, build.add(Dequantize(scheme), held, label="dequantize"))

    for value in graph.inputs:
        mark(value)
    for node in graph.nodes:
        if node in weights:
            rewriter.put(node, [_with_weights(rewriter, node, weights[node])])
        else:
            rewriter.copy(node)
        for value in node.outputs:
            mark(value)
    return rewriter.finish()


def _with_weights(rewriter: Rewriter, node: Node, whole: Whole) -> Value:
    """The product with its weights in bytes, each output channel with a scale of its own."""
    x, _, *rest = rewriter.inputs(node)
    extras = rest[node.op.bias :]  # type: ignore[attr-defined]
    axis = 0 if isinstance(node.op, Conv) else 1
    build = rewriter.build
    held = build.add(
        DequantizeWeights(axis), build.constant(whole.weights), build.constant(whole.scale), label=node.label
    )
    op = replace(node.op, bias=True)  # type: ignore[type-var]
    return build.add(op, x, held, build.constant(whole.bias), *extras, label=node.label)
