"""What a module imports and exports, read from its bytes.

wasmtime's own listing aborts the process at a `v128` in a signature, so a hostile module could end it; this reader
raises ArtifactError instead. It is meant for modules that wasmtime has validated, and is bounded for any other bytes.
(WebAssembly core specification, 5.3 and 5.5)
"""

from dataclasses import dataclass, field

import msgspec

from littoral.artifact.sections import Section, read_u32, sections
from littoral.errors import ArtifactError
from littoral.runtime.printable import printable

__all__ = ["PAGE_BYTES", "Import", "Interface", "MemoryShape", "body_sizes", "read_interface", "shares_memory"]

PAGE_BYTES = 1 << 16
ENTRIES_MAX = 100_000
EXPORTS_MAX = 4096

_VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_FUNCTION_TYPE = 0x60
_TYPES, _IMPORTS, _FUNCTIONS, _MEMORIES, _EXPORTS, _CODE = 1, 2, 3, 5, 7, 10
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_SHARED = 3  # of a memory: with a maximum, and shared


class Import(msgspec.Struct, frozen=True):
    """One import; `signature` is such as `(i32, i32) -> i32` for a function, else `table`, `memory`, `shared memory` or
    `global`.
    """

    module: str
    name: str
    signature: str

    @property
    def key(self) -> str:
        return f"{self.module}.{self.name}"

    def __str__(self) -> str:
        return printable(self.key)


class MemoryShape(msgspec.Struct, frozen=True):
    """Declared size of a memory; `bytes_max` is None where it may grow without end."""

    bytes_min: int
    bytes_max: int | None
    is_shared: bool = False


class Interface(msgspec.Struct, frozen=True):
    """Imports, signatures of the exported functions, the memory exported as `memory`, and a shared one it imports."""

    imports: tuple[Import, ...]
    functions: dict[str, str]
    memory: MemoryShape | None
    shared: MemoryShape | None = None


def read_interface(wasm: bytes) -> Interface:
    """The interface of a module. Raises ArtifactError for what is cut off, or of a kind this runtime does not offer."""
    found = _Found()
    for section in sections(wasm):
        if (read := _READERS.get(section.id)) is not None:
            read(found, _Reader(wasm, section))
    shared = next((memory for memory in found.memories if memory.is_shared), None)
    return Interface(tuple(found.imports), found.exported_functions, found.exported_memory, shared)


def shares_memory(wasm: bytes) -> bool:
    """Whether a module imports a shared memory; False for bytes that no engine would take."""
    found = _Found()
    try:
        for section in sections(wasm):
            if section.id in (_TYPES, _IMPORTS):
                _READERS[section.id](found, _Reader(wasm, section))
            elif section.id > _IMPORTS:
                break
    except ArtifactError:
        return False
    return any(memory.is_shared for memory in found.memories)


def body_sizes(wasm: bytes) -> list[int]:
    """Bytes of each function's body."""
    for section in sections(wasm):
        if section.id == _CODE:
            reader = _Reader(wasm, section)
            return [reader.skip(reader.u32()) for _ in range(reader.count())]
    return []


@dataclass
class _Found:
    types: list[str] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    memories: list[MemoryShape] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    exported_functions: dict[str, str] = field(default_factory=dict)
    exported_memory: MemoryShape | None = None

    def signature(self, function: int) -> str:
        try:
            return self.types[self.functions[function]]
        except IndexError:
            raise ArtifactError(f"WebAssembly module: function {function} has no type") from None


class _Reader:
    """One section's payload, read forward."""

    def __init__(self, wasm: bytes, section: Section) -> None:
        self._wasm = wasm
        self._at = section.start
        self._stop = section.stop

    def byte(self) -> int:
        self.skip(1)
        return self._wasm[self._at - 1]

    def u32(self) -> int:
        value, self._at = read_u32(self._wasm, self._at, self._stop)
        return value

    def count(self, most: int = ENTRIES_MAX) -> int:
        if (count := self.u32()) > most:
            raise ArtifactError(f"WebAssembly module: {count} entries in a section, at most {most}")
        return count

    def skip(self, size: int) -> int:
        if size > self._stop - self._at:
            raise ArtifactError(f"WebAssembly module: section cut off at byte {self._stop}")
        self._at += size
        return size

    def name(self) -> str:
        size = self.skip(self.u32())
        return self._wasm[self._at - size : self._at].decode("utf-8", "replace")

    def value_type(self) -> str:
        if (name := _VALUE_TYPES.get(byte := self.byte())) is None:
            raise ArtifactError(f"WebAssembly module: value type 0x{byte:02x} is not supported")
        return name

    def signature(self) -> str:
        if (form := self.byte()) != _FUNCTION_TYPE:
            raise ArtifactError(f"WebAssembly module: type 0x{form:02x} is not supported")
        params, results = ([self.value_type() for _ in range(self.count())] for _ in range(2))
        return f"({', '.join(params)}) -> {results[0] if len(results) == 1 else '(' + ', '.join(results) + ')'}"

    def limits(self) -> tuple[int, int | None]:
        return self._sizes(self._flags())

    def _flags(self) -> int:
        if (flags := self.byte()) not in (0, 1, _SHARED):
            raise ArtifactError("WebAssembly module: a 64-bit memory or table is not supported")
        return flags

    def _sizes(self, flags: int) -> tuple[int, int | None]:
        return self.u32(), self.u32() if flags else None

    def memory(self) -> MemoryShape:
        flags = self._flags()
        smallest, largest = self._sizes(flags)
        most = None if largest is None else largest * PAGE_BYTES
        return MemoryShape(smallest * PAGE_BYTES, most, flags == _SHARED)


def _read_types(found: _Found, reader: _Reader) -> None:
    found.types = [reader.signature() for _ in range(reader.count())]


def _read_imports(found: _Found, reader: _Reader) -> None:
    for _ in range(reader.count()):
        module, name, kind = reader.name(), reader.name(), reader.byte()
        found.imports.append(Import(module, name, _read_import_kind(found, reader, kind)))


def _read_import_kind(found: _Found, reader: _Reader, kind: int) -> str:
    if kind == _FUNCTION:
        found.functions.append(reader.u32())
        return found.signature(-1)
    if kind == _TABLE:
        reader.value_type()
        reader.limits()
        return "table"
    if kind == _MEMORY:
        found.memories.append(reader.memory())
        return "shared memory" if found.memories[-1].is_shared else "memory"
    if kind == _GLOBAL:
        reader.value_type()
        reader.byte()
        return "global"
    raise ArtifactError(f"WebAssembly module: import of kind {kind} is not supported")


def _read_functions(found: _Found, reader: _Reader) -> None:
    found.functions += [reader.u32() for _ in range(reader.count())]


def _read_memories(found: _Found, reader: _Reader) -> None:
    found.memories += [reader.memory() for _ in range(reader.count())]


def _read_exports(found: _Found, reader: _Reader) -> None:
    for _ in range(reader.count(EXPORTS_MAX)):
        name, kind, index = reader.name(), reader.byte(), reader.u32()
        if kind == _FUNCTION:
            found.exported_functions[name] = found.signature(index)
        elif kind == _MEMORY and name == "memory" and index < len(found.memories):
            found.exported_memory = found.memories[index]


_READERS = {
    _TYPES: _read_types,
    _IMPORTS: _read_imports,
    _FUNCTIONS: _read_functions,
    _MEMORIES: _read_memories,
    _EXPORTS: _read_exports,
}
