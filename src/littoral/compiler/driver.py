"""The compiler, from top to bottom: ONNX or a sentence encoder in, one WebAssembly module out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import littoral
from littoral.artifact import THREADS_MAX, Axis, Manifest, Memory, Model, Port, Store, Variant, digest
from littoral.artifact.manifest import MODEL_SECTION
from littoral.compiler import onnx, sentence
from littoral.compiler.emit import emit_together, entry_name
from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.passes import FUSING, INTEGER_PASSES, PASSES, inside_bodies
from littoral.compiler.plan import (
    RULES,
    Layout,
    Tuning,
    TuningSource,
    divide,
    lay_out_together,
    layout_text,
    lowering_text,
    open_tuning,
    program_of,
)
from littoral.compiler.quantize import Int8, Quantized, fit_pairs, quantize
from littoral.compiler.quantize.attention import with_short_attention
from littoral.compiler.quantize.feeds import collected
from littoral.compiler.quantize.fit_files import read_fit, write_fit
from littoral.compiler.quantize.one_thread import one_thread
from littoral.compiler.quantize.options import int8_of
from littoral.compiler.quantize.variants import followed, observed_variant
from littoral.compiler.tracing import CHOICES, FILES, TIMES, Trace
from littoral.compiler.variants import axes_of, dimensions, keys
from littoral.compiler.wasm import TARGETS, Target, function_text
from littoral.errors import InputError, NotFoundError, NotOfferedError, OnnxFormatError, SettingError, ShapeError
from littoral.tensors import Array

__all__ = [
    "Planned",
    "Progress",
    "Target",
    "compile",
    "compile_model",
    "open_source",
    "optimize",
    "planned",
    "retuned",
    "silent",
    "why_whole",
    "written",
]

Progress = Callable[[str, int, int], None]
Axes = Mapping[str, Mapping[str, Any]]
SOURCE_BYTES_MAX = 1 << 31
VARIANTS_MAX = 16


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress is wanted."""


def compile(  # noqa: A001
    source: str | os.PathLike[str] | bytes | Any,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    axes: Axes | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    target: Target = "relaxed",
    strict: bool = True,
    threads: int = 1,
    tuning: TuningSource = None,
    name: str | None = None,
    version: str | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    apart: bool = False,
    progress: Progress | None = None,
) -> Model:
    """A model as one WebAssembly module, which this installation notes as its own.

    source: ONNX as path, bytes or ModelProto; or the path of a sentence-transformers folder of the BERT family.
    shapes: for inputs whose dimensions the model leaves open. variants: up to 16 sets of such shapes, each on top
    of `shapes`: one module with one copy of the weights and an entry for each, which a session chooses by the
    shapes of its inputs. axes: for dimensions in which variants differ, what a session may do where none has the size
    it is given: `{"tokens": {"pad": 0}}`, also `"split": True` and `"trim": {output: axis}`; where nothing is said, a
    dimension whose items are proven not to meet (a batch) is padded and split, any other neither.
    int8: calibration feeds, or an `Int8` with them: products become whole numbers (docs/guides/int8.md).
    target: the instructions an engine must have: `relaxed`; `simd128`, WebAssembly 2.0 without relaxed SIMD; `mvp`,
    WebAssembly 1.0 without any proposal. The results are the same, to the bit. threads: 1, or up to 8 that share one
    memory, which the module then imports (docs/concepts/threads.md); not for `mvp`. tuning: a table of kernels' forms
    as `littoral tune` writes it (path, dictionary or `Tuning`); None is the packaged one. labels: names of the classes,
    in the order of the scores; preprocess: how inputs are to be made, as JSON holds it; both go into the manifest as
    they are. apart: also an entry for each layer of the first variant, by which a node's traces tell of layers; for one
    thread, and no model with loops or branches. progress: called with stage, done, total.
    Raises OnnxFormatError, UnsupportedOperatorError, ShapeError, NotFoundError; InputError for a wrong table, another
    target or feeds that do not fit; NotOfferedError for `strict=False`, which this version does not have.
    """
    asked = {
        "strict=False": not strict,
    }
    if unknown := [option for option, wanted in asked.items() if wanted]:
        raise NotOfferedError(f"compile: `{unknown[0]}` is not offered by littoral {littoral.__version__}")
    if target not in TARGETS:
        raise InputError(f"compile: `target` is `{target}`, must be {', '.join(TARGETS)}")
    if target == "mvp" and threads > 1:
        raise InputError(f"compile: {threads} threads need WebAssembly's threads, which the target `mvp` is without")
    model = compile_model(
        source,
        shapes=shapes,
        variants=variants,
        int8=int8,
        axes=axes,
        target=target,
        threads=threads,
        tuning=tuning,
        name=name,
        version=version,
        labels=labels,
        preprocess=preprocess,
        apart=apart,
        progress=progress,
    )
    Store().record(model.digest)
    return model


