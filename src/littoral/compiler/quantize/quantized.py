"""The graph with bytes marked in it: a quantisation and its inverse behind every value that is to be held in bytes.

The passes of the integers do the rest. Activations are 0..127 with a zero point in between: products with weights of 8
bits are exact then in the fastest instruction there is (`kernels.int8_dot`).
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Dequantize, DequantizeWeights, Quantize, RoundRows
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.choices import Choice, choose_floats, choose_weights
from littoral.compiler.quantize.corrections import Whole
from littoral.compiler.quantize.costs import cost_ms
from littoral.compiler.quantize.equalize import equalized, units_of
from littoral.compiler.quantize.feeds import collected, fitting
from littoral.compiler.quantize.fit import Fitted, fit
from littoral.compiler.quantize.former import Fit, Former, noted
from littoral.compiler.quantize.marks import ROWS, Marks
from littoral.compiler.quantize.observe import Seen, observe
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.patches import is_depthwise
from littoral.compiler.quantize.prepared import prepared
from littoral.compiler.quantize.ranges import HIGHEST, chosen, widened
from littoral.compiler.quantize.report import FLOAT_BITS, Report
from littoral.compiler.quantize.rows import better_by_row
from littoral.compiler.quantize.sensitivity import Judge
from littoral.compiler.quantize.steep import Steep, mapped_values, steep_parts
from littoral.compiler.quantize.tables import long_parts_apart, looked_up
from littoral.compiler.quantize.told import report_of
from littoral.compiler.quantize.wanted import is_product, share_schemes, wanted_values
from littoral.tensors import Array

__all__ = ["Quantized", "quantize"]

JUDGED = {"normal": 6, "high": 16}
HOLDS = {"normal": (1.0,), "high": (1.0, 4.0, 0.25, 16.0)}
FLOAT_TRIES_MAX = 3
WIDE_LOSS = 0.001
WIDE_SHARE = 0.08  # of the time of all products
WIDE_JUDGED = 2
LOST_MAX, LOST_FLOOR = 1.25, 5e-4
"""Of the cosine: what bytes that are kept may lose, in times of what others lose, and beside it."""


class Quantized(NamedTuple):
    """The marked graph, what the manifest says of how it was made, and the graphs that it comes from.

    exact: the same layers by the same labels, all in float32, so that each can be compared. given: the same before
    channels were equalised. report: what was chosen for each layer. fit: for a model after this one.
    """

    graph: Graph
    about: dict[str, Any]
    exact: Graph
    given: Graph
    report: Report
    fit: Fit


def ready(graph: Graph) -> Graph:
    """The graph in a form whose values are good to hold in bytes."""
    graph = prepared(graph)
    return long_parts_apart(graph, wanted_values(graph))


def quantize(graph: Graph, asked: Int8, tell: Callable[[str, int, int], None], like: Fit | None = None) -> Quantized:
    """like: of a model before, whose layers that are the same stay as they are.

    Raises InputError for feeds that do not fit, or on which a layer overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a mask may overflow; what may not is refused
        observed = _observed(graph, asked, tell)
        former = None if like is None or like.bits != asked.bits else Former(like, observed.given)
        if former is None:
            found = _anew(observed, asked, tell)
        else:
            found = _as_before(observed, former, asked, tell)
            if not _is_close(found.choice.cosine, 1 - former.lost, asked):
                anew = _anew(observed, asked, tell)
                found = found if _is_close(found.choice.cosine, anew.choice.cosine, asked) else anew
        return _told(observed, found, asked, former is not None)


class _Observed(NamedTuple):
    """given: ready, and what its values are on the feeds. held_out: to judge by; rest: to fit on."""

    given: Graph
    seen: Mapping[Value, Seen]
    feeds: int
    held_out: list[dict[str, Array]]
    rest: list[dict[str, Array]]

    @property
    def products(self) -> set[Node]:
        return {node for node in self.given.nodes if is_product(node)}


class _Found(NamedTuple):
    """exact: the graph given, divided by units. kept: products that have the bytes of a model before."""

    exact: Graph
    units: Mapping[Value, Array]
    fitted: Fitted
    choice: Choice
    ranges: Mapping[Value, str]
    losses: Mapping[Value, float]
    judged: int
    kept: Set[Node] = frozenset()


