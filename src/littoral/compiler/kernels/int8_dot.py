"""Products of bytes: eight values of K at once, for some rows and four to sixteen columns.

How two bytes are multiplied depends on what they can be; every way is exact, and the same on every engine:

dot     left 0..127: `i32x4.relaxed_dot_i8x16_i7x16_add_s`, weights in its first operand. 3 x86 instructions for 16
        products; two products of 127 · 128 still fit the 16 bits of the sum inside.
pairs   left 0..127, weights −64..64, or such that no four that meet (`ir.quads`) add up to more than 16 bits hold: two
        `i16x8.relaxed_dot…` are added in 16 bits before they are widened. 2.5.
wide_u, wide_s   left any uint8 or int8: `i32x4.dot_i16x8_s` on widened bytes. 6.
deep_u, deep_s   the same with weights that are int16, within ±255.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from littoral.compiler.kernels.kernel import Products
from littoral.compiler.wasm import Code, Function, Local, load, op, shuffle

__all__ = [
    "DEPTH",
    "Form",
    "depth_step",
    "form_of",
    "is_wide",
    "products_of",
    "step_bytes",
    "weight_bytes",
    "wide_load",
]

Form = Literal["dot", "pairs", "wide_u", "wide_s", "deep_u", "deep_s"]
DEPTH = 8  # values of K that a step takes
PAIRS_MAX = 64
BYTE_MAX = 128


def form_of(lowest: int, highest: int, weight: int) -> Form:
    """The fastest way for left values within lowest..highest, weights within ±weight."""
    if weight > BYTE_MAX:
        return "deep_s" if lowest < 0 else "deep_u"
    if lowest < 0:
        return "wide_s"
    if highest > 127:
        return "wide_u"
    return "pairs" if weight <= PAIRS_MAX else "dot"


def products_of(form: Form) -> Products:
    """How a form multiplies."""
    if is_wide(form):
        return "shorts"
    return "pairs" if form == "pairs" else "bytes"


def is_wide(form: Form) -> bool:
    """Whether bytes are widened before they are multiplied."""
    return form.startswith(("wide", "deep"))


def weight_bytes(form: Form) -> int:
    """Of one weight in memory."""
    return 2 if form.startswith("deep") else 1


def wide_load(form: Form) -> str:
    """The instruction that loads eight weights as int16."""
    return "v128.load" if form.startswith("deep") else "v128.load8x8_s"


def step_bytes(vectors: int, form: Form) -> int:
    """Bytes of the right side for one step of four columns each vector."""
    return DEPTH * 4 * vectors * weight_bytes(form)


def depth_step(
    f: Function,
    form: Form,
    sums: Sequence[Sequence[Local]],
    rows: Sequence[tuple[Code, int]],
    right: Local,
    wall: Callable[[], None],
) -> None:
    """sums[row][vector] += Σ over 8 k of rows[row][k] · right[k, 4 · vector …]; rows: (address, offset).

    wall: writes a branch that is never taken, which keeps later loads behind it (`gemm` says why).
    """
    if form == "dot":
        _dot(f, sums, rows, right, wall)
    elif form == "pairs":
        _pairs(f, sums, rows, right)
    else:
        _wide(f, form, sums, rows, right, wall)


def _word(vector: Local, word: int) -> Code:
    """One 32-bit lane in all four."""
    return shuffle("i8x16", vector, vector, [4 * word + i for i in range(4)] * 4)


def _rights(f: Function, right: Local, half: int, vectors: int, name: str) -> list[Local]:
    base = 16 * vectors * half
    return [f.local("i8x16", f"{name}{v}", load("v128.load", right, base + 16 * v, "i8x16")) for v in range(vectors)]


def _dot(
    f: Function,
    sums: Sequence[Sequence[Local]],
    rows: Sequence[tuple[Code, int]],
    right: Local,
    wall: Callable[[], None],
) -> None:
    """The eight left bytes of a row are loaded once; a same-operand shuffle (one instruction) gives each half."""
    lefts: list[Local] = []
    for half in range(2):
        if half:
            wall()
        columns = _rights(f, right, half, len(sums[0]), "b")
        for i, (address, offset) in enumerate(rows):
            if not half:
                lefts.append(f.local("i8x16", f"z{i}", load("v128.load64_zero", address, offset, "i8x16")))
            x = f.local("i8x16", "x", _word(lefts[i], half))
            for total, b in zip(sums[i], columns, strict=True):
                f.set(total, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", b, x, total))


def _pairs(f: Function, sums: Sequence[Sequence[Local]], rows: Sequence[tuple[Code, int]], right: Local) -> None:
    first, second = (_rights(f, right, half, len(sums[0]), name) for half, name in enumerate("bd"))
    for i, (address, offset) in enumerate(rows):
        left = f.local("i8x16", f"z{i}", load("v128.load64_zero", address, offset, "i8x16"))
        x, y = (f.local("i8x16", name, _word(left, half)) for half, name in enumerate("xy"))
        for total, b, d in zip(sums[i], first, second, strict=True):
            both = op("i16x8.relaxed_dot_i8x16_i7x16_s", b, x) + op("i16x8.relaxed_dot_i8x16_i7x16_s", d, y)
            f.set(total, total + op("i32x4.extadd_pairwise_i16x8_s", both))


def _wide(
    f: Function,
    form: Form,
    sums: Sequence[Sequence[Local]],
    rows: Sequence[tuple[Code, int]],
    right: Local,
    wall: Callable[[], None],
) -> None:
    name = f"v128.load8x8_{form[-1]}"
    lefts = [
        f.local("i16x8", f"z{i}", load(name, address, offset, "i16x8")) for i, (address, offset) in enumerate(rows)
    ]
    vectors, size = len(sums[0]), 8 * weight_bytes(form)
    for pair in range(DEPTH // 2):
        if pair:
            wall()
        columns = [
            f.local("i16x8", f"b{v}", load(wide_load(form), right, size * (vectors * pair + v), "i16x8"))
            for v in range(vectors)
        ]
        for left, row in zip(lefts, sums, strict=True):
            x = f.local("i16x8", "x", shuffle("i16x8", left, left, [2 * pair, 2 * pair + 1] * 4))
            for total, b in zip(row, columns, strict=True):
                f.set(total, total + op("i32x4.dot_i16x8_s", b, x))
