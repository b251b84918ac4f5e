"""Tables of bytes: sixteen look-ups at once, in parts of sixteen entries.

Every part is looked up with the low four bits, which are always inside; the other bits choose between parts. So no
instruction meets an index or a mask of which engines make different things.
"""

from littoral.compiler.wasm import Code, Function, const, load, op

__all__ = ["PART", "look_up"]

PART = 16  # entries


def look_up(f: Function, table: Code, parts: int, index: Code) -> Code:
    """table[index] of sixteen bytes below 16 · parts."""
    kept = f.local("i8x16", "index", index)
    low = f.local("i8x16", "low", kept & const("i8x16", PART - 1)) if parts > 1 else kept
    masks: list[Code] = []
    for bit in (16, 32, 64, 128):
        if bit < PART * parts:
            sign = const("i8x16", bit - 256 if bit > 127 else bit)
            masks.append(f.local("i8x16", f"bit{bit}", op("i8x16.eq", kept & sign, sign)))
    return _chosen(f, table, low, masks, 0, parts)


def _chosen(f: Function, table: Code, low: Code, masks: list[Code], first: int, parts: int) -> Code:
    """The entries of `parts` parts from `first` on; halves are looked up in turn, so that few stay in registers."""
    if parts == 1:
        entries = load("v128.load", table, PART * first, "i8x16")
        return f.local("i8x16", value=op("i8x16.relaxed_swizzle", entries, low))
    level = (parts - 1).bit_length() - 1
    half = 1 << level
    lower = _chosen(f, table, low, masks, first, half)
    upper = _chosen(f, table, low, masks, first + half, parts - half)
    return f.local("i8x16", value=op("i8x16.relaxed_laneselect", upper, lower, masks[level]))
