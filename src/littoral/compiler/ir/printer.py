"""Graphs as text: one line a node, for `explain`, errors and golden tests."""

from littoral.compiler.ir.graph import Graph, Value

__all__ = ["graph_text"]


def graph_text(graph: Graph) -> str:
    """Inputs, nodes in order, outputs; constants by their type and, up to 4 elements, their values."""
    names: dict[Value, str] = {}

    def name(value: Value) -> str:
        if value.data is not None:
            few = f" {value.data.reshape(-1).tolist()}" if value.data.size <= 4 else ""
            return f"const {value.type}{few}"
        return names.setdefault(value, f"%{len(names)}")

    lines = [f"input  {name(v)}: {v.type}  `{v.name}`" for v in graph.inputs]
    for node in graph.nodes:
        inputs = ", ".join(name(v) for v in node.inputs)
        outputs = ", ".join(f"{name(v)}: {v.type}" for v in node.outputs)
        about = f"  [{node.op.text()}]" if node.op.text() else ""
        lines.append(f"{outputs} = {node.op.name}({inputs}){about}  `{node.label}`")
    lines += [f"output {name(v)}  `{n}`" for n, v in graph.outputs]
    return "\n".join(lines) + "\n"
