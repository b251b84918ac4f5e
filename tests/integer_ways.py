"""A random model in integers: each node of its module against the node's definition, and every module against another.

A module that gives all that it computes on its way is compared node by node, each on what the module itself gave the
node: where a sum in float32 is one rounding off, what is rounded to a byte behind it may be one quantum off, and two
whole runs tell nothing. Operations on bytes have no such slack: their bits are the definition's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import littoral
from engines.subjects import with_odd
from integer_graphs import run_graph
from littoral.compiler.driver import Planned, planned, written
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.ops import IntegerConv, Map, Pool, Reduce
from littoral.compiler.ir.verify import verify
from littoral.compiler.quantize import Int8
from littoral.compiler.wasm import TARGETS
from model_host import run_bare
from model_maker import Made, arrays_for
from three_ways import BY_ELEMENT, LIMIT, RUNTIME_ERRORS, DifferenceError, agree, oracle

__all__ = ["check_integers", "check_nodes", "feeds_for"]

FEEDS = 4


def feeds_for(made: Made) -> list[dict[str, Any]]:
    return [arrays_for(made.model.graph.input, 100 + i) for i in range(FEEDS)]


def check_integers(made: Made, bits: int | None, threads: Sequence[int] = ()) -> list[str]:
    """Raises DifferenceError, or what the compiler raises. The names of the operations of the graph.

    bits: of the weights; None for a model that comes quantised.
    """
    try:
        oracle(made)
    except RUNTIME_ERRORS:
        return []  # what ONNX Runtime refuses is no model
    data = made.model.SerializeToString()
    asked = None if bits is None else Int8(feeds_for(made), bits=bits)
    found = planned(data, int8=asked)
    (graph,) = found.graphs
    verify(graph)
    for feeds in (made.feeds, with_odd(made.feeds)):
        check_nodes(graph, feeds, only_exact=feeds is not made.feeds)
        check_targets(found, feeds)
    want = run_bare(written(found).wasm, made.feeds)
    for count in threads:
        with littoral.load(littoral.compile(data, int8=asked, threads=count)) as team:
            for _ in range(3):
                agree(f"{count} threads against one", team.run(made.feeds), want, 0.0)
    return [node.op.name for node in graph.nodes]


def check_targets(found: Planned, feeds: Mapping[str, Any]) -> None:
    outputs = {target: run_bare(written(found, target=target).wasm, feeds) for target in TARGETS}
    for target, got in outputs.items():
        agree(f"{target} against relaxed", got, outputs["relaxed"], 0.0)


def check_nodes(graph: Graph, feeds: Mapping[str, Any], *, only_exact: bool = False) -> None:
    """Every node, on what the module itself gave it. only_exact: nothing that could overflow in another order."""
    names = {value: f"node {i}" for i, value in enumerate(v for node in graph.nodes for v in node.outputs)}
    taps = replace(graph, outputs=[(name, value) for value, name in names.items()], dims={})
    got = run_graph(taps, feeds)
    for node in graph.nodes:
        if only_exact and not is_exact(node.op):
            continue
        given = [
            feeds[v.name] if v in graph.inputs else got[names[v]] if v.data is None else v.data for v in node.inputs
        ]
        with np.errstate(all="ignore"):
            want = node.op.reference(*given)
        for value, array in zip(node.outputs, want, strict=True):
            found, label = got[names[value]], f"{names[value]}, `{node.op.name}` of {[v.type for v in node.inputs]}"
            if not is_exact(node.op):
                agree(label, {"y": found}, {"y": array}, LIMIT)
            elif not np.array_equal(found, array, equal_nan=array.dtype.kind == "f"):  # numpy's 0 may have either sign
                raise DifferenceError(f"{label} {node.op.text()}: {(found != array).sum()} of {array.size} differ")


def is_exact(op: Any) -> bool:
    """Whether nothing is added up in float32."""
    if isinstance(op, Pool | Reduce):
        return op.combine in ("max", "min") or (
            isinstance(op, Reduce) and op.before is not None and op.before.dtype == "int32"
        )
    return isinstance(op, IntegerConv | Map) or op.name in BY_ELEMENT
