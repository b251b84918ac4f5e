"""Every row of the instruction table: the engine accepts it, and the text printer and the engine's assembler agree."""

import pytest
import wasmtime

from littoral.compiler.wasm import OPCODES, Code, Function, Module, const, function_text, op
from model_host import ENGINE

KIND = {"i": "i32", "l": "i64", "f": "f32", "d": "f64", "v": "i32x4"}
CONTROL = (
    "block",
    "loop",
    "if",
    "else",
    "end",
    "br",
    "br_if",
    "return",
    "call",
    "unreachable",
    "nop",
    "drop",
    "select",
    "memory.init",
    "data.drop",
)
OF_SEGMENTS = ("memory.init", "data.drop")  # run by every module of several threads
PLAIN = [n for n in OPCODES if n not in (*CONTROL, *OF_SEGMENTS) and not n.startswith(("local.", "global."))]


def immediates(name: str) -> bytes:
    row = OPCODES[name]
    parts = {
        "m": bytes([row.align, 8]),
        "n": b"\1",
        "s": bytes(range(16)),
        "c": bytes(range(16)),
        "i": b"\x7f",
        "l": b"\x7f",
        "f": b"\0\0\x80\x3f",
        "d": b"\0\0\0\0\0\0\xf0\x3f",
        "z": b"\0",
    }
    return b"".join(parts[kind] for kind in row.immediates)


def function_of(name: str) -> Function:
    row = OPCODES[name]
    f = Function("f", results=[KIND[p] for p in row.pushes])
    operands = [const(KIND[p], 1) for p in row.pops]
    code = op(name, *operands, immediates=immediates(name))
    f._body += code.data
    return f


@pytest.mark.parametrize("name", PLAIN)
def test_the_engine_accepts_the_instruction_and_reads_its_text_alike(name: str) -> None:
    module = Module()
    module.add(function_of(name), export="f")
    binary = module.encode(pages=1, data=None)
    wasmtime.Module.validate(ENGINE, binary)
    text = f'(module (memory (export "memory") 1 1) (export "f" (func $f)) {function_text(module.functions[0])})'
    assert module.functions[0].body() in wasmtime.wat2wasm(text)


def test_control_flow_validates_and_runs() -> None:
    f = Function("sum", {"count": "i32"}, ["i32"])
    total = f.local("i32", "total", 0)
    with f.block() as done, f.each(1000) as i:
        f.go(done, i >= f.param("count"))
        with f.when(i % 2):
            f.step(total, i)
            f.otherwise()
            f.step(total, 1)
    f._body += total.data
    module = Module()
    module.add(f, export="sum")
    store = wasmtime.Store(ENGINE)
    run = wasmtime.Instance(store, wasmtime.Module(ENGINE, module.encode(1, None)), []).exports(store)["sum"]
    assert run(store, 6) == 1 + 3 + 5 + 3
    assert run(store, 5000) == sum(range(1, 1000, 2)) + 500


def test_a_wrong_operand_fails_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"`f32x4.add` takes vv, got \['f32x4', 'i32'\]"):
        op("f32x4.add", const("f32x4", 0), const("i32", 0))
    with pytest.raises(TypeError, match=r"`i32.add`: operands are i32 and f32"):
        const("i32", 1) + const("f32", 1.0)
    with pytest.raises(TypeError, match="would stay on the stack"):
        Function("f").emit(const("i32", 1))


def test_addresses_are_added_up_while_they_are_written() -> None:
    x = Code("i32", b"\x20\0")
    assert ((x + 0) * 1).data == x.data
    assert (const("i32", 6) * 7 - 2).constant == 40
