"""Tables of bytes: sixteen look-ups at once, in parts of sixteen entries.

Every part is looked up with the low four bits, which are always inside; the other bits choose between parts. So no
instruction meets an index or a mask of which engines make different things.
"""

from collections.abc import Sequence

from littoral.compiler.wasm import Code, Function, const, load, op

__all__ = ["PART", "look_up", "table_entries"]

PART = 16  # entries


def table_entries(f: Function, parts: int) -> list[Code]:
    """The parts of the table at the parameter of that name, each loaded where it is used."""
    return [load("v128.load", f.param("table"), PART * part, "i8x16") for part in range(parts)]


def look_up(f: Function, entries: Sequence[Code], index: Code) -> Code:
    """The entries of sixteen bytes below 16 · parts."""
    kept = f.local("i8x16", "index", index)
    parts = len(entries)
    low = f.local("i8x16", "low", kept & const("i8x16", PART - 1)) if parts > 1 else kept
    masks: list[Code] = []
    for bit in (16, 32, 64, 128):
        if bit < PART * parts:
            place = const("i8x16", bit - 256 if bit > 127 else bit)
            masks.append(f.local("i8x16", f"bit{bit}", op("i8x16.eq", kept & place, place)))
    return _chosen(f, entries, low, masks)


def _chosen(f: Function, entries: Sequence[Code], low: Code, masks: Sequence[Code]) -> Code:
    """Halves are looked up in turn, so that few results stay in registers."""
    if len(entries) == 1:
        return f.local("i8x16", value=op("i8x16.relaxed_swizzle", entries[0], low))
    level = (len(entries) - 1).bit_length() - 1
    lower = _chosen(f, entries[: 1 << level], low, masks)
    upper = _chosen(f, entries[1 << level :], low, masks)
    return f.local("i8x16", value=op("i8x16.relaxed_laneselect", upper, lower, masks[level]))
