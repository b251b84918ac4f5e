"""`littoral explain`: what the compiler makes of a model, pass by pass and layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.artifact import Layer
from littoral.cli.build import parse_shapes
from littoral.cli.console import bytes_text, results, show_json
from littoral.cli.memory_map import memory_map, memory_text
from littoral.cli.tuning_option import TuningOption, tuning_from
from littoral.compiler.driver import open_source, optimize
from littoral.compiler.emit import emit, heaviest
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.printer import graph_text
from littoral.compiler.passes import PASSES, inside_bodies
from littoral.compiler.passes.fuse_attention import fuse_attention
from littoral.compiler.passes.fuse_epilogues import fuse_epilogues
from littoral.compiler.passes.fuse_maps import fuse_maps
from littoral.compiler.passes.fuse_normalization import fuse_normalization
from littoral.compiler.passes.fusion import Fusion
from littoral.compiler.plan import Layout, lay_out, program_of
from littoral.compiler.wasm import Module, function_text
from littoral.errors import NotFoundError
from littoral.quality.assembly import assembly_of

__all__ = ["explain"]

FUSING = {
    "fuse-maps": fuse_maps,
    "fuse-normalization": fuse_normalization,
    "fuse-epilogues": fuse_epilogues,
    "fuse-attention": fuse_attention,
}


def explain(
    source: Annotated[Path, typer.Argument(help="ONNX model, or sentence-transformers folder.")],
    after: Annotated[str | None, typer.Option(help="Print the graph after this pass; `import` for before all.")] = None,
    layer: Annotated[str | None, typer.Option(help="Only layers whose name contains this.")] = None,
    wat: Annotated[bool, typer.Option("--wat", help="Print each layer's function as text.")] = False,
    asm: Annotated[bool, typer.Option("--asm", help="Print each layer's machine code; needs the extra `asm`.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Draw the memory map, list its buffers.")] = False,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    tuning: TuningOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Layers as JSON.")] = False,
) -> None:
    """Show the graph after a pass, or each layer's kernel, tile, size and work, and what was fused."""
    graph = open_source(source).graph(parse_shapes(shape or []))
    if after is not None:
        results.print(graph_text(graph_after(graph, after)), markup=False, end="")
        return
    optimized = optimize(graph)
    layout = lay_out(optimized, program_of(optimized, tuning_from(tuning)))
    module, _ = found = emit(layout)
    rows = layers_of(layout, found, fusions_of(graph), layer or "")
    texts = [{} if not wat else {i: function_text(f) for i, f in enumerate(module.functions)}]
    if asm:
        texts.append(assembly_of(module.encode(layout.pages, None)))
    if as_json:
        show_json({"layers": rows, "memory": memory_map(layout)} if memory else rows)
        return
    for row in rows:
        _print_layer(row)
        for text in texts:
            if row["function"] in text:
                results.print(text[row["function"]], markup=False)
    results.print(f"{len(rows)} layers", markup=False)
    if memory:
        results.print(memory_text(memory_map(layout)), markup=False)


def _print_layer(row: dict[str, Any]) -> None:
    work = f"{row['macs'] / 1e6:9.2f} M MACs" if row["macs"] else " " * 16
    size = bytes_text(row["weights_bytes"])
    joined = f"  = {' + '.join(row['fused'])}" if row["fused"] else ""
    line = f"{row['kernel']:10} {row['tile']:16} {work} {size:>10}  {row['output']:28} {row['name']}{joined}"
    results.print(line, markup=False)
    for refused in row["not_fused"]:
        results.print(f"{'':10} not one with {refused['before']}: {refused['why']}", markup=False)


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


def fusions_of(graph: Graph) -> list[Fusion]:
    """What the passes that fuse did and did not do, bodies of loops and branches included."""
    told: list[Fusion] = []
    for name, run in PASSES.items():
        graph = FUSING[name](graph, told.append) if name in FUSING else run(graph)

    def inside(body: Graph) -> Graph:
        told.extend(fusions_of(body))
        return body

    inside_bodies(graph, inside)
    return told


def layers_of(
    layout: Layout, found: tuple[Module, list[Layer]], fusions: Sequence[Fusion], wanted: str
) -> list[dict[str, Any]]:
    """One row a layer, in order; a written contract. Of layers of one name the first tells what was fused, what not."""
    module, layers = found
    chains = {row.name: _chain(fusions, row.name) for row in layers}
    apart: dict[str, dict[str, str]] = {}
    for fusion in fusions:
        if fusion.refused is not None and fusion.before != fusion.node:
            apart.setdefault(fusion.node, {}).setdefault(fusion.before, fusion.refused)
    return [
        {
            "name": row.name,
            "kernel": row.kind,
            "tile": heaviest(call.lowered).kernel.tiling,
            "output": str(call.writes[0].type),
            "macs": row.macs,
            "weights_bytes": row.bytes,
            "code_bytes": len(module.functions[row.function].body()),
            "function": row.function,
            "fused": chains.pop(row.name, []),
            "not_fused": [{"before": before, "why": why} for before, why in apart.pop(row.name, {}).items()],
        }
        for row, call in zip(layers, layout.program.layers(), strict=True)
        if wanted in row.name
    ]


def _chain(fusions: Sequence[Fusion], name: str) -> list[str]:
    """Labels that became one layer, in order; empty where nothing was fused."""
    labels: list[str] = []

    def collect(label: str) -> None:
        if label in labels:
            return
        labels.append(label)
        for fusion in fusions:
            if fusion.node == label and fusion.refused is None:
                collect(fusion.before)

    collect(name)
    return labels[::-1] if len(labels) > 1 else []
