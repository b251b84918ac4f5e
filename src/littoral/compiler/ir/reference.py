"""The reference interpreter: runs a graph by the definitions of its operations. The tests' oracle, no engine."""

from collections.abc import Callable, Mapping

from littoral.compiler.ir.graph import Graph, Value
from littoral.tensors import Array, element_count

__all__ = ["interpret"]


def interpret(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name for inputs by name."""
    known: dict[Value, Array] = {v: feeds[v.name] for v in graph.inputs}

    def array(value: Value) -> Array:
        return known[value] if value.data is None else value.data

    for node in graph.nodes:
        results = node.op.reference(*(array(v) for v in node.inputs))
        known.update(zip(node.outputs, results, strict=True))
    return {name: _packed(array(v), graph.dims.get(name), array) for name, v in graph.outputs}


def _packed(data: Array, dims: Value | None, array: Callable[[Value], Array]) -> Array:
    """An output under its actual shape."""
    if dims is None:
        return data
    shape = tuple(int(d) for d in array(dims))
    return data.reshape(-1)[: element_count(shape)].reshape(shape)
