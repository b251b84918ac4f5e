"""What the Rust SDK makes of the agent ABI, spoken to without a runtime in between: a test for every promise."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import wasmtime

from agent_host import AgentHost, AgentRefusalError
from littoral.artifact import AgentManifest, custom_section
from littoral.artifact.sections import sections
from littoral.errors import AgentError, DeadlineError, MemoryCapError, TrapError
from littoral.runtime.agents import Agent
from littoral.tensors import decode_frame, encode_frame

INPUT, UNSUPPORTED, CONFIG, ORDER, BUFFER, MEMORY = -1, -3, -4, -5, -6, -7
GUESTS = Path(__file__).parents[2] / "guests"


def refusal(host: AgentHost, data: bytes) -> tuple[int, str]:
    with pytest.raises(AgentRefusalError) as caught:
        host.infer(data)
    return caught.value.number, caught.value.text


def test_init_configures_and_infer_answers(probe: Path) -> None:
    assert AgentHost(probe).infer(b"echo hello") == b"> hello"
    assert AgentHost(probe, {"prefix": "é:"}).infer(b"echo hello") == "é:hello".encode()
    assert AgentHost(probe).infer(b"echo ") == b"> "
    with pytest.raises(
        AgentRefusalError, match="config: unknown key `prefxi` · hint: did you mean `prefix`?"
    ) as caught:
        AgentHost(probe, {"prefxi": "x"})
    assert caught.value.number == CONFIG


def test_errors_have_a_number_and_a_text(probe: Path) -> None:
    host = AgentHost(probe)
    assert host.call("last_error") == 0
    assert refusal(host, b"dance") == (UNSUPPORTED, "unknown word `dance`")
    assert refusal(host, b"index x") == (INPUT, "`x` is no number")
    assert refusal(host, b"own 345") == (-345, "an error of its own")
    assert refusal(host, b"own 1") == (-100, "an error of its own")
    assert refusal(host, b"\xff" * 9000)[1].startswith("unknown word `\ufffd")
    assert len(host.last_error().encode()) <= 2048
    assert host.infer(b"echo still here") == b"> still here"


def test_a_frame_goes_in_and_out(probe: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    host = AgentHost(probe)
    (y,) = decode_frame(host.infer(b"double " + encode_frame({"x": x}))).values()
    np.testing.assert_array_equal(y, 2 * x)
    frame = encode_frame({"x": x.astype(np.float64)})
    assert refusal(host, b"double " + frame) == (INPUT, "dtype is float64, expected float32")
    assert refusal(host, b"double " + encode_frame({"z": x})) == (INPUT, "tensor `x` is missing, got `z`")
    whole = encode_frame({"x": x})
    for length in range(len(whole)):
        assert refusal(host, b"double " + whole[:length])[1].startswith("safetensors frame: ")


def test_calls_out_of_order(probe: Path) -> None:
    host = AgentHost(probe, None)
    assert host.call("infer", *host.put(b"echo x")) == ORDER
    assert host.last_error() == "`infer` was called before `init` succeeded"
    assert host.call("describe") == ORDER
    assert host.call("init", *host.put(b"{}")) == 0
    assert host.call("init", *host.put(b"{}")) == ORDER
    assert host.last_error() == "`init` was called twice"
    assert host.infer(b"echo x") == b"> x"


def test_describe(probe: Path) -> None:
    assert AgentHost(probe).describe() == {"input": "bytes", "output": "bytes"}


def test_pointers_that_alloc_did_not_give(probe: Path) -> None:
    host = AgentHost(probe)
    pointer, size = host.put(b"echo abc")
    assert host.read(host.call("infer", pointer, size - 1)) == b"> ab"
    for at, length in [(pointer, size + 1), (pointer - 1, 2), (0, 5), (pointer, -1), (-8, 4)]:
        assert host.call("infer", at, length) == BUFFER
        assert host.last_error().endswith("lie in no buffer that `alloc` gave")
    host.call("reset")
    assert host.call("infer", pointer, size) == BUFFER


def test_answers_stay_until_reset(probe: Path) -> None:
    host = AgentHost(probe)
    first = host.call("infer", *host.put(b"echo first"))
    second = host.call("infer", *host.put(b"echo second"))
    assert host.read(first) == b"> first"
    assert host.read(second) == b"> second"


def test_alloc_gives_aligned_buffers_or_null(probe: Path) -> None:
    host = AgentHost(probe, memory_bytes_max=4 << 20)
    for size in (0, 1, 17, 100_000):
        assert host.call("alloc", size) % 16 == 0
    assert host.call("alloc", 64 << 20) == 0
    assert host.last_error() == "out of memory: 67108864 more bytes cannot be had"
    assert host.call("alloc", -1) == 0
    host.call("reset")
    for _ in range(64):
        assert host.call("alloc", 8)
    assert host.call("alloc", 8) == 0
    assert host.last_error() == "more than 64 buffers without a `reset`"


def test_a_panic_can_be_read_after_the_trap(probe: Path) -> None:
    for data, text in [
        (b"panic 1234", r"panic at probe/src/lib\.rs:\d+: asked to, with 4 bytes"),
        (b"index 99", r"panic at probe/src/lib\.rs:\d+: index out of bounds: the len is 8 but the index is 99"),
    ]:
        host = AgentHost(probe)
        with pytest.raises(wasmtime.Trap) as caught:
            host.call("infer", *host.put(data))
        assert caught.value.trap_code is wasmtime.TrapCode.UNREACHABLE
        assert re.fullmatch(text, host.last_error())


def test_memory_that_cannot_be_had(probe: Path) -> None:
    host = AgentHost(probe, memory_bytes_max=4 << 20)
    assert refusal(host, b"take 50000000") == (MEMORY, "out of memory: 50000000 more bytes cannot be had")
    assert host.infer(b"take 1000") == b"\2" * 1000
    with pytest.raises(wasmtime.Trap):
        host.call("infer", *host.put(b"eat 50000000"))
    assert host.last_error() == "out of memory: 50000000 more bytes cannot be had"


def test_an_answer_has_at_most_64_mebibytes(probe: Path) -> None:
    host = AgentHost(probe)
    assert refusal(host, b"take 67108865") == (-2, "answer of 67108865 bytes, at most 67108864")
    assert len(host.infer(b"take 67108864")) == 64 << 20


def test_log(probe: Path) -> None:
    host = AgentHost(probe)
    assert host.infer(b"log \xc3\xa9") == b""
    assert host.logged == [(1, "é"), (2, "é"), (3, "é"), (4, "é")]


def test_memory_is_flat(probe: Path) -> None:
    host = AgentHost(probe)
    sizes = [10, 100_000, 3, 1_000_000, 5000]
    for size in sizes * 3:
        host.infer(b"echo " + bytes(size))
    settled = host.memory_bytes
    for i in range(500):
        host.infer(b"echo " + bytes(sizes[i * i % 5]))
    assert host.memory_bytes == settled


def test_through_the_runtime(probe: Path) -> None:
    with Agent.open(probe, {"prefix": "- "}, memory_bytes=8 << 20, deadline_ms=500) as agent:
        assert agent.infer(b"echo one") == b"- one"
        with pytest.raises(AgentError, match="agent `probe`: unknown word `dance`") as refused:
            agent.infer(b"dance")
        assert refused.value.number == UNSUPPORTED
        with pytest.raises(TrapError, match="panic at probe/src/lib.rs:.*: asked to, with 3 bytes"):
            agent.infer(b"panic now")
        with pytest.raises(MemoryCapError, match="out of memory: 99000000 more bytes cannot be had"):
            agent.infer(b"eat 99000000")
        with pytest.raises(DeadlineError):
            agent.infer(b"spin")
        with pytest.raises(TrapError):
            agent.infer(b"recurse 1000000")
        assert agent.infer(b"echo two") == b"- two"
        assert agent.statistics().failures == 4


def test_the_modules_use_nothing_that_an_engine_may_lack(image: Path, probe: Path) -> None:
    config = wasmtime.Config()
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    engine = wasmtime.Engine(config)
    for path, imports in ((image, []), (probe, ["littoral.log"])):
        module = wasmtime.Module(engine, path.read_bytes())
        assert [f"{i.module}.{i.name}" for i in module.imports] == imports
        manifest = AgentManifest.decode(custom_section(path.read_bytes(), "littoral.agent") or b"")
        assert list(manifest.imports) == imports
        assert manifest.name == path.stem


def test_no_path_of_the_machine_that_built_them_is_in_the_modules(image: Path, probe: Path) -> None:
    for path in (image, probe):
        data = path.read_bytes()
        for place in (b"/root", b"/home", b"/usr", b"/tmp", b"/work", b".cargo"):
            assert place not in data
        assert {s.name for s in sections(data) if s.id == 0} <= {"littoral.agent", "producers", "target_features"}


def test_the_frame_header_is_padded_so_that_tensors_are_aligned(probe: Path) -> None:
    host = AgentHost(probe)
    word = host.call("infer", *host.put(b"double " + encode_frame({"x": np.ones(3, np.float32)})))
    frame = host.read(word)
    (length,) = struct.unpack("<Q", frame[:8])
    assert ((word >> 32) + 8 + length) % 8 == 0
