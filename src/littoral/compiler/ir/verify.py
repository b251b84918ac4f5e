"""The verifier: what every graph must hold, checked between passes in tests and under `LITTORAL_DEBUG`."""

from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.ops.control import bodies_of

__all__ = ["verify"]


def verify(graph: Graph) -> None:
    """Raises ValueError where a value is used before it is made, is made twice, or has a type that is not inferred."""
    known = set(graph.inputs)
    for node in graph.nodes:
        for value in node.inputs:
            if not value.is_constant and value not in known:
                raise ValueError(f"node `{node.label}` ({node.op.name}) uses {value!r} before it is made")
        for body in bodies_of(node.op):
            verify(body)
        inferred = node.op.infer(*(v.type for v in node.inputs))
        actual = tuple(v.type for v in node.outputs)
        if inferred != actual:
            raise ValueError(f"node `{node.label}` ({node.op.name}) gives {inferred}, its outputs say {actual}")
        if any(v in known for v in node.outputs):
            raise ValueError(f"node `{node.label}` ({node.op.name}) makes a value again")
        known.update(node.outputs)
    for name, value in graph.outputs:
        if not value.is_constant and value not in known:
            raise ValueError(f"output `{name}` is never made")