def _observed(graph: Graph, asked: Int8, tell: Callable[[str, int, int], None]) -> _Observed:
    given = ready(graph)
    feeds = [fitting(given, feed, i) for i, feed in enumerate(collected(asked.feeds))]
    wanted = wanted_values(given)
    seen = observe(given, feeds, wanted | mapped_values(given, wanted), tell)
    return _Observed(given, seen, len(feeds), *_parted(feeds, JUDGED[asked.effort]))


def _anew(observed: _Observed, asked: Int8, tell: Callable[[str, int, int], None]) -> _Found:
    units = units_of(observed.given, observed.products, observed.seen)
    exact, seen = equalized(observed.given, observed.products, observed.seen, units)
    judge = Judge(exact, observed.held_out)
    found = {value: chosen(one, asked.ranges) for value, one in seen.items()}
    work = _Work(exact, seen, found, asked, observed.rest, tell, {})
    products = {node for node in exact.nodes if is_product(node)}
    work = work._replace(steep=steep_parts(exact, seen, work.schemes(work.kept()), products))
    work = work._replace(
        by_row=better_by_row(exact, seen, lambda nodes: work.schemes(work.kept(nodes)), judge, asked.least_cosine)
    )
    fitted, choice = work.chosen(judge)
    ranges = {v: name for v, (name, _) in work.found.items()}
    return _Found(exact, units, fitted, choice, ranges, work.losses, judge.count)


def _as_before(observed: _Observed, former: Former, asked: Int8, tell: Callable[[str, int, int], None]) -> _Found:
    """Every decision as it was, but for ranges that no longer hold; weights anew where something changed."""
    units = units_of(observed.given, observed.products, observed.seen, former.units())
    exact, seen = equalized(observed.given, observed.products, observed.seen, units)
    judge = Judge(exact, observed.held_out)
    anew = {value: chosen(one, asked.ranges) for value, one in seen.items()}
    kept = former.kept(exact, units, seen, {value: scheme for value, (_, scheme) in anew.items()})
    bits = kept.bits | {node: _bits(node, asked.bits) for node in kept.strangers}
    needed = kept.missing & wanted_values(exact, bits.keys() - kept.rows)
    schemes = kept.schemes | {value: anew[value][1] for value in needed}
    if needed:
        share_schemes(exact, schemes)
        schemes |= {v: scheme for v, scheme in looked_up(exact, schemes, seen).items() if v in needed}
    known = {
        node: whole
        for node, (whole, read) in kept.weights.items()
        if read == (ROWS if node in kept.rows else schemes.get(node.inputs[0]))
    }
    fitted = fit(exact, observed.rest, schemes, bits, kept.rows, False, 1.0, tell, known)
    every = {node: bits.get(node, FLOAT_BITS) for node in exact.nodes if is_product(node)}
    choice = Choice(every, cosine=judge.agreement(fitted.marks))
    ranges = kept.ranges | {value: anew[value][0] for value in needed}
    return _Found(exact, units, fitted, choice, ranges, {}, judge.count, known.keys())


def _is_close(cosine: float, wanted: float, asked: Int8) -> bool:
    """Whether outputs lose about as little as those, and no more than they may."""
    least = asked.least_cosine
    return 1 - cosine <= LOST_MAX * (1 - wanted) + LOST_FLOOR and (least is None or cosine >= least)


