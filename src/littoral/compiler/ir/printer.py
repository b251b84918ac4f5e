"""Graphs as text: one line a node, for `explain`, errors and golden tests; and as rows, for programs."""

from typing import Any

from littoral.compiler.ir.graph import Graph, Value

__all__ = ["graph_rows", "graph_text"]


def graph_text(graph: Graph, wanted: str = "") -> str:
    """Inputs, nodes in order, outputs; constants by their type and, up to 4 elements, their values.

    wanted: only nodes whose label contains it.
    """
    name = _Names()
    lines = [f"input  {name.of(v)}: {v.type}  `{v.name}`" for v in graph.inputs]
    for node in graph.nodes:
        inputs = ", ".join(name.of(v) for v in node.inputs)
        outputs = ", ".join(f"{name.of(v)}: {v.type}" for v in node.outputs)
        about = f"  [{node.op.text()}]" if node.op.text() else ""
        if wanted in node.label:
            lines.append(f"{outputs} = {node.op.name}({inputs}){about}  `{node.label}`")
    lines += [f"output {name.of(v)}  `{n}`" for n, v in graph.outputs]
    return "\n".join(lines) + "\n"


def graph_rows(graph: Graph, wanted: str = "") -> dict[str, Any]:
    """The same as data; a written contract. Values go by the names that the text has for them."""
    name = _Names()
    inputs = [{"name": v.name, "value": name.of(v), "type": str(v.type)} for v in graph.inputs]
    nodes = [
        {
            "op": node.op.name,
            "about": node.op.text(),
            "inputs": [name.of(v) for v in node.inputs],
            "outputs": [{"value": name.of(v), "type": str(v.type)} for v in node.outputs],
            "label": node.label,
        }
        for node in graph.nodes
    ]
    outputs = [{"name": n, "value": name.of(v), "type": str(v.type)} for n, v in graph.outputs]
    return {"inputs": inputs, "nodes": [row for row in nodes if wanted in str(row["label"])], "outputs": outputs}


class _Names:
    """%0, %1 … in the order in which values are met."""

    def __init__(self) -> None:
        self._known: dict[Value, str] = {}

    def of(self, value: Value) -> str:
        if value.data is not None:
            few = f" {value.data.reshape(-1).tolist()}" if value.data.size <= 4 else ""
            return f"const {value.type}{few}"
        return self._known.setdefault(value, f"%{len(self._known)}")
