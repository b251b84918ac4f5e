"""`littoral explain`: what the compiler makes of a model, pass by pass and layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from littoral.artifact import Layer, Model
from littoral.cli.build import parse_shapes
from littoral.cli.comparison_text import choices_text, comparison_text
from littoral.cli.console import bytes_text, results, show_json
from littoral.cli.memory_map import claimed_map, memory_map, memory_text
from littoral.cli.tuning_option import TuningOption, tuning_from
from littoral.compiler.driver import open_source, optimize
from littoral.compiler.emit import emit, heaviest
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.printer import graph_rows, graph_text
from littoral.compiler.passes import FUSING, PASSES, inside_bodies
from littoral.compiler.passes.fusion import Fusion
from littoral.compiler.plan import Layout, Tuning, lay_out, program_of
from littoral.compiler.wasm import Module, function_text, written_functions
from littoral.errors import ArtifactError, NotFoundError, NotOfferedError, SetupError
from littoral.quality.assembly import assembly_of
from littoral.quality.choices import choices_of
from littoral.quality.comparison import Comparison, comparison_of
from littoral.quality.error_chart import error_chart

__all__ = ["explain"]


def explain(
    source: Annotated[
        Path, typer.Argument(help="ONNX model, sentence-transformers folder, or compiled model (.wasm).")
    ],
    after: Annotated[str | None, typer.Option(help="Print the graph after this pass; `import` for before all.")] = None,
    passes: Annotated[bool, typer.Option("--passes", help="List the passes, and how many nodes each leaves.")] = False,
    layer: Annotated[str | None, typer.Option(help="Only layers whose name contains this.")] = None,
    wat: Annotated[bool, typer.Option("--wat", help="Print each layer's function as text.")] = False,
    asm: Annotated[bool, typer.Option("--asm", help="Print each layer's machine code; needs the extra `asm`.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Draw the memory map, list its buffers.")] = False,
    comparison: Annotated[
        bool, typer.Option("--comparison", help="Only how a model in integers compares with float32.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="File for a bar chart of that comparison, layer by layer.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    tuning: TuningOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Show the graph after a pass, or each layer's kernel, tile, size and work, and what was fused."""
    compared = choices = None
    if comparison or svg is not None:
        _show_comparison(source, svg, is_shown=comparison, as_json=as_json)
    if comparison:
        return
    if source.suffix == ".wasm":
        if after is not None or passes or shape or tuning:
            raise NotOfferedError(f"`{source}` is compiled: its graph is gone", hint="give the model it was made from")
        model = Model.open(source)
        compared = comparison_of(model)
        choices = choices_of(model.manifest)
        told = told_by_file(model, layer or "", wat=wat, asm=asm)
    else:
        graph = open_source(source).graph(parse_shapes(shape or []))
        if after is not None or passes:
            _show_graph(graph, after, layer or "", as_json=as_json)
            return
        told = told_by_model(graph, tuning_from(tuning), layer or "", wat=wat, asm=asm)
    if as_json:
        show_json({"layers": told.rows, "memory": told.memory} if memory else told.rows)
        return
    for row in told.rows:
        _print_layer(row)
    results.print(f"{len(told.rows)} layers", markup=False)
    if memory:
        results.print(memory_text(told.memory), markup=False)
    if choices is not None:
        results.print(choices_text(choices), markup=False)
    if compared is not None:
        results.print(comparison_text(compared), markup=False)


def _show_comparison(source: Path, svg: Path | None, *, is_shown: bool, as_json: bool) -> None:
    found = _compared(source)
    if svg is not None:
        _save(svg, error_chart(found))
    if is_shown and as_json:
        show_json(msgspec.to_builtins(found))
    elif is_shown:
        results.print(comparison_text(found), markup=False)


def _compared(source: Path) -> Comparison:
    """What a compiled model's file says. Raises NotFoundError where it says nothing."""
    found = comparison_of(Model.open(source)) if source.suffix == ".wasm" else None
    if found is None:
        raise NotFoundError(
            f"`{source}` holds no comparison", hint="`littoral build --int8 FEEDS --compare` writes one into the model"
        )
    return found


def _save(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"`{path}`: {error.strerror}") from error


def _show_graph(graph: Graph, after: str | None, wanted: str, *, as_json: bool) -> None:
    """The graph after a pass, or the passes."""
    if after is not None:
        found = graph_after(graph, after)
        if as_json:
            show_json(graph_rows(found, wanted))
        else:
            results.print(graph_text(found, wanted), markup=False, end="")
        return
    rows = [{"pass": "import", "nodes": len(graph.nodes)}]
    for name, run in PASSES.items():
        graph = run(graph)
        rows.append({"pass": name, "nodes": len(graph.nodes)})
    if as_json:
        show_json(rows)
    else:
        results.print("\n".join(f"{row['nodes']:6} nodes after {row['pass']}" for row in rows), markup=False)


class Told(NamedTuple):
    """One row a layer, and the memory map."""

    rows: list[dict[str, Any]]
    memory: dict[str, Any]


def told_by_model(graph: Graph, tuning: Tuning, wanted: str, *, wat: bool, asm: bool) -> Told:
    """What the compiler knows."""
    optimized = optimize(graph)
    layout = lay_out(optimized, program_of(optimized, tuning))
    module, _ = found = emit(layout)
    rows = layers_of(layout, found, fusions_of(graph), wanted)
    if wat:
        _add(rows, "wat", {i: function_text(module.functions[i]) for i in {row["function"] for row in rows}})
    if asm:
        _add(rows, "asm", assembly_of(module.encode(layout.pages, None)))
    return Told(rows, memory_map(layout))


def told_by_file(model: Model, wanted: str, *, wat: bool, asm: bool) -> Told:
    """What a compiled model says of itself: None for what it does not. Raises ArtifactError."""
    functions, manifest = written_functions(model.wasm), model.manifest
    if any(not 0 <= row.function < len(functions) for row in manifest.layers):
        raise ArtifactError("a layer of the manifest names a function that is not there")
    rows: list[dict[str, Any]] = [
        {
            "name": row.name,
            "kernel": row.kind,
            "tile": functions[row.function].tiling,
            "output": None,
            "macs": row.macs,
            "weights_bytes": row.bytes,
            "code_bytes": len(functions[row.function].code),
            "function": row.function,
            "fused": None,
            "not_fused": None,
        }
        for row in manifest.layers
        if wanted in row.name
    ]
    if wat:
        _add(rows, "wat", {i: functions[i].text() for i in {row["function"] for row in rows}})
    if asm:
        _add(rows, "asm", assembly_of(model.wasm, "trusted" if manifest.threads == 1 else "threaded"))
    return Told(rows, claimed_map(manifest))


def _add(rows: list[dict[str, Any]], key: str, texts: dict[int, str]) -> None:
    for row in rows:
        row[key] = texts[row["function"]]


def _print_layer(row: dict[str, Any]) -> None:
    work = f"{row['macs'] / 1e6:9.2f} M MACs" if row["macs"] else " " * 16
    size = bytes_text(row["weights_bytes"])
    joined = f"  = {' + '.join(row['fused'])}" if row["fused"] else ""
    output = f"{row['output']:28} " if row["output"] else ""
    line = f"{row['kernel']:10} {row['tile']:16} {work} {size:>10}  {output}{row['name']}{joined}"
    results.print(line, markup=False)
    for refused in row["not_fused"] or ():
        results.print(f"{'':10} not one with {refused['before']}: {refused['why']}", markup=False)
    for text in (row[key] for key in ("wat", "asm") if key in row):
        results.print(text, markup=False)


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
