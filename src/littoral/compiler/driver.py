"""The compiler, from top to bottom: ONNX or a sentence encoder in, one WebAssembly module out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import littoral
from littoral.artifact import Manifest, Memory, Model, Port, Store, Variant, digest
from littoral.artifact.manifest import MODEL_SECTION
from littoral.compiler import onnx, sentence
from littoral.compiler.emit import emit_together, entry_name
from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.passes import INTEGER_PASSES, PASSES, inside_bodies
from littoral.compiler.plan import Layout, lay_out_together, program_of
from littoral.compiler.quantize import Int8, quantize
from littoral.compiler.quantize.options import int8_of
from littoral.compiler.tracing import traced
from littoral.errors import NotFoundError, NotOfferedError, OnnxFormatError, ShapeError
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
    "silent",
    "written",
]

Target = Literal["relaxed", "simd128", "mvp"]
Progress = Callable[[str, int, int], None]
SOURCE_BYTES_MAX = 1 << 31
VARIANTS_MAX = 16


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress is wanted."""


def compile(  # noqa: A001
    source: str | os.PathLike[str] | bytes | Any,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    target: Target = "relaxed",
    strict: bool = True,
    threads: int = 1,
    tuning: Any = None,
    name: str | None = None,
    version: str | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model as one WebAssembly module, which this installation notes as its own.

    source: ONNX as path, bytes or ModelProto; or the path of a sentence-transformers folder of the BERT family.
    shapes: for inputs whose dimensions the model leaves open. variants: up to 16 sets of such shapes, each on top
    of `shapes`: one module with one copy of the weights and an entry for each, which a session chooses by the
    shapes of its inputs. target: `relaxed` or `simd128`. labels: names of the classes, in the order of the scores;
    preprocess: how inputs are to be made, as JSON holds it; both go into the manifest as they are. progress: called
    with stage, done, total.
    Raises OnnxFormatError, UnsupportedOperatorError, ShapeError, NotFoundError, InputError; NotOfferedError for
    `strict=False`, `threads` above 1, `tuning` and the target `mvp`, which this version does not have.
    """
    asked = {
        "strict=False": not strict,
        "threads": threads != 1,
        "tuning": tuning is not None,
        f"target={target!r}": target not in ("relaxed", "simd128"),
    }
    if unknown := [option for option, wanted in asked.items() if wanted]:
        raise NotOfferedError(f"compile: `{unknown[0]}` is not offered by littoral {littoral.__version__}")
    model = compile_model(
        source,
        shapes=shapes,
        variants=variants,
        int8=int8,
        target=target,
        name=name,
        version=version,
        labels=labels,
        preprocess=preprocess,
        progress=progress,
    )
    Store().record(model.digest)
    return model


def compile_model(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    target: Target = "relaxed",
    name: str | None = None,
    version: str | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Model:
    """The compiler itself: a pure function of its arguments and of the files the model names.

    Raises ModelError (OnnxFormatError, UnsupportedOperatorError, ShapeError) or NotFoundError.
    """
    tell = progress or silent
    found = planned(source, shapes=shapes, variants=variants, int8=int8, progress=tell)
    tell("emit", 0, 1)
    return written(found, target=target, name=name, version=version, labels=labels, preprocess=preprocess)


class Source(NamedTuple):
    """What is to be compiled, read but not imported.

    graph: the model for shapes of inputs. dims: the model's own names for the dimensions of each input, where it has
    some. preprocess: what it says of how inputs are made.
    """

    name: str
    sha256: str
    graph: Callable[[Mapping[str, Sequence[int]]], Graph]
    dims: Mapping[str, Sequence[str]]
    preprocess: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Planned:
    """A model up to its memory plan. graphs, layouts: one a variant."""

    source: Source
    graphs: list[Graph]
    layouts: list[Layout]


def planned(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    int8: Int8 | Iterable[Mapping[str, Array]] | None = None,
    progress: Progress = silent,
) -> Planned:
    """Everything but the module. Raises as `compile_model`."""
    progress("import", 0, 1)
    opened = open_source(source)
    graphs = imported(opened, variant_shapes(shapes or {}, variants))
    graphs = [optimize(graph, progress) for graph in graphs]
    if int8 is not None:
        graphs = in_integers(graphs, int8_of(int8), progress)
    progress("plan", 0, 1)
    layouts = lay_out_together([(graph, program_of(graph)) for graph in graphs])
    return Planned(opened, graphs, layouts)


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
    """The module. apart: with an entry for each layer, to be timed (`emit_together`)."""
    module, layers = emit_together(found.layouts, apart=apart)
    layout = found.layouts[0]
    manifest = Manifest(
        name=name or found.source.name or "model",
        version=version or "0.0.0",
        compiler=f"littoral {littoral.__version__}",
        target=target,
        threads=1,
        source_sha256=found.source.sha256,
        labels=None if labels is None else list(labels),
        preprocess=together(found.source.preprocess, preprocess),
        memory=Memory(
            layout.pages, (layout.constants_at, len(layout.constants)), (layout.arena_at, layout.arena_bytes)
        ),
        variants=tuple(
            variant(graph, found.layouts[i], i, key) for i, (graph, key) in enumerate(keyed(found.source, found.graphs))
        ),
        layers=tuple(layers),
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
    return Source(found.name, found.sha256, lambda shapes: sentence.encoder_graph(found, shapes), dims, preprocess)


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


def optimize(graph: Graph, tell: Progress = silent) -> Graph:
    """Every pass in order, then the same in the bodies of control flow."""
    for i, (handle, run) in enumerate(PASSES.items()):
        tell(handle, i, len(PASSES))
        graph = traced(handle, run, graph)
    return inside_bodies(graph, optimize)


def in_integers(graphs: Sequence[Graph], asked: Int8, tell: Progress) -> list[Graph]:
    """The optimised graph in whole numbers. Raises NotOfferedError for several variants."""
    if len(graphs) > 1:
        raise NotOfferedError("compile: `int8` with several `variants` is not offered")
    graph = traced("quantize", lambda found: quantize(found, asked, tell), graphs[0])
    for handle in INTEGER_PASSES:
        graph = traced(handle, PASSES[handle], graph)
    return [graph]


def variant_shapes(
    shapes: Mapping[str, Sequence[int]], variants: Iterable[Mapping[str, Sequence[int]]] | None
) -> list[dict[str, Sequence[int]]]:
    """The shapes of each variant. Raises ShapeError where there are none, too many, or two alike."""
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


def keyed(source: Source, graphs: Sequence[Graph]) -> Iterator[tuple[Graph, dict[str, int]]]:
    """Each graph with the sizes that set it apart, by the model's names for them."""
    for graph in graphs:
        key: dict[str, int] = {}
        for i, value in enumerate(graph.inputs):
            for axis, size in enumerate(value.shape):
                if len({other.inputs[i].shape[axis] for other in graphs}) > 1:
                    named = source.dims[value.name][axis] if value.name in source.dims else ""
                    key[named or f"{value.name}[{axis}]"] = size
        yield graph, key


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
