"""Edge intelligence: ONNX models as sandboxed WebAssembly, agents, and vector search on small Linux boxes.

    model = littoral.compile("m.onnx")          # one import-free .wasm file
    session = littoral.load(model)
    outputs = session.run({"x": array})

Heavy parts are imported when they are first used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from littoral import errors

if TYPE_CHECKING:
    import os

    from littoral.artifact import Model
    from littoral.compiler.driver import Target

__all__ = ["Model", "compile", "errors"]

__version__ = "0.1.0"


def compile(  # noqa: A001
    source: "str | os.PathLike[str] | bytes | Any",
    shapes: Mapping[str, Sequence[int]] | None = None,
    variants: Iterable[Mapping[str, Sequence[int]]] | None = None,
    int8: Any = None,
    target: "Target" = "relaxed",
    strict: bool = True,
    threads: int = 1,
    tuning: Any = None,
    name: str | None = None,
    version: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "Model":
    """An ONNX model as one WebAssembly module.

    source: path, bytes or ModelProto. shapes: for inputs whose dimensions the model leaves open. target: `relaxed` or
    `simd128`. progress: called with stage, done, total. This installation notes the result's digest, so that the model
    may run in the engine without epochs.
    Raises OnnxFormatError, UnsupportedOperatorError, ShapeError, NotFoundError; NotOfferedError for `variants`, `int8`,
    `strict=False`, `threads` above 1, `tuning` and the target `mvp`, which this version does not have.
    """
    from littoral.artifact import Store
    from littoral.compiler.driver import compile_model

    asked = {
        "variants": variants is not None,
        "int8": int8 is not None,
        "strict=False": not strict,
        "threads": threads != 1,
        "tuning": tuning is not None,
        "target": target not in ("relaxed", "simd128"),
    }
    for option, wanted in asked.items():
        if wanted:
            raise errors.NotOfferedError(f"compile: `{option}` is not offered by littoral {__version__}")
    model = compile_model(source, shapes=shapes, target=target, name=name, version=version, progress=progress)
    Store().record(model.digest)
    return model


def __getattr__(name: str) -> Any:
    if name == "Model":
        from littoral.artifact import Model

        return Model
    raise AttributeError(f"module `littoral` has no attribute `{name}`")
