"""`littoral explain`: what the compiler makes of a model, pass by pass and layer by layer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.build import parse_shapes
from littoral.cli.console import bytes_text, results, show_json
from littoral.compiler.driver import open_source, optimize
from littoral.compiler.emit import emit
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.printer import graph_text
from littoral.compiler.passes import PASSES
from littoral.compiler.plan import lay_out, program_of
from littoral.compiler.wasm import function_text
from littoral.errors import NotFoundError

__all__ = ["explain"]


def explain(
    source: Annotated[Path, typer.Argument(help="ONNX model, or sentence-transformers folder.")],
    after: Annotated[str | None, typer.Option(help="Print the graph after this pass; `import` for before all.")] = None,
    layer: Annotated[str | None, typer.Option(help="Only layers whose name contains this.")] = None,
    wat: Annotated[bool, typer.Option("--wat", help="Print each layer's function as text.")] = False,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Layers as JSON.")] = False,
) -> None:
    """Show the graph after a pass, or each layer's kernel, size and work."""
    graph = open_source(source).graph(parse_shapes(shape or []))
    if after is not None:
        results.print(graph_text(graph_after(graph, after)), markup=False, end="")
        return
    graph = optimize(graph)
    rows = layers_of(graph, layer or "")
    if as_json:
        show_json([{key: value for key, value in row.items() if key != "text"} for row in rows])
        return
    for row in rows:
        work = f"{row['macs'] / 1e6:9.2f} M MACs" if row["macs"] else " " * 16
        line = f"{row['kernel']:10} {work} {bytes_text(row['weights_bytes']):>10}  {row['output']:28} {row['name']}"
        results.print(line, markup=False)
        if wat:
            results.print(row["text"], markup=False)
    results.print(f"{len(rows)} layers", markup=False)


def graph_after(graph: Graph, handle: str) -> Graph:
    """The graph after the named pass. Raises NotFoundError listing the passes."""
    if handle == "import":
        return graph
    if handle not in PASSES:
        raise NotFoundError(f"no pass `{handle}`; passes: import, {', '.join(PASSES)}")
    for name, run in PASSES.items():
        graph = run(graph)
        if name == handle:
            break
    return graph


def layers_of(graph: Graph, wanted: str) -> list[dict[str, Any]]:
    """One row a layer, in order."""
    program = program_of(graph)
    module, layers = emit(lay_out(graph, program))
    outputs = [str(call.writes[0].type) for call in program.calls() if call.lowered.steps]
    return [
        {
            "name": row.name,
            "kernel": row.kind,
            "output": output,
            "macs": row.macs,
            "weights_bytes": row.bytes,
            "code_bytes": len(module.functions[row.function].body()),
            "function": row.function,
            "text": function_text(module.functions[row.function]),
        }
        for row, output in zip(layers, outputs, strict=True)
        if wanted in row.name
    ]