def compile_model(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    axes: Axes | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    target: Target = "relaxed",
    threads: int = 1,
    tuning: TuningSource = None,
    name: str | None = None,
    version: str | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    apart: bool = False,
    progress: Progress | None = None,
) -> Model:
    """The compiler itself: a pure function of its arguments and of the files the model names.

    Raises ModelError (OnnxFormatError, UnsupportedOperatorError, ShapeError), NotFoundError, or InputError for a wrong
    tuning table.
    """
    tell = progress or silent
    found = planned(
        source,
        shapes=shapes,
        variants=variants,
        axes=axes,
        int8=int8,
        threads=threads,
        tuning=tuning,
        progress=tell,
    )
    tell("emit", 0, 1)
    return written(found, target=target, name=name, version=version, labels=labels, preprocess=preprocess, apart=apart)


class Source(NamedTuple):
    """What is to be compiled, read but not imported.

    graph: the model for shapes of inputs. dims: the model's own names for the dimensions of each input, where it has
    some. preprocess: what it says of how inputs are made. axes: what may be done along which dimension.
    """

    name: str
    sha256: str
    graph: Callable[[Mapping[str, Sequence[int]]], Graph]
    dims: Mapping[str, Sequence[str]]
    preprocess: Mapping[str, Any] | None = None
    axes: Axes = MappingProxyType({})


@dataclass(frozen=True)
class Planned:
    """A model up to its memory plan. graphs, layouts, keys: one a variant; a key has the sizes that set it apart.

    axes: what a session may do along the dimensions of the keys; refused: why nothing, along the others. threads: that
    the steps are divided among. tuning: what kernels were chosen by. quantized: what became of the model under `int8`.
    """

    source: Source
    graphs: list[Graph]
    layouts: list[Layout]
    keys: list[dict[str, int]]
    axes: dict[str, Axis] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    tuning: Tuning = RULES
    quantized: Quantized | None = None


def planned(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    axes: Axes | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    threads: int = 1,
    tuning: TuningSource = None,
    progress: Progress = silent,
) -> Planned:
    """Everything but the module. Raises as `compile_model`."""
    trace = Trace()
    if not 1 <= threads <= THREADS_MAX:
        raise SettingError(f"`threads` is {threads}, must be 1..{THREADS_MAX}")
    table = open_tuning(tuning)
    progress("import", 0, 1)
    opened = open_source(source)
    given = imported(opened, variant_shapes(shapes or {}, variants))
    is_alone = variants is not None and len(given) == 1
    found = dimensions(given, opened.dims, list(axes or {}), all_named=is_alone)
    progress("variants", 0, 1)
    own = {name: rule for name, rule in opened.axes.items() if name in {d.name for d in found}}
    allowed, refused = axes_of(given, found, opened.graph, {**own, **(axes or {})})
    for name, why in refused.items():
        trace.say(TIMES, f"variants: `{name}` is neither padded nor split: {why}")
    graphs = [optimize(graph, progress, trace) for graph in given]
    quantized = None
    if int8 is not None:
        graphs, quantized = in_integers(graphs, int8_of(int8), progress, trace)
    progress("plan", 0, 1)
    layouts = laid_out(graphs, threads, table)
    for layout in layouts if trace.level >= CHOICES else ():
        for call in layout.program.calls():
            trace.say(CHOICES, lowering_text(call.lowered))
    trace.file("layout.txt", "\n".join(map(layout_text, layouts)) if trace.level >= FILES else "")
    return Planned(opened, graphs, layouts, list(keys(found, len(graphs))), allowed, refused, threads, table, quantized)


