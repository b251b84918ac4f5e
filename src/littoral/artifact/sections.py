"""Sections of a WebAssembly binary, read with bounds (WebAssembly core specification, 5.5)."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from littoral.errors import ArtifactError

__all__ = [
    "HEADER",
    "Section",
    "custom_section",
    "custom_section_bytes",
    "digest",
    "leb_u32",
    "read_u32",
    "sections",
    "with_custom_section",
    "without_custom_section",
]

HEADER = b"\0asm\1\0\0\0"
SECTIONS_MAX = 10_000


class Section(NamedTuple):
    """One section: its id, its name (custom sections only) and where its payload lies in the file."""

    id: int
    name: str
    start: int
    stop: int


def leb_u32(value: int) -> bytes:
    """`value` in the shortest unsigned LEB128 form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def read_u32(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """The unsigned LEB128 number at `at`, and where it ends. Raises ArtifactError for one cut off or over 32 bits."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= stop:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value < 1 << 32:
            return value, at
    raise ArtifactError(f"WebAssembly module: bad length at byte {at}")


def sections(wasm: bytes) -> Iterator[Section]:
    """Every section in file order. Raises ArtifactError where the bytes are no WebAssembly module."""
    if wasm[:8] != HEADER:
        raise ArtifactError(
            f"not a WebAssembly module: starts with `{wasm[:8].hex()}`, expected `{HEADER.hex()}`",
            hint="give a compiled `.wasm` file; an ONNX file is compiled by `littoral build`",
        )
    at = 8
    for _ in range(SECTIONS_MAX):
        if at == len(wasm):
            return
        kind, (size, start) = wasm[at], read_u32(wasm, at + 1, len(wasm))
        stop = start + size
        if stop > len(wasm):
            raise ArtifactError(f"WebAssembly module cut off: section at byte {at} ends at {stop}, file at {len(wasm)}")
        name = ""
        if kind == 0:
            length, start = read_u32(wasm, start, stop)
            if start + length > stop:
                raise ArtifactError(f"WebAssembly module: name of the custom section at byte {at} is cut off")
            name = wasm[start : start + length].decode("utf-8", "replace")
            start += length
        yield Section(kind, name, start, stop)
        at = stop
    raise ArtifactError(f"WebAssembly module: more than {SECTIONS_MAX} sections")


def custom_section(wasm: bytes, name: str) -> bytes | None:
    """Payload of the one custom section called `name`, or None; two of that name are an ArtifactError."""
    found = [wasm[s.start : s.stop] for s in sections(wasm) if s.id == 0 and s.name == name]
    if len(found) > 1:
        raise ArtifactError(f"WebAssembly module: {len(found)} sections `{name}`, expected one")
    return found[0] if found else None


def custom_section_bytes(name: str, payload: bytes) -> bytes:
    """A custom section, ready to be written into a module."""
    label = name.encode()
    body = leb_u32(len(label)) + label + payload
    return b"\0" + leb_u32(len(body)) + body


def without_custom_section(wasm: bytes, name: str) -> bytes:
    """The module without its custom sections called `name`; the same bytes where there is none."""
    parts, before = [wasm[: len(HEADER)]], len(HEADER)
    for section in sections(wasm):
        if section.id or section.name != name:
            parts.append(wasm[before : section.stop])
        before = section.stop
    return b"".join(parts)


def with_custom_section(wasm: bytes, name: str, payload: bytes) -> bytes:
    """The module with this custom section, in the place of any other called `name`, at its end."""
    return without_custom_section(wasm, name) + custom_section_bytes(name, payload)
