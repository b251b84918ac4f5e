"""Functions as text: the instructions of a body, one a line, for people and for golden tests."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from littoral.compiler.wasm.code import KINDS
from littoral.compiler.wasm.function import Function
from littoral.compiler.wasm.opcodes import Op
from littoral.compiler.wasm.reading import Reader, instructions

__all__ = ["body_text", "function_text"]

_OPENING = ("block", "loop", "if")
_TYPE_NAMES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}


def _printed(kind: str, value: Any, row: Op) -> Iterator[str]:
    if kind == "m":
        align, offset = value
        if offset:
            yield f"offset={offset}"
        if align != row.align:
            yield f"align={1 << align}"
    elif kind in "fd":
        yield _float(value)
    elif kind == "c":
        yield "i32x4 " + " ".join(f"{lane:#010x}" for lane in struct.unpack("<4I", value))
    elif kind == "s":
        yield " ".join(map(str, value))
    elif kind in "ilnu":
        yield str(value)


def _float(value: float) -> str:
    if value != value:
        return "nan"
    return "inf" if value == float("inf") else "-inf" if value == float("-inf") else value.hex()


def function_text(function: Function) -> str:
    """The function in WebAssembly's text format, linear form, locals by number."""
    body = Reader(function.body())
    body.unsigned()
    params, results = [_type_name(p.kind) for p in function.params], [_type_name(r) for r in function.results]
    return body_text(function.name, params, results, body.data[body.at :])


def body_text(title: str, params: Sequence[str], results: Sequence[str], code: bytes) -> str:
    """The same from types and code, which begins with its locals. Raises KeyError for an unknown instruction."""
    reader = Reader(code)
    kinds = [_TYPE_NAMES[kind] for count, kind in _runs(reader) for _ in range(count)]
    head = "".join(f" (param {kind})" for kind in params) + "".join(f" (result {kind})" for kind in results)
    lines = [f"(func ${title}{head}"]
    if kinds:
        lines.append(f"  (local {' '.join(kinds)})")
    depth = 1
    for name, row, values, _ in instructions(reader.data[reader.at : -1]):
        if name in ("end", "else"):
            depth -= 1
        immediates = [
            text for kind, value in zip(row.immediates, values, strict=True) for text in _printed(kind, value, row)
        ]
        lines.append("  " * depth + " ".join([name, *immediates]))
        if name in _OPENING or name == "else":
            depth += 1
    return "\n".join(lines) + ")\n"


def _type_name(kind: str) -> str:
    return "v128" if KINDS[kind] == "v" else kind


def _runs(reader: Reader) -> list[tuple[int, int]]:
    return [(reader.unsigned(), reader.take(1)[0]) for _ in range(reader.unsigned())]