def laid_out(graphs: Sequence[Graph], threads: int, tuning: Tuning) -> list[Layout]:
    """The variants' programs in one memory."""
    programs = [program_of(graph, tuning) for graph in graphs]
    for program in programs if threads > 1 else ():
        divide(program, threads)
    return lay_out_together(list(zip(graphs, programs, strict=True)))


def retuned(found: Planned, tuning: Tuning) -> Planned:
    """The same model with its kernels chosen by another table."""
    return replace(found, layouts=laid_out(found.graphs, found.threads, tuning), tuning=tuning)


LAYERS_MAX = 4000
"""Nearly as many exports as a module may have."""


def why_whole(found: Planned) -> str | None:
    """Why the layers of a model cannot be called one by one, or None."""
    program = found.layouts[0].program
    if found.threads > 1:
        return f"the model is for {found.threads} threads, which divide every layer"
    if not program.is_straight:
        return "the model has loops or branches: it is timed as a whole"
    if (count := sum(1 for _ in program.layers())) > LAYERS_MAX:
        return f"the model has {count} layers, at most {LAYERS_MAX} are timed one by one"
    return None


def written(
    found: Planned,
    *,
    target: Target = "relaxed",
    name: str | None = None,
    version: str | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    apart: bool = False,
) -> Model:
    """The module. apart: with an entry for each layer, to be timed (`emit_together`). Raises InputError where it has
    none.
    """
    if apart and (why := why_whole(found)) is not None:
        raise InputError(f"layers apart: {why}")
    module, layers = emit_together(found.layouts, target=target, threads=found.threads, apart=apart)
    trace = Trace()
    if trace.level >= FILES:
        trace.file("functions.wat", "\n".join(function_text(f) for f in module.functions))
    layout = found.layouts[0]
    manifest = Manifest(
        name=name or found.source.name or "model",
        version=version or "0.0.0",
        compiler=f"littoral {littoral.__version__}",
        target=target,
        threads=found.threads,
        source_sha256=found.source.sha256,
        tuning_sha256=found.tuning.sha256,
        int8=None if found.quantized is None else found.quantized.about,
        labels=None if labels is None else list(labels),
        preprocess=together(found.source.preprocess, preprocess),
        memory=Memory(
            layout.pages, (layout.constants_at, len(layout.constants)), (layout.arena_at, layout.arena_bytes)
        ),
        variants=tuple(
            variant(graph, found.layouts[i], i, key)
            for i, (graph, key) in enumerate(zip(found.graphs, found.keys, strict=True))
        ),
        layers=tuple(layers),
        axes=found.axes,
    )
    segment = (layout.constants_at, layout.constants) if layout.constants else None
    return Model(module.encode(layout.pages, segment, [(MODEL_SECTION, manifest.encode())]))


def open_source(source: str | os.PathLike[str] | bytes | Any) -> Source:
    """A model by path, bytes or ModelProto. Raises ModelError or NotFoundError."""
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        return _sentence_source(Path(source))
    data, folder, name = _read_onnx(source)
    model = onnx.decode_model(data)
    assert model.graph is not None
    tensors = {i.name: i.type.tensor_type for i in model.graph.input if i.type and i.type.tensor_type}
    dims = {name: [d.dim_param for d in tensor.shape.dim] for name, tensor in tensors.items() if tensor.shape}
    return Source(name, digest(data), lambda shapes: onnx.import_model(model, shapes, folder), dims)


def _sentence_source(folder: Path) -> Source:
    found = sentence.read_folder(folder)
    dims = dict.fromkeys(sentence.INPUTS, ("batch", "tokens"))
    preprocess = None if found.tokenizer_sha256 is None else {"tokenizer_sha256": found.tokenizer_sha256}
    return Source(
        found.name, found.sha256, lambda shapes: sentence.encoder_graph(found, shapes), dims, preprocess, sentence.AXES
    )


def _read_onnx(source: Any) -> tuple[bytes, Path | None, str]:
    """The model's bytes, the folder for its external data, and a name."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), None, ""
    if hasattr(source, "SerializeToString"):
        return bytes(source.SerializeToString()), None, str(source.graph.name)
    path = Path(source)
    try:
        if path.stat().st_size > SOURCE_BYTES_MAX:
            raise OnnxFormatError(f"model `{path}`: more than {SOURCE_BYTES_MAX} bytes")
        return path.read_bytes(), path.parent, path.name.removesuffix(".onnx")
    except OSError as error:
        raise NotFoundError(f"model `{path}`: {error.strerror}") from error


def together(own: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the model says of its inputs, and what the caller says, who knows better."""
    return None if own is None and given is None else {**(own or {}), **(given or {})}


