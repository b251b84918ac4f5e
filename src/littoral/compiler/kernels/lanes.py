"""Vectors taken apart: the first lanes of one, stored alone too; one lane in all; all lanes joined."""

from littoral.compiler.wasm import Code, Function, Local, op, shuffle

__all__ = ["across", "first_lanes", "spread", "store_lanes"]

_LANES = 4
_SWAPS = ([2, 3, 0, 1], [1, 0, 3, 2])


def first_lanes(value: Code, count: int, others: Code) -> Code:
    """The first lanes of one vector, the rest of another."""
    return shuffle("f32x4", value, others, [i if i < count else _LANES + i for i in range(_LANES)])


def spread(value: Code, lane: int) -> Code:
    """One lane in every lane; a shuffle would be as fast and three times as long."""
    return op("f32x4.splat", op("f32x4.extract_lane", value, immediates=bytes([lane])))


def across(f: Function, value: Local, name: str) -> Local:
    """All lanes joined by an instruction, in every lane."""
    for order in _SWAPS:
        f.set(value, op(name, value, shuffle("f32x4", value, value, order)))
    return value


def store_lanes(f: Function, address: Code, value: Code, offset: int, lanes: int) -> None:
    """Stores the first lanes of a vector and nothing else."""
    if lanes == 4:
        f.store("v128.store", address, value, offset)
        return
    kept = value if isinstance(value, Local) else f.local("f32x4", value=value)
    if lanes >= 2:
        f.store("v128.store64_lane", address, kept, offset, lane=0)
    if lanes % 2:
        f.store("v128.store32_lane", address, kept, offset + 4 * (lanes - 1), lane=lanes - 1)
