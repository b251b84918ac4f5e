"""The compiler, from top to bottom: ONNX in, one WebAssembly module out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import littoral
from littoral.artifact import Layer, Manifest, Memory, Model, Port, Store, Variant, digest
from littoral.artifact.manifest import MODEL_SECTION
from littoral.compiler import onnx
from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.kernels import Kernel
from littoral.compiler.passes import PASSES
from littoral.compiler.plan import Layout, Lowered, Weights, lay_out, lower
from littoral.compiler.wasm import Function, Module, const
from littoral.errors import NotFoundError, NotOfferedError, OnnxFormatError

__all__ = ["Progress", "Target", "compile", "compile_model", "emit", "optimize", "read_source", "silent"]

Target = Literal["relaxed", "simd128", "mvp"]
Progress = Callable[[str, int, int], None]
SOURCE_BYTES_MAX = 1 << 31
ENTRY = "run"


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
    progress: Progress | None = None,
) -> Model:
    """An ONNX model as one WebAssembly module, which this installation notes as its own.

    source: path, bytes or ModelProto. shapes: for inputs whose dimensions the model leaves open. target: `relaxed` or
    `simd128`. progress: called with stage, done, total.
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
    model = compile_model(source, shapes=shapes, target=target, name=name, version=version, progress=progress)
    Store().record(model.digest)
    return model


def compile_model(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    target: Target = "relaxed",
    name: str | None = None,
    version: str | None = None,
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
    lowered = [lower(node) for node in graph.nodes]
    layout = lay_out(graph, lowered)
    module, layers = emit(lowered, layout, tell)
    manifest = Manifest(
        name=name or file_name or "model",
        version=version or "0.0.0",
        compiler=f"littoral {littoral.__version__}",
        target=target,
        threads=1,
        source_sha256=digest(data),
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
    """Every pass in order."""
    for i, (handle, run) in enumerate(PASSES.items()):
        tell(handle, i, len(PASSES))
        graph = run(graph)
    return graph


def emit(lowered: Sequence[Lowered], layout: Layout, tell: Progress) -> tuple[Module, list[Layer]]:
    """The module's functions: one for each distinct kernel, and the entry that calls them in order."""
    module = Module()
    functions: dict[Kernel, int] = {}
    entry = Function(ENTRY)
    layers = []
    for i, found in enumerate(lowered):
        tell("emit", i, len(lowered))
        for step in found.steps:
            index = functions.get(step.kernel)
            if index is None:
                index = functions[step.kernel] = module.add(
                    step.kernel.function(f"{step.kernel.kind}.{len(functions)}")
                )
            entry.call(index, *(const("i32", layout.address(a)) for a in step.arguments))
        if found.steps:
            layers.append(_layer(found, functions))
    module.add(entry, export=ENTRY)
    return module, layers


def _layer(found: Lowered, functions: Mapping[Kernel, int]) -> Layer:
    heaviest = max(found.steps, key=lambda s: s.macs)
    arguments = {a for step in found.steps for a in step.arguments}
    weights = sum(a.data.nbytes for a in arguments if isinstance(a, Value | Weights) and a.data is not None)
    return Layer(
        name=found.label,
        kind=heaviest.kernel.kind,
        function=functions[heaviest.kernel],
        macs=sum(s.macs for s in found.steps),
        bytes=weights,
    )


def variant(graph: Graph, layout: Layout) -> Variant:
    """The one entry, and where its inputs and outputs lie."""

    def port(name: str, value: Value) -> Port:
        return Port(name, value.dtype, value.shape, layout.address(value))

    return Variant(
        entry=ENTRY,
        key={},
        inputs=tuple(port(v.name, v) for v in graph.inputs),
        outputs=tuple(port(name, value) for name, value in graph.outputs),
    )