def optimize(graph: Graph, tell: Progress = silent, trace: Trace | None = None, *, is_body: bool = False) -> Graph:
    """Every pass in order, then the same in the bodies of control flow."""
    told = trace or Trace()
    told.graph("import", graph, is_body)
    for i, (handle, run) in enumerate(PASSES.items()):
        tell(handle, i, len(PASSES))
        graph = told.run(handle, run, graph, noted=FUSING.get(handle), is_body=is_body)
    return inside_bodies(graph, lambda body: optimize(body, tell, told, is_body=True))


def in_integers(graphs: Sequence[Graph], asked: Int8, tell: Progress, trace: Trace) -> tuple[list[Graph], Quantized]:
    """The optimised graphs in whole numbers, and what the one that the feeds are for was made of.

    Raises NotOfferedError for variants that differ in more than sizes, NotFoundError and InputError for a fit of a
    model before that cannot be read or written.
    """
    feeds = collected(asked.feeds)
    observed = observed_variant(graphs, feeds[0])
    like = None if asked.like is None else read_fit(Path(asked.like))
    with one_thread():
        found = quantize(graphs[observed], replace(asked, feeds=feeds), tell, like)
    if asked.fit is not None:
        write_fit(Path(asked.fit), found.fit)
    marks, made = [], []
    for i, graph in enumerate(graphs):
        marked = found.graph if i == observed else followed(found, graph)
        marks.append(with_short_attention(fit_pairs(PASSES["fuse-epilogues"](marked))))
    for graph in marks:
        whole = graph
        for handle in INTEGER_PASSES:
            whole = trace.run(handle, PASSES[handle], whole, is_body=False)
        made.append(whole)
    return made, found._replace(graph=marks[observed])


def variant_shapes(
    shapes: Mapping[str, Sequence[int]], variants: Iterable[Mapping[str, Sequence[int]]] | None
) -> list[dict[str, Sequence[int]]]:
    """The shapes of each variant. Raises ShapeError where there are none, too many, or one is no mapping."""
    variants = None if variants is None else list(variants)
    for number, given in enumerate(variants or [], 1):
        if not isinstance(given, Mapping):
            raise ShapeError(
                f"variants: number {number} is `{given!r}`, must name the inputs that it sizes",
                hint='as `variants=[{"input_ids": (1, 16)}, {"input_ids": (1, 64)}]`',
            )
    found = [dict(shapes)] if variants is None else [{**shapes, **given} for given in variants]
    if not 1 <= len(found) <= VARIANTS_MAX:
        raise ShapeError(f"variants: {len(found)} are given, must be 1..{VARIANTS_MAX}")
    return found


def imported(source: Source, variants: Sequence[Mapping[str, Sequence[int]]]) -> list[Graph]:
    """A graph for each variant; they differ in sizes alone."""
    graphs = [source.graph(shapes) for shapes in variants]
    first = [(v.name, v.dtype, v.type.rank) for v in graphs[0].inputs]
    for i, graph in enumerate(graphs):
        if [(v.name, v.dtype, v.type.rank) for v in graph.inputs] != first:
            raise ShapeError(f"variants: number {i + 1} has inputs of other ranks than the first")
        if any([v.shape for v in graph.inputs] == [v.shape for v in other.inputs] for other in graphs[:i]):
            raise ShapeError(f"variants: number {i + 1} takes the same shapes as one before it")
    return graphs


def variant(graph: Graph, layout: Layout, index: int, key: dict[str, int]) -> Variant:
    """An entry, what sets it apart, and where its inputs and outputs lie."""

    def port(name: str, value: Value) -> Port:
        dims = graph.dims.get(name)
        at = None if dims is None else layout.address(dims).at
        return Port(name, value.dtype, value.shape, layout.address(value).at, at)

    return Variant(
        entry=entry_name(index),
        key=key,
        inputs=tuple(Port(v.name, v.dtype, v.shape, layout.address(v).at) for v in graph.inputs),
        outputs=tuple(port(name, value) for name, value in graph.outputs),
    )
