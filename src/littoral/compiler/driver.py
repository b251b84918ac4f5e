"""The compiler, from top to bottom: ONNX in, one WebAssembly module out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import littoral
from littoral.artifact import Manifest, Memory, Model, Port, Store, Variant, digest
from littoral.artifact.manifest import MODEL_SECTION
from littoral.compiler import onnx
from littoral.compiler.emit import ENTRY, emit
from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.passes import PASSES, inside_bodies
from littoral.compiler.plan import Layout, lay_out, program_of
from littoral.compiler.tracing import traced
from littoral.errors import NotFoundError, NotOfferedError, OnnxFormatError

__all__ = ["Progress", "Target", "compile", "compile_model", "optimize", "read_source", "silent"]

Target = Literal["relaxed", "simd128", "mvp"]
Progress = Callable[[str, int, int], None]
SOURCE_BYTES_MAX = 1 << 31


def compile(  # noqa: A001
    source: str | os.PathLike[str] | bytes | Any,
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    int8: Any = None,
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
    """An ONNX model as one WebAssembly module, which this installation notes as its own.

    source: path, bytes or ModelProto. shapes: for inputs whose dimensions the model leaves open. target: `relaxed` or
    `simd128`. labels: names of the classes, in the order of the scores; preprocess: how inputs are to be made, as JSON
    holds it; both go into the manifest as they are. progress: called with stage, done, total.
    Raises OnnxFormatError, UnsupportedOperatorError, ShapeError, NotFoundError; NotOfferedError for `variants`, `int8`,
    `strict=False`, `threads` above 1, `tuning` and the target `mvp`, which this version does not have.
    """
    asked = {
        "variants": variants is not None,
        "int8": int8 is not None,
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
    data, folder, file_name = read_source(source)
    tell("import", 0, 1)
    graph = onnx.import_model(onnx.decode_model(data), shapes or {}, folder)
    graph = optimize(graph, tell)
    tell("plan", 0, 1)
    layout = lay_out(graph, program_of(graph))
    tell("emit", 0, 1)
    module, layers = emit(layout)
    manifest = Manifest(
        name=name or file_name or "model",
        version=version or "0.0.0",
        compiler=f"littoral {littoral.__version__}",
        target=target,
        threads=1,
        source_sha256=digest(data),
        labels=None if labels is None else list(labels),
        preprocess=None if preprocess is None else dict(preprocess),
        memory=Memory(
            layout.pages, (layout.constants_at, len(layout.constants)), (layout.arena_at, layout.arena_bytes)
        ),
        variants=(variant(graph, layout),),
        layers=tuple(layers),
    )
    segment = (layout.constants_at, layout.constants) if layout.constants else None
    return Model(module.encode(layout.pages, segment, [(MODEL_SECTION, manifest.encode())]))


def read_source(source: Any) -> tuple[bytes, Path | None, str]:
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


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress is wanted."""


def optimize(graph: Graph, tell: Progress = silent) -> Graph:
    """Every pass in order, then the same in the bodies of control flow."""
    for i, (handle, run) in enumerate(PASSES.items()):
        tell(handle, i, len(PASSES))
        graph = traced(handle, run, graph)
    return inside_bodies(graph, optimize)


def variant(graph: Graph, layout: Layout) -> Variant:
    """The one entry, and where its inputs and outputs lie."""

    def port(name: str, value: Value) -> Port:
        dims = graph.dims.get(name)
        at = None if dims is None else layout.address(dims).at
        return Port(name, value.dtype, value.shape, layout.address(value).at, at)

    return Variant(
        entry=ENTRY,
        key={},
        inputs=tuple(Port(v.name, v.dtype, v.shape, layout.address(v).at) for v in graph.inputs),
        outputs=tuple(port(name, value) for name, value in graph.outputs),
    )
