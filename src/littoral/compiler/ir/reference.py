"""The reference interpreter: runs a graph by the definitions of its operations. The tests' oracle, no engine."""

from collections.abc import Mapping

from littoral.compiler.ir.graph import Graph, Value
from littoral.tensors import Array

__all__ = ["interpret"]


def interpret(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name for inputs by name."""
    known: dict[Value, Array] = {v: feeds[v.name] for v in graph.inputs}

    def array(value: Value) -> Array:
        return known[value] if value.data is None else value.data

    for node in graph.nodes:
        results = node.op.reference(*(array(v) for v in node.inputs))
        known.update(zip(node.outputs, results, strict=True))
    return {name: array(value) for name, value in graph.outputs}
