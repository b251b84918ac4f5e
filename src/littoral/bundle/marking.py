"""A compiled model that tells before each call of a kernel which layer it is for: one import more, else the same."""

from collections.abc import Iterator, Sequence

from littoral.artifact.sections import HEADER, read_u32, sections
from littoral.compiler.wasm import written_functions
from littoral.compiler.wasm.code import leb_s, leb_u
from littoral.compiler.wasm.reading import Instruction, Reader, instructions

__all__ = ["MARK", "marked"]

MARK = ("littoral", "mark")

_TYPES, _IMPORTS, _EXPORTS, _START, _ELEMENTS, _CODE = 1, 2, 7, 8, 9, 10
_FUNCTION = 0
_TAKES_I32 = b"\x60\x01\x7f\x00"


def marked(wasm: bytes, layers: Sequence[int]) -> bytes | None:
    """The module with `mark(layer)` before every call of its entry, which is its last function.

    layers: the function that each layer is named after, in order. Calls beside those count for the layer before them.
    None where the calls are not those of the layers, or for a module of another form.
    """
    found = {part.id for part in sections(wasm) if part.id}
    if found & {_IMPORTS, _START, _ELEMENTS}:
        return None
    *kernels, entry = (_parted(function.code) for function in written_functions(wasm))
    places = _places(list(entry[1]), layers)
    if places is None:
        return None
    made, at = [HEADER], len(HEADER)
    for part in sections(wasm):
        body = wasm[part.start : part.stop]
        if part.id == _TYPES:
            kind, rest = read_u32(body, 0, len(body))
            made.append(_section(_TYPES, leb_u(kind + 1) + body[rest:] + _TAKES_I32))
            named = b"".join(leb_u(len(word)) + word.encode() for word in MARK)
            made.append(_section(_IMPORTS, leb_u(1) + named + bytes([_FUNCTION]) + leb_u(kind)))
        elif part.id == _EXPORTS:
            made.append(_section(_EXPORTS, _moved_exports(body)))
        elif part.id == _CODE:
            bodies = [_body(locals_, _moved(code)) for locals_, code in kernels]
            bodies.append(_body(entry[0], _with_marks(entry[1], places)))
            made.append(_section(_CODE, leb_u(len(bodies)) + b"".join(bodies)))
        elif part.id:
            made.append(wasm[at : part.stop])
        at = part.stop
    return b"".join(made)


def _parted(code: bytes) -> tuple[bytes, list[Instruction]]:
    """The locals as they are, and the instructions before the last `end`."""
    runs, at = read_u32(code, 0, len(code))
    for _ in range(runs):
        _, at = read_u32(code, at, len(code))
        at += 1
    return code[:at], list(instructions(code[at:-1]))


def _places(code: Sequence[Instruction], layers: Sequence[int]) -> list[int] | None:
    """The layer of each call."""
    found, layer = [], -1
    for call in (i for i in code if i.name == "call"):
        if layer + 1 < len(layers) and call.values[0] == layers[layer + 1]:
            layer += 1
        found.append(max(layer, 0))
    return found if layer + 1 == len(layers) else None


def _moved(code: Sequence[Instruction]) -> Iterator[bytes]:
    """With every function one further back."""
    for instruction in code:
        is_call = instruction.name == "call"
        yield instruction.row.code + leb_u(instruction.values[0] + 1) if is_call else instruction.data


def _with_marks(code: Sequence[Instruction], places: Sequence[int]) -> Iterator[bytes]:
    layers = iter(places)
    for instruction, moved in zip(code, _moved(code), strict=True):
        if instruction.name == "call":
            yield b"\x41" + leb_s(next(layers)) + b"\x10" + leb_u(0)
        yield moved


def _moved_exports(body: bytes) -> bytes:
    reader = Reader(body)
    count = reader.unsigned()
    made = [leb_u(count)]
    for _ in range(count):
        name = reader.take(reader.unsigned())
        (kind,) = reader.take(1)
        index = reader.unsigned() + (kind == _FUNCTION)
        made.append(leb_u(len(name)) + name + bytes([kind]) + leb_u(index))
    return b"".join(made)


def _body(locals_: bytes, code: Iterator[bytes]) -> bytes:
    content = locals_ + b"".join(code) + b"\x0b"
    return leb_u(len(content)) + content


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb_u(len(content)) + content
