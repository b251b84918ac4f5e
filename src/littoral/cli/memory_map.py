"""The memory of a compiled model: constants, and what lies in the arena from which layer to which."""

import string
from typing import Any

from littoral.artifact import Manifest
from littoral.cli.console import bytes_text
from littoral.compiler.ir.graph import Value
from littoral.compiler.plan import Layout

__all__ = ["claimed_map", "memory_map", "memory_text"]

ROWS, COLUMNS_MAX = 24, 96
LETTERS = string.ascii_uppercase + string.ascii_lowercase
FREE = "·"
PAGE_BYTES = 65536


def memory_map(layout: Layout) -> dict[str, Any]:
    """Addresses and sizes in bytes; a written contract.

    first, last: layers between which a buffer is taken, −1 for what is there before the first, the number of layers for
    what stays to the end.
    """
    layers, names = _layers(layout), _names(layout)
    count = sum(1 for _ in layout.program.layers())
    buffers = [
        {
            "name": names.get(buffer.key, "scratch"),
            "kind": "tensor" if isinstance(buffer.key, Value) else "scratch",
            "address": layout.addresses[buffer.key],
            "bytes": buffer.bytes,
            "first": layers[buffer.first] if buffer.first >= 0 else -1,
            "last": layers[buffer.last] if buffer.last < len(layers) else count,
        }
        for buffer in layout.buffers
    ]
    return {
        "bytes": layout.pages * PAGE_BYTES,
        "constants": [layout.constants_at, len(layout.constants)],
        "arena": [layout.arena_at, layout.arena_bytes],
        "layers": count,
        "buffers": sorted(buffers, key=lambda b: (b["first"], b["address"])),
    }


def claimed_map(manifest: Manifest) -> dict[str, Any]:
    """The same as far as a compiled model tells: inputs and outputs of its first variant are all its buffers."""
    count, first = len(manifest.layers), manifest.variants[0]
    ports = [(port, -1, 0) for port in first.inputs] + [(port, max(count - 1, 0), count) for port in first.outputs]
    buffers = [
        {"name": p.name, "kind": "tensor", "address": p.offset, "bytes": p.bytes, "first": begin, "last": end}
        for p, begin, end in ports
    ]
    return {
        "bytes": manifest.memory.pages * PAGE_BYTES,
        "constants": list(manifest.memory.weights),
        "arena": list(manifest.memory.arena),
        "layers": count,
        "buffers": buffers,
    }


def _layers(layout: Layout) -> list[int]:
    """For each item of the program, the number of its layer, or of the next one."""
    numbers, number = [], 0
    own = set(layout.program.layers())
    for item in layout.program.items:
        numbers.append(number)
        number += item in own
    return numbers


def _names(layout: Layout) -> dict[Any, str]:
    """Buffers by the layer that first writes them; inputs have their own names."""
    names: dict[Any, str] = {}
    for call in layout.program.calls():
        for value in call.writes:
            names.setdefault(layout.program.root(value), call.lowered.label)
        for argument in (a for step in call.lowered.steps for a in step.arguments):
            names.setdefault(getattr(argument, "of", argument), f"{call.lowered.label} (scratch)")
    named = {b.key: b.key.name for b in layout.buffers if isinstance(b.key, Value) and b.first < 0}
    return names | named


def memory_text(found: dict[str, Any]) -> str:
    """The map as a picture: addresses down, layers across, a letter for each buffer; then the buffers."""
    (constants_at, constants), (arena_at, arena) = found["constants"], found["arena"]
    lines = [
        f"memory     {bytes_text(found['bytes']):>10}",
        f"constants  {bytes_text(constants):>10}  at {constants_at}",
        f"arena      {bytes_text(arena):>10}  at {arena_at}, layers 0 to {found['layers'] - 1} across:",
    ]
    letters = [LETTERS[i % len(LETTERS)] for i in range(len(found["buffers"]))]
    columns = max(1, min(COLUMNS_MAX, found["layers"]))
    for row in range(ROWS if arena else 0):
        address = arena_at + (2 * row + 1) * arena // (2 * ROWS)
        cells = "".join(_cell(found, letters, address, column, columns) for column in range(columns))
        lines.append(f"{arena_at + row * arena // ROWS:>12} {cells}")
    lines.append("")
    for letter, b in zip(letters, found["buffers"], strict=True):
        span = f"{max(b['first'], 0)}–{min(b['last'], found['layers'] - 1)}"
        lines.append(f"  {letter} {b['address']:>12} {bytes_text(b['bytes']):>10}  layers {span:9} {b['name']}")
    return "\n".join(lines)


def _cell(found: dict[str, Any], letters: list[str], address: int, column: int, columns: int) -> str:
    """What lies at the address while the column's middle layer runs."""
    layer = (2 * column + 1) * found["layers"] // (2 * columns)
    for letter, b in zip(letters, found["buffers"], strict=True):
        if b["first"] <= layer <= b["last"] and b["address"] <= address < b["address"] + b["bytes"]:
            return letter
    return FREE
