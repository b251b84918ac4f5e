"""Functions of a finished module: the way back from `module.py`, for people who look into a file."""

from collections.abc import Iterator
from typing import NamedTuple

from littoral.artifact.sections import read_u32, sections
from littoral.compiler.wasm.text import body_text
from littoral.errors import ArtifactError

__all__ = ["WrittenFunction", "written_functions"]

_TYPES, _IMPORTS, _FUNCTIONS, _CODE = 1, 2, 3, 10
_NAMES, _FUNCTION_NAMES = "name", 1
_FUNCTION_TYPE, _MEMORY = 0x60, 2
_KINDS = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
FUNCTIONS_MAX = 100_000


class WrittenFunction(NamedTuple):
    """name: empty where the file has none. code: the body, with its locals."""

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    code: bytes

    @property
    def tiling(self) -> str:
        """What its name says of the tile: `kind.tile@layer`."""
        kernel, at, _ = self.name.partition("@")
        return kernel.partition(".")[2].replace("x", "×") if at else ""

    def text(self) -> str:
        """In WebAssembly's text format. Raises ArtifactError for instructions that no compiled model has."""
        try:
            return body_text(self.name or "function", self.params, self.results, self.code)
        except (KeyError, IndexError) as error:
            raise ArtifactError(f"function `{self.name}`: an instruction that no compiled model has") from error


def written_functions(wasm: bytes) -> list[WrittenFunction]:
    """The functions of a compiled model, by index. Raises ArtifactError."""
    found = {part.id: part for part in sections(wasm) if part.id}
    if _IMPORTS in found:
        _check_imports(_Entries(wasm, found[_IMPORTS].start, found[_IMPORTS].stop))
    entries = {kind: _Entries(wasm, found[kind].start, found[kind].stop) for kind in (_TYPES, _FUNCTIONS, _CODE)}
    types = [_signature(entries[_TYPES]) for _ in entries[_TYPES].count()]
    kinds = [entries[_FUNCTIONS].number() for _ in entries[_FUNCTIONS].count()]
    bodies = [entries[_CODE].bytes() for _ in entries[_CODE].count()]
    names = _names(wasm)
    if len(kinds) != len(bodies) or any(kind >= len(types) for kind in kinds):
        raise ArtifactError("WebAssembly module: its functions and their types are not as many")
    return [
        WrittenFunction(names.get(i, ""), *types[kind], body)
        for i, (kind, body) in enumerate(zip(kinds, bodies, strict=True))
    ]


def _check_imports(reader: "_Entries") -> None:
    """A memory, shared by a team of threads, is all that a compiled model may import."""
    for _ in reader.count():
        reader.bytes(), reader.bytes()
        if reader.number() != _MEMORY:
            raise ArtifactError("WebAssembly module: it imports more than a memory, no compiled model does")
        has_most = reader.number() & 1
        reader.number()
        if has_most:
            reader.number()


def _names(wasm: bytes) -> dict[int, str]:
    part = next((p for p in sections(wasm) if p.id == 0 and p.name == _NAMES), None)
    if part is None:
        return {}
    reader = _Entries(wasm, part.start, part.stop)
    while reader.at < reader.stop:
        kind, size = reader.number(), reader.number()
        if kind == _FUNCTION_NAMES:
            return {reader.number(): reader.bytes().decode("utf-8", "replace") for _ in reader.count()}
        reader.at += size
    return {}


def _signature(reader: "_Entries") -> tuple[tuple[str, ...], tuple[str, ...]]:
    if reader.number() != _FUNCTION_TYPE:
        raise ArtifactError("WebAssembly module: a type that is no function's")
    params, results = (tuple(_KINDS.get(reader.number(), "?") for _ in reader.count()) for _ in range(2))
    return params, results


class _Entries:
    """Numbers and byte strings of a section, one after the other, never past its end."""

    def __init__(self, data: bytes, at: int, stop: int) -> None:
        self.data = data
        self.at = at
        self.stop = stop

    def number(self) -> int:
        value, self.at = read_u32(self.data, self.at, self.stop)
        return value

    def count(self) -> Iterator[int]:
        size = self.number()
        if size > FUNCTIONS_MAX:
            raise ArtifactError(f"WebAssembly module: {size} entries, at most {FUNCTIONS_MAX}")
        return iter(range(size))

    def bytes(self) -> bytes:
        size = self.number()
        if self.at + size > self.stop:
            raise ArtifactError(f"WebAssembly module: cut off at byte {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]
