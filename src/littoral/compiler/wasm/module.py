"""A module: functions, one fixed memory, one data segment, custom sections, in the order of the specification (5.5).

The memory is the module's own and exported, and the segment is there from the start. A module over a shared memory
imports it, and copies the segment itself (`memory.init` of segment 0, in its start function).
"""

from collections.abc import Iterable

from littoral.compiler.wasm.code import const, leb_u
from littoral.compiler.wasm.function import Function

__all__ = ["HEADER", "Module"]

HEADER = b"\0asm\1\0\0\0"
_EXPORT_FUNCTION, _EXPORT_MEMORY = b"\0", b"\2"
_IMPORT_MEMORY = b"\2"
_MIN_AND_MAX, _SHARED = b"\1", b"\3"


class Module:
    """Functions in the order they were added; a function's index is final when it is added.

    imports: module and name of the shared memory that it works on, if it does not have one of its own. start: the
    function that runs first.
    """

    def __init__(self, imports: tuple[str, str] | None = None) -> None:
        self.functions: list[Function] = []
        self.exports: dict[str, int] = {}
        self.imports = imports
        self.start: int | None = None

    def add(self, function: Function, export: str | None = None) -> int:
        """Index of the new function."""
        self.functions.append(function)
        index = len(self.functions) - 1
        if export is not None:
            self.exports[export] = index
        return index

    def encode(self, pages: int, data: tuple[int, bytes] | None, custom: Iterable[tuple[str, bytes]] = ()) -> bytes:
        """The binary. pages: minimum and maximum of memory. data: address and bytes of the one segment."""
        types = list(dict.fromkeys(f.signature() for f in self.functions))
        limits = leb_u(pages) + leb_u(pages)
        exports = {n: (_EXPORT_FUNCTION, i) for n, i in self.exports.items()}
        if self.imports is None:
            exports = {"memory": (_EXPORT_MEMORY, 0)} | exports
        parts = [HEADER, _section(1, _vector(types))]
        if self.imports is not None:
            parts.append(_section(2, _vector([b"".join(map(_name, self.imports)) + _IMPORT_MEMORY + _SHARED + limits])))
        parts.append(_section(3, _vector(leb_u(types.index(f.signature())) for f in self.functions)))
        if self.imports is None:
            parts.append(_section(5, _vector([_MIN_AND_MAX + limits])))
        parts.append(_section(7, _vector(_name(n) + kind + leb_u(i) for n, (kind, i) in exports.items())))
        if self.start is not None:
            parts.append(_section(8, leb_u(self.start)))
        if self.imports is not None and data is not None:
            parts.append(_section(12, leb_u(1)))
        parts.append(_section(10, _vector(f.body() for f in self.functions)))
        if data is not None:
            parts.append(_section(11, _vector([self._segment(*data)])))
        parts.append(_section(0, _name("name") + _subsection(1, self._function_names())))
        parts += [_section(0, _name(name) + payload) for name, payload in custom]
        return b"".join(parts)

    def _segment(self, address: int, content: bytes) -> bytes:
        where = b"\1" if self.imports is not None else b"\0" + const("i32", address).data + b"\x0b"
        return where + leb_u(len(content)) + content

    def _function_names(self) -> bytes:
        return _vector(leb_u(i) + _name(f.name) for i, f in enumerate(self.functions))

    def code_bytes(self) -> int:
        """Size of all function bodies."""
        return sum(len(f.body()) for f in self.functions)


def _vector(items: Iterable[bytes]) -> bytes:
    found = list(items)
    return leb_u(len(found)) + b"".join(found)


def _name(text: str) -> bytes:
    encoded = text.encode()
    return leb_u(len(encoded)) + encoded


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb_u(len(content)) + content


def _subsection(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb_u(len(content)) + content