def _told(observed: _Observed, found: _Found, asked: Int8, is_like: bool) -> Quantized:
    fitted, choice = found.fitted, found.choice
    report = report_of(asked, observed.feeds, found.judged, fitted, choice, found.ranges, found.losses, found.kept)
    about: dict[str, Any] = {"bits": asked.bits, "feeds": observed.feeds, "report": report.as_json()}
    if fitted.marks.rows:
        about["by_row"] = len(fitted.marks.rows)
    if is_like:
        about["kept"] = len(found.kept)
    own = noted(observed.given, found.exact, found.units, fitted.marks, choice.bits, found.ranges, asked, choice.cosine)
    return Quantized(_marked(found.exact, fitted.marks), about, found.exact, observed.given, report, own)


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
    """A model on its way into integers. found: of each value that could be held, how its range was found, and what.

    losses: of the cosine, by holding one value in seven bits, where measured. by_row: the products whose rows have
    scales of their own. steep: what stays in float32 because of a map behind it.
    """

    graph: Graph
    seen: Mapping[Value, Seen]
    found: dict[Value, tuple[str, Scheme]]
    asked: Int8
    feeds: list[dict[str, Array]]
    tell: Callable[[str, int, int], None]
    losses: dict[Value, float]
    by_row: frozenset[Node] = frozenset()
    steep: Steep = Steep(frozenset(), frozenset())

    def schemes(self, kept: Set[Value]) -> dict[Value, Scheme]:
        schemes = {value: scheme for value, (_, scheme) in self.found.items() if value in kept}
        share_schemes(self.graph, schemes)
        return schemes | looked_up(self.graph, schemes, self.seen)

    def widen(self, judge: Judge) -> bool:
        """Values of which seven bits alone take much off the cosine have eight, in kernels that are slower.

        Those that gain most for their time come first, as far as all together take a small part of the whole. Whether
        there are any.
        """
        schemes = self.schemes(self.kept())
        if 1 - judge.agreement(Marks(schemes), WIDE_JUDGED) <= WIDE_LOSS:
            return False
        read = [v for v in dict.fromkeys(n.inputs[0] for n in self.graph.nodes if is_product(n)) if v in schemes]
        losses: dict[Value, float] = {}
        for i, value in enumerate(read):
            self.tell("bytes", i, len(read))
            losses[value] = judge.loss_of_bytes(value, schemes[value], WIDE_JUDGED)
        self.losses.update(losses)
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
        products = [n for n in self.graph.nodes if is_product(n) and n not in self.steep.products]
        wide = {node for node in products if self.found[node.inputs[0]][1].high > HIGHEST}
        return {node: 8 if node in wide else _bits(node, self.asked.bits) for node in products}

    def kept(self, nodes: Iterable[Node] | None = None) -> set[Value]:
        """Values to be held with one scale, where these products and no others are of bytes; None: all that can be."""
        products = filter(is_product, self.graph.nodes) if nodes is None else nodes
        return wanted_values(self.graph, set(products) - self.by_row - self.steep.products, self.steep.values)

    def fit(self, bits: Mapping[Node, int], alternatives: bool, judge: Judge) -> tuple[Fitted, float]:
        """The fit whose cosine is best, of those that hold weights more and less, and that cosine."""
        rows, schemes = self.by_row & bits.keys(), self.schemes(self.kept(bits))
        found: list[tuple[Fitted, float]] = []
        for hold in HOLDS[self.asked.effort]:
            fitted = fit(self.graph, self.feeds, schemes, bits, rows, alternatives, hold, self.tell)
            found.append((fitted, judge.agreement(fitted.marks)))
        return max(found, key=lambda one: one[1])

    def fitted(self, judge: Judge) -> tuple[Fitted, Choice]:
        bits = self.bits()
        fitted, cosine = self.fit(bits, self.asked.bits == "auto", judge)
        every = {node: bits.get(node, FLOAT_BITS) for node in self.graph.nodes if is_product(node)}
        return fitted, Choice(every, cosine=cosine)

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
            choose_floats(self.graph, choice, fitted.marks, judge, least, self.tell)
            whole = {node: n for node, n in choice.bits.items() if n != FLOAT_BITS}
            fitted, choice.cosine = self.fit(whole, False, judge)
        return fitted, choice


def _marked(graph: Graph, marks: Marks) -> Graph:
    rewriter = Rewriter(graph)

    def mark(old: Value) -> None:
        if (scheme := marks.schemes.get(old)) is not None:
            build, new = rewriter.build, rewriter.value(old)
            held = build.add(Quantize(scheme), new, label="quantize")
            rewriter.replace(old, build.add(Dequantize(scheme), held, label="dequantize"))

    for value in graph.inputs:
        mark(value)
    for node in graph.nodes:
        if node in marks.weights:
            rewriter.put(node, [_with_weights(rewriter, node, marks.weights[node], node in marks.rows)])
        else:
            rewriter.copy(node)
        for value in node.outputs:
            mark(value)
    return rewriter.finish()


def _with_weights(rewriter: Rewriter, node: Node, whole: Whole, by_row: bool) -> Value:
    """The product with its weights in bytes, each output channel with a scale of its own."""
    x, _, *rest = rewriter.inputs(node)
    if by_row:
        x = rewriter.build.add(RoundRows(), x, label=node.label)
    extras = rest[node.op.bias :]  # type: ignore[attr-defined]
    axis = 0 if isinstance(node.op, Conv) else 1
    build = rewriter.build
    held = build.add(
        DequantizeWeights(axis), build.constant(whole.weights), build.constant(whole.scale), label=node.label
    )
    op = replace(node.op, bias=True)  # type: ignore[type-var]
    return build.add(op, x, held, build.constant(whole.bias), *extras, label=node.label)
