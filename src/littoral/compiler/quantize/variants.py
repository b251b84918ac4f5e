"""One quantisation for all variants of a model: marked on the variant that the feeds are for, followed by the others.

So every variant has the same scales and the same weights, which lie in the module once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Dequantize, DequantizeWeights, MatMul, Quantize, RoundRows
from littoral.compiler.quantize.quantized import Quantized, ready
from littoral.errors import NotOfferedError
from littoral.tensors import Array

__all__ = ["followed", "observed_variant"]

_MARKS = (Quantize, Dequantize, DequantizeWeights, RoundRows)
_BIAS_AT = 2  # among the inputs of a product


def observed_variant(graphs: Sequence[Graph], feed: Mapping[str, Array]) -> int:
    """Number of the variant that takes a feed; the first where none does."""
    return next((i for i, graph in enumerate(graphs) if _takes(graph, feed)), 0)


def _takes(graph: Graph, feed: Mapping[str, Array]) -> bool:
    shapes = {name: getattr(array, "shape", ()) for name, array in feed.items()}
    if len(graph.inputs) == 1 and "" in shapes:
        shapes[graph.inputs[0].name] = shapes[""]
    return all(shapes.get(v.name) in (v.shape, v.shape[1:] if v.shape[:1] == (1,) else v.shape) for v in graph.inputs)


def followed(found: Quantized, graph: Graph) -> Graph:
    """Another variant's graph with the marks of `found`, and with the constants that quantisation changed.

    Raises NotOfferedError where the two differ in more than sizes.
    """
    other = ready(graph)
    pairs = [n for n in found.graph.nodes if not isinstance(n.op, _MARKS)]
    if not len(pairs) == len(found.given.nodes) == len(other.nodes):
        raise _refusal(f"{len(pairs)} layers in one, {len(other.nodes)} in another")
    return _Follower(found, other).graph()


def _refusal(why: str) -> NotOfferedError:
    return NotOfferedError(
        f"compile: `int8` with `variants` that differ in more than sizes is not offered: {why}",
        hint="compile these variants into modules of their own",
    )


class _Follower:
    def __init__(self, found: Quantized, other: Graph) -> None:
        self.marked = found.graph
        self.rewriter = Rewriter(other)
        self.exact, self.own = iter(found.given.nodes), iter(other.nodes)
        inputs = map(self.rewriter.value, other.inputs)
        self.places: dict[Value, Value] = dict(zip(found.graph.inputs, inputs, strict=True))

    def graph(self) -> Graph:
        build = self.rewriter.build
        for node in self.marked.nodes:
            if isinstance(node.op, _MARKS):
                made = build.add_all(node.op, *(self._place(v) for v in node.inputs), label=node.label)
            else:
                made = self._copied(node, next(self.exact), next(self.own))
            self.places.update(zip(node.outputs, made, strict=True))
        outputs = [(name, self._place(v)) for name, v in self.marked.outputs]
        return build.finish(outputs, {name: self._place(v) for name, v in self.marked.dims.items()})

    def _place(self, value: Value) -> Value:
        return value if value.is_constant else self.places[value]

    def _copied(self, node: Node, exact: Node, own: Node) -> tuple[Value, ...]:
        if type(node.op) is not type(own.op) or len(exact.inputs) != len(own.inputs) or node.label != own.label:
            raise _refusal(f"`{node.label}` in one is `{own.label}` in another")
        before, sizes = list(exact.inputs), list(own.inputs)
        if len(node.inputs) > len(before):  # quantisation gave a product a bias, or what it equalised a factor
            at = _BIAS_AT if isinstance(node.op, Conv | MatMul) else len(before)
            before.insert(at, node.inputs[at])
            sizes.insert(at, node.inputs[at])
        inputs = [
            theirs if mine is was and theirs.is_constant else self._place(mine)
            for mine, was, theirs in zip(node.inputs, before, sizes, strict=True)
        ]
        changed: dict[str, Any] = {
            f.name: getattr(node.op, f.name)
            for f in fields(node.op)  # type: ignore[arg-type]
            if getattr(node.op, f.name) != getattr(exact.op, f.name)
        }
        op = replace(own.op, **changed) if changed else own.op  # type: ignore[type-var]
        return self.rewriter.build.add_all(op, *inputs, label=node.label)
