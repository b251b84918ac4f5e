"""Edge intelligence: ONNX models as sandboxed WebAssembly, agents, and vector search on small Linux boxes.

    model = littoral.compile("m.onnx")          # one import-free .wasm file
    session = littoral.load(model)
    outputs = session.run({"x": array})

What is listed here is imported at its first use, so that `import littoral` stays fast.
"""

import importlib

TYPE_CHECKING = False  # typing itself costs ten times what this module does
if TYPE_CHECKING:
    from littoral import errors
    from littoral.artifact import Model
    from littoral.compiler.driver import compile  # noqa: A004
    from littoral.compiler.quantize import Int8
    from littoral.runtime.instance import Session, load

__all__ = ["Int8", "Model", "Session", "__version__", "compile", "errors", "load"]

__version__ = "0.1.0"

_HOMES = {
    "Int8": "littoral.compiler.quantize",
    "Model": "littoral.artifact",
    "Session": "littoral.runtime.instance",
    "compile": "littoral.compiler.driver",
    "load": "littoral.runtime.instance",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("littoral.errors")
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module `littoral` has no attribute `{name}`")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
