"""Every vector instruction alone, and in the instructions of the other targets: the same bits."""

import numpy as np
import pytest
import wasmtime

import engine_without_vectors
import model_host
from littoral.compiler.wasm import OPCODES, Code, Function, Target, TargetedModule, const, load, op
from littoral.compiler.wasm.code import KINDS
from littoral.compiler.wasm.targets import feature

VECTOR = [name for name in OPCODES if feature(name) in ("simd", "relaxed-simd")]
LATER = [n for n in OPCODES if feature(n) in ("sign-extension", "nontrapping-float-to-int")]
KIND = {"i": "i32", "l": "i64", "f": "f32", "d": "f64", "v": "v128"}
SIZE = {"i": 4, "l": 8, "f": 4, "d": 8, "v": 16}
ROWS = 400
OPERANDS_AT, RESULTS_AT, ROW_BYTES = 0, 65536, 64
SHUFFLES = [
    bytes(range(16)),
    bytes([4, 5, 6, 7] * 4),
    bytes([0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]),
    bytes([8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]),
    bytes([30, 31, 0, 1, 14, 15, 14, 15, 2, 3, 4, 5, 6, 7, 8, 9]),
    bytes([31, 0, 30, 1, 29, 2, 28, 3, 16, 16, 5, 6, 7, 0, 0, 0]),
]


def corner_vectors() -> np.ndarray:
    """Rows of three vectors: every kind of number in every kind of lane."""
    rng = np.random.default_rng(7)
    floats = np.array([0.0, -0.0, 1.0, -1.5, 0.5, 2.5, 3.5, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38], "f4")
    floats = np.append(
        floats, np.array([2147483520, 2147483648, -2147483648, -2147483904, 4294967040, 4294967296], "f4")
    )
    doubles = np.array([0.0, -0.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 5e-324, 1e308, 2147483647.5], "f8")
    doubles = np.append(doubles, np.array([-2147483648.5, 4294967295.5, 4294967296.0, -0.9, 1.5], "f8"))
    octets = np.array([0, 1, 2, 127, 128, 129, 254, 255, 64, 15, 16], "u1")
    words = np.array([0, 1, -1, 32767, -32768, 255, 128, 2147483647 & 0x7FFF], "i2")
    longs = np.array([0, 1, -1, 2147483647, -2147483648, 65535, 32768, -32769], "i4")
    wide = np.array([0, 1, -1, 2**63 - 1, -(2**63), 2**32, 2**31, -(2**31) - 1], "i8")
    made = [
        rng.choice(floats, (60, 12)),
        rng.normal(0, 1e3, (40, 12)).astype("f4"),
        rng.choice(doubles, (60, 6)),
        rng.normal(0, 1e9, (20, 6)),
        rng.choice(octets, (60, 48)),
        rng.choice(words, (50, 24)),
        rng.choice(longs, (40, 12)),
        rng.choice(wide, (40, 6)),
        rng.integers(0, 256, (30, 48)).astype("u1"),
    ]
    return np.concatenate([np.ascontiguousarray(part).view("u1").reshape(len(part), 48) for part in made])


VECTORS = corner_vectors()
assert len(VECTORS) == ROWS


def forms(name: str) -> list[bytes]:
    """The immediates to try."""
    row = OPCODES[name]
    found = [b""]
    for kind in row.immediates:
        given = {
            "m": [bytes([0, 3])],
            "n": [bytes([n]) for n in range(lanes(name))] if kind == "n" else [],
            "s": SHUFFLES,
            "c": [VECTORS[i, :16].tobytes() for i in (0, 70, 130, 200)],
        }[kind]
        found = [head + tail for head in found for tail in given]
    return found


def lanes(name: str) -> int:
    if name.startswith("v128"):
        return 128 // int(name.rsplit("load", maxsplit=1)[-1].rsplit("store", maxsplit=1)[-1].split("_", maxsplit=1)[0])
    return int(name.split(".", maxsplit=1)[0].split("x")[1])


def module_of(name: str, immediates: bytes, target: Target, held: str = "") -> bytes:
    """A loop over rows: operands are loaded, the instruction runs, its result is stored.

    held: the shape of locals that operands and result go through.
    """
    row = OPCODES[name]
    f = Function("rows")
    at, out = f.local("i32", "at", OPERANDS_AT), f.local("i32", "out", RESULTS_AT)

    def kept(code: Code) -> Code:
        return f.local(held, value=code) if held and KINDS[code.kind] == "v" else code

    addresses = "m" in row.immediates
    with f.repeat(ROWS):
        operands: list[Code] = []
        for i, letter in enumerate(row.pops):
            offset = 16 * (i - 1) if addresses and i else 16 * i
            if addresses and i == 0:
                operands.append(out if not row.pushes else at)
            else:
                operands.append(
                    kept(load("v128.load", at, offset, "i32x4"))
                    if letter == "v"
                    else load(f"{KIND[letter]}.load", at, offset)
                )
        code = op(name, *operands, immediates=immediates)
        if row.pushes:
            f.store("v128.store" if row.pushes == "v" else f"{code.kind}.store", out, kept(code))
        else:
            f.emit(code)
        f.step(at, 48)
        f.step(out, ROW_BYTES)
    module = TargetedModule(target)
    module.add(f, export="rows")
    return module.encode(pages=2, data=None)


