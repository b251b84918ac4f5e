"""The order in which a model's nodes can be imported."""

from collections.abc import Iterable

from littoral.compiler.onnx.proto import NodeProto
from littoral.errors import OnnxFormatError

__all__ = ["in_order"]


def in_order(nodes: list[NodeProto], known: Iterable[str]) -> list[NodeProto]:
    """Nodes in topological order, the file's own where it is one.

    Raises OnnxFormatError for cycles, unknown names, and names made twice.
    """
    made = set(known)
    ordered: list[NodeProto] = []
    producers = {name: node for node in nodes for name in node.output if name}
    if sum(len([n for n in node.output if n]) for node in nodes) != len(producers):
        raise OnnxFormatError("two nodes make a tensor of the same name")
    done: set[int] = set()
    for start in nodes:
        stack = [(start, False)]
        open_: set[int] = set()
        while stack:
            node, ready = stack.pop()
            if id(node) in done:
                continue
            if ready:
                done.add(id(node))
                open_.discard(id(node))
                ordered.append(node)
                made.update(node.output)
                continue
            if id(node) in open_:
                raise OnnxFormatError(f"node `{node.name or node.op_type}` depends on itself")
            open_.add(id(node))
            stack.append((node, True))
            for name in node.input:
                if name and name not in made:
                    if (producer := producers.get(name)) is None:
                        raise OnnxFormatError(
                            f"node `{node.name or node.op_type}`: input `{name}` is made by no node and is no input"
                        )
                    if id(producer) in open_:
                        raise OnnxFormatError(f"node `{producer.name or producer.op_type}` depends on itself")
                    stack.append((producer, False))
    return ordered