def run(wasm: bytes, engine: wasmtime.Engine, operands: np.ndarray) -> np.ndarray:
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, wasm), []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (131072,))
    memory[: operands.size] = operands.reshape(-1)
    exports["rows"](store)
    return memory[RESULTS_AT : RESULTS_AT + ROWS * ROW_BYTES].copy().reshape(ROWS, ROW_BYTES)


def with_one_nan(name: str, results: np.ndarray) -> np.ndarray:
    """The same results with every NaN of a float instruction made alike."""
    shape = name.split(".", maxsplit=1)[0]
    if shape not in ("f32x4", "f64x2", "f32", "f64"):
        return results
    floats = results.view("f4" if "f32" in shape else "f8")
    return np.where(np.isnan(floats), np.float32(0.125), floats)


@pytest.mark.parametrize("name", [n for n in VECTOR if feature(n) == "simd"])
def test_scalars_give_the_bits_of_the_vector_instruction(name: str) -> None:
    for immediates in forms(name):
        want = run(module_of(name, immediates, "relaxed"), model_host.ENGINE, VECTORS)
        got = run(module_of(name, immediates, "mvp"), engine_without_vectors.ENGINE, VECTORS)
        assert np.array_equal(with_one_nan(name, got), with_one_nan(name, want)), immediates


@pytest.mark.parametrize("held", ["i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2"])
def test_a_local_of_any_shape_holds_any_vector(held: str) -> None:
    for name in (n for n in VECTOR if feature(n) == "simd"):
        immediates = forms(name)[-1]
        want = run(module_of(name, immediates, "relaxed"), model_host.ENGINE, VECTORS)
        got = run(module_of(name, immediates, "mvp", held), engine_without_vectors.ENGINE, VECTORS)
        assert np.array_equal(with_one_nan(name, got), with_one_nan(name, want)), name


def usual(name: str) -> np.ndarray:
    """Rows whose operands leave a relaxed instruction no choice."""
    rows = VECTORS.copy()
    action = name.split(".")[1]
    if "dot" in action:
        rows[:, 16:32] &= 127
    elif "laneselect" in action:
        rows[:, 32:] = np.where(rows[:, 32:33] & 1, 255, 0)
    elif "swizzle" in action:
        rows[:, 16:32] &= 15
    elif "q15mulr" in action:
        words = rows.view("i2").reshape(ROWS, 24)
        words[words == -32768] = 5
    else:
        whole = np.random.default_rng(1).integers(-1000 if action[-1] != "u" else 0, 1000, (ROWS, 6))
        floats = whole.astype("f8") if "f64" in name else np.repeat(whole, 2, axis=1).astype("f4")
        return floats.view("u1").reshape(ROWS, 48)
    return rows


@pytest.mark.parametrize("name", [n for n in VECTOR if feature(n) == "relaxed-simd"])
def test_relaxed_instructions_have_strict_forms(name: str) -> None:
    simd128, mvp = module_of(name, b"", "simd128"), module_of(name, b"", "mvp")
    operands = usual(name)
    want = run(module_of(name, b"", "relaxed"), model_host.ENGINE, operands)
    assert np.array_equal(run(simd128, model_host.ENGINE, operands), want)
    assert np.array_equal(run(mvp, engine_without_vectors.ENGINE, operands), want)
    strict = with_one_nan(name, run(simd128, model_host.ENGINE, VECTORS))
    assert np.array_equal(with_one_nan(name, run(mvp, engine_without_vectors.ENGINE, VECTORS)), strict)


@pytest.mark.parametrize("name", LATER)
def test_later_scalar_instructions_have_first_forms(name: str) -> None:
    want = run(module_of(name, b"", "relaxed"), model_host.ENGINE, VECTORS)
    assert np.array_equal(run(module_of(name, b"", "mvp"), engine_without_vectors.ENGINE, VECTORS), want)


@pytest.mark.parametrize("distance", [0, 1, 7, 8, 9, 100, -1, -7, -8, -9, -100])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 200])
def test_memory_moves_and_fills(distance: int, count: int) -> None:
    f = Function("rows")
    f.emit(op("memory.copy", *(const("i32", n) for n in (5000 + distance, 5000, count)), immediates=b"\0\0"))
    f.emit(op("memory.fill", *(const("i32", n) for n in (8000, 0x1A5, count)), immediates=b"\0"))
    f.emit(op("memory.copy", *(const("i32", n) for n in (RESULTS_AT, 4096, 8192)), immediates=b"\0\0"))
    found = {}
    for target, engine in (("relaxed", model_host.ENGINE), ("mvp", engine_without_vectors.ENGINE)):
        module = TargetedModule(target)  # type: ignore[arg-type]
        module.add(f, export="rows")
        found[target] = run(module.encode(pages=2, data=None), engine, VECTORS)
    assert np.array_equal(found["mvp"], found["relaxed"])
