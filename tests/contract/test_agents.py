"""Agents: the ABI kept, and every way in which a guest can break it."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from littoral.artifact import digest
from littoral.errors import (
    AgentError,
    ArtifactError,
    DeadlineError,
    InputError,
    LittoralError,
    MemoryCapError,
    NotFoundError,
    SandboxError,
    SettingError,
    SetupError,
    TooLargeError,
    TrapError,
    TrustError,
    UnavailableError,
)
from littoral.runtime.agents import Agent
from littoral.runtime.builtin_agents import builtin_agent
from littoral.tensors import encode_frame
from littoral.testing import SimulatedClock
from modules_in_text import ALLOC, ECHO, LOG, PAGE, agent, binary, packed

LOOP = "(loop $on (br $on))"
RECURSION = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"


def when_asked(misbehave: str, otherwise: str = ECHO) -> str:
    """`misbehave` for an input that begins with `!`."""
    return f"""(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then {misbehave})) {otherwise}"""


def echoes(guest: Agent) -> bool:
    return guest.infer(b"hello") == b"hello"


def test_an_agent_answers_with_a_copy() -> None:
    with Agent.open(agent()) as guest:
        first = guest.infer(b"hello")
        assert guest.infer(memoryview(bytearray(b"other"))) == b"other"
        assert first == b"hello"
        assert guest.infer(b"") == b""
        assert (guest.name, guest.input, guest.output, guest.engine) == ("a", "bytes", "bytes", "guarded")


def test_reset_is_called_after_each_answer_so_memory_does_not_grow() -> None:
    with Agent.open(agent(memory="2 2")) as guest:
        payload = bytes(50_000)
        assert all(guest.infer(payload) == payload for _ in range(1000))
        assert guest.statistics().memory_bytes == 2 * PAGE


def test_init_gets_the_configuration() -> None:
    keep = "(global.set $at_config (local.get $at)) (global.set $size_config (local.get $size)) (i32.const 0)"
    tell = """(i64.or (i64.shl (i64.extend_i32_u (global.get $at_config)) (i64.const 32))
                     (i64.extend_i32_u (global.get $size_config)))"""
    extra = "(global $at_config (mut i32) (i32.const 0)) (global $size_config (mut i32) (i32.const 0))"
    wasm = agent(tell, init=keep, reset="", extra=extra)
    assert Agent.open(wasm, {"width": 224}).infer(b"") == b'{"width":224}'
    assert Agent.open(wasm).infer(b"") == b"{}"
    assert Agent.open(wasm, b"\0model").infer(b"") == b"\0model"


def test_an_agent_that_refuses_its_configuration_says_why() -> None:
    with pytest.raises(AgentError, match="agent `decode`: not my type") as caught:
        Agent.open(agent(init="(i32.const -7)"), name="decode")
    assert caught.value.number == -7


@pytest.mark.parametrize(
    ("last_error", "message"),
    [
        (packed(16, 11), "agent `a`: not my type"),
        ("(i64.const 0)", "agent `a`: `infer` answered with error -5"),
        ("(i64.const -1)", "agent `a`: `infer` answered with error -5"),
        (packed(1 << 20, 4), "agent `a`: `infer` answered with error -5"),
        ("(unreachable)", "agent `a`: `infer` answered with error -5"),
        (LOOP + "(i64.const 0)", "agent `a`: `infer` answered with error -5"),
    ],
    ids=["text", "none", "negative", "outside", "trap", "endless"],
)
def test_an_error_of_the_agent_has_its_number_and_text(last_error: str, message: str) -> None:
    wasm = agent(when_asked("(return (i64.const -5))"), last_error=last_error)
    with Agent.open(wasm, deadline_ms=500) as guest:
        with pytest.raises(AgentError) as caught:
            guest.infer(b"!")
        assert (str(caught.value), caught.value.number) == (message, -5)
        assert echoes(guest)
        assert guest.statistics().refusals == 1


def test_what_an_agent_says_cannot_break_a_terminal_or_a_log() -> None:
    text = b"\x1b[2J\nforged line\xff"
    data = "".join(f"\\{byte:02x}" for byte in text)
    wasm = agent("(i64.const -1)", last_error=packed(64, len(text)), extra=f'(data (i32.const 64) "{data}")')
    with pytest.raises(AgentError) as caught:
        Agent.open(wasm).infer(b"")
    assert caught.value.message == "agent `a`: [2J forged line\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("misbehave", "kind", "message"),
    [
        ("(unreachable)", TrapError, "`infer` trapped in function 3: unreachable: not my type"),
        ("(drop (i32.load (i32.const -4)))", TrapError, "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", TrapError, "integer divide by zero"),
        ("(drop (call $deep (i32.const 0)))", TrapError, "call stack exhausted"),
        (LOOP, DeadlineError, "`infer` did not finish in 500 ms"),
        ("(loop $on (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $on))", DeadlineError, "500 ms"),
        ("(return (i64.const -1000))", SandboxError, "`infer` answered -1000, errors are -1…-999"),
        ("(return (i64.const -9223372036854775808))", SandboxError, "errors are -1…-999"),
        (f"(return {packed(PAGE * 2, 1)})", SandboxError, "1 bytes at 131072 lie outside the 131072 bytes of memory"),
        (f"(return {packed(0, PAGE * 2 + 1)})", SandboxError, "result of `infer`: 131073 bytes at 0 lie outside"),
        (f"(return {packed(0x7FFFFFFF, 0xFFFFFFFF)})", SandboxError, "4294967295 bytes, at most 67108864"),
        (
            "(loop $on (br_if $on (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (unreachable)",
            MemoryCapError,
            "more memory than its 1048576 bytes",
        ),
    ],
)
def test_a_broken_promise_costs_the_caller_an_error_and_the_instance_its_life(
    misbehave: str, kind: type[LittoralError], message: str
) -> None:
    with Agent.open(agent(when_asked(misbehave), extra=RECURSION), deadline_ms=500) as guest:
        with pytest.raises(kind) as caught:
            guest.infer(b"!")
        assert str(caught.value).startswith("agent `a`: ")
        assert message in str(caught.value)
        assert echoes(guest)
        assert guest.statistics().failures == 1


def test_out_of_memory_in_the_agents_words_is_out_of_memory() -> None:
    text = "out of memory: 900 bytes"
    wasm = agent(when_asked("(unreachable)"), last_error=packed(64, len(text)), extra=f'(data (i32.const 64) "{text}")')
    with Agent.open(wasm) as guest, pytest.raises(MemoryCapError, match="agent `a`: out of memory: 900 bytes"):
        guest.infer(b"!")


@pytest.mark.parametrize(
    ("alloc", "kind", "message"),
    [
        ("(i32.const 131072)", SandboxError, "buffer of `alloc`: 5 bytes at 131072 lie outside"),
        ("(i32.const 131068)", SandboxError, "buffer of `alloc`: 5 bytes at 131068 lie outside"),
        ("(i32.const -1)", SandboxError, "5 bytes at 4294967295 lie outside"),
        ("(i32.const -2147483648)", SandboxError, "5 bytes at 2147483648 lie outside"),
        ("(i32.const 0)", MemoryCapError, "`alloc` has no room for 5 bytes"),
        ("(unreachable)", TrapError, "`alloc` trapped"),
        (LOOP + "(i32.const 0)", DeadlineError, "`alloc` did not finish"),
    ],
)
def test_a_bad_alloc_never_makes_the_host_write_outside(alloc: str, kind: type[LittoralError], message: str) -> None:
    only_later = (
        f"(if (i32.eq (local.get $size) (i32.const 5)) (then (return {alloc}))) {ALLOC.replace('(local $at i32)', '')}"
    )
    with Agent.open(agent(alloc="(local $at i32)" + only_later), deadline_ms=500) as guest:
        with pytest.raises(kind) as caught:
            guest.infer(b"hello")
        assert message in str(caught.value)
        assert guest.infer(b"hi") == b"hi"


@pytest.mark.parametrize("reset", ["(unreachable)", LOOP])
def test_a_failing_reset_costs_an_instance_but_not_the_answer(reset: str) -> None:
    armed = f"(if (global.get $armed) (then {reset})) (global.set $top (i32.const 4096))"
    infer = f"(global.set $armed (i32.const 1)) {ECHO}"
    wasm = agent(infer, reset=armed, extra="(global $armed (mut i32) (i32.const 0))")
    with Agent.open(wasm, deadline_ms=500) as guest:
        assert echoes(guest)
        assert echoes(guest)
        assert guest.statistics().failures == 2


@pytest.mark.parametrize(
    ("wasm", "kind", "message"),
    [
        (agent(imports='(import "env" "exec" (func))'), ArtifactError, r"agent `a`: import `env\.exec` is refused"),
        (
            agent(imports='(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'),
            ArtifactError,
            r"import `wasi_snapshot_preview1\.fd_write` is not granted",
        ),
        (
            agent(imports='(import "littoral" "log" (func (param i64)))'),
            ArtifactError,
            r"import `littoral\.log` is \(i64\) -> \(\), offered",
        ),
        (agent(imports='(import "littoral" "log" (global i32))'), ArtifactError, r"import `littoral\.log` is global"),
        (agent(imports='(import "env" "v" (func (param v128)))'), ArtifactError, r"import `env\.v` is refused"),
        (
            binary("(module)", "littoral.agent", {"name": "a", "version": "1"}),
            ArtifactError,
            "no exported function `alloc`",
        ),
        (
            agent().replace(b"\5reset", b"\5resex"),
            ArtifactError,
            r"no exported function `reset`, expected \(\) -> \(\)",
        ),
        (
            agent(extra='(func (export "describe"))'),
            ArtifactError,
            r"export `describe` is \(\) -> \(\), expected \(\) -> i64",
        ),
        (agent(memory_bytes_max=2 << 30), ArtifactError, "`memory_bytes_max` is 2147483648"),
        (agent(deadline_ms=0), ArtifactError, "`deadline_ms` is 0"),
        (agent(format=2), ArtifactError, "format"),
        (
            agent(input=[{"name": "x", "dtype": "complex64", "shape": []}]),
            ArtifactError,
            "input `x`: unknown dtype `complex64`",
        ),
        (agent(output=[{"name": "x", "dtype": "int8", "shape": [-2]}]), ArtifactError, "output `x`: bad shape"),
        (agent(output=[{"name": "x", "dtype": "int8", "shape": [1]}] * 2), ArtifactError, "output: a name comes twice"),
        (agent(memory="32 32"), MemoryCapError, "needs 2097152 bytes of memory to start, may have 1048576"),
        (agent(extra="(func $f unreachable) (start $f)"), TrapError, "`start` trapped"),
        (agent(extra=f"(func $f {LOOP}) (start $f)"), DeadlineError, "`start` did not finish in 500 ms"),
        (agent(init=f"{LOOP} (i32.const 0)"), DeadlineError, "`init` did not finish in 500 ms"),
        (agent(init="(i32.const 5)"), SandboxError, "`init` answered 5"),
        (agent(init="(i32.const -1000)"), SandboxError, "`init` answered -1000"),
        (b"(module)", ArtifactError, "not a WebAssembly module"),
        (b"\0asm\1\0\0\0", ArtifactError, "has no section `littoral.agent`"),
    ],
)
def test_an_agent_that_cannot_be_one_is_refused_at_the_start(
    wasm: bytes, kind: type[LittoralError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Agent.open(wasm, start_deadline_ms=500)


def test_the_operators_limits_win_over_the_manifests() -> None:
    wasm = agent(when_asked(LOOP), memory="2", memory_bytes_max=8 * PAGE, deadline_ms=10_000)
    with Agent.open(wasm, memory_bytes=4 * PAGE, deadline_ms=500) as guest:
        with pytest.raises(DeadlineError, match="in 500 ms"):
            guest.infer(b"!")
        with pytest.raises(TooLargeError, match="input of 262145 bytes, its memory holds 262144"):
            guest.infer(bytes(4 * PAGE + 1))
    with pytest.raises(SettingError, match=r"agent `a`: memory in bytes is `1073741825`, must be 1\.\.1073741824"):
        Agent.open(wasm, memory_bytes=(1 << 30) + 1)
    with pytest.raises(SettingError, match=r"agent `a`: grant `wasi` is unknown, known: littoral\.log"):
        Agent.open(wasm, grants=["wasi"])


def test_an_input_of_the_wrong_kind_is_the_callers_fault() -> None:
    with Agent.open(agent()) as guest, pytest.raises(InputError, match="agent `a`: takes bytes, got `dict`"):
        guest.infer({})


X = {"name": "x", "dtype": "float32", "shape": [-1, 2]}


def test_tensors_go_in_and_come_out_as_frames() -> None:
    with Agent.open(agent(input=[X], output=[X])) as guest:
        answer = guest.infer({"x": np.array([[1, 2], [3, 4]], np.float32)})
        assert isinstance(answer, dict)
        assert answer["x"].tolist() == [[1, 2], [3, 4]]
        assert answer["x"].flags.owndata
        for wrong, message in (
            ({"x": np.zeros((2, 3), np.float32)}, r"input: `x` is float32\[2, 3\], expected `x` float32\[\?, 2\]"),
            ({"x": np.zeros((2, 2))}, "input `x`: dtype `float64`, expected `float32`"),
            ({"y": np.zeros((2, 2), np.float32)}, "input: tensors `y`, expected `x`"),
            ({}, "input: tensors none, expected `x`"),
            (b"frame", "takes tensors by name, got `bytes`"),
        ):
            with pytest.raises(InputError, match=message):
                guest.infer(wrong)  # type: ignore[arg-type]


def test_raw_bits_keep_their_dtype_on_the_way_in() -> None:
    bits = {"name": "x", "dtype": "bfloat16", "shape": [2]}
    with Agent.open(agent(input=[bits])) as guest:
        assert b'"dtype":"BF16"' in bytes(guest.infer({"x": np.array([1, 2], np.uint16)}))


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "result of `infer`: safetensors frame: 0 bytes"),
        (b"\xff" * 16, "safetensors frame: header of"),
        (header(b'{"x":' + b"[" * 50_000), "header is no JSON object: maximum recursion depth"),
        (header(b'{"x":{"dtype":"F32","shape":[0,99999999999999],"data_offsets":[0,0]}}'), r"x` is float32\[0, 9"),
        (header(b'{"x":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}'), "impossible shape"),
        (header(b'{"\\u001b[2J":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}'), r"tensor ` \[2J`: unknown dtype"),
        (encode_frame({"y": np.zeros((1, 2), np.float32)}), "output: tensors `y`, expected `x`"),
        (encode_frame({"x": np.zeros((1, 3), np.float32)}), r"output: `x` is float32\[1, 3\], expected"),
        (encode_frame({"x": np.zeros((1, 2), np.int32)}), r"output: `x` is int32\[1, 2\], expected"),
    ],
)
def test_an_answer_that_is_not_what_the_agent_promised_is_the_agents_fault(frame: bytes, message: str) -> None:
    with Agent.open(agent(output=[X])) as guest:
        with pytest.raises(SandboxError, match=message):
            guest.infer(frame)
        good = guest.infer(encode_frame({"x": np.zeros((1, 2), np.float32)}))
        assert isinstance(good, dict)
        assert guest.statistics().failures == 1


def test_an_agent_may_describe_itself_once_it_is_configured() -> None:
    words = b'{"output":[{"name":"image","dtype":"uint8","shape":[224,224,3]}]}'
    data = "".join(f"\\{byte:02x}" for byte in words)
    extra = f'(data (i32.const 64) "{data}") (func (export "describe") (result i64) {packed(64, len(words))})'
    with Agent.open(agent(extra=extra)) as guest:
        assert guest.input == "bytes"
        assert [str(port) for port in guest.output] == ["`image` uint8[224, 224, 3]"]
    deep = '(data (i32.const 2048) "{\\22x\\22:' + "[" * 60_000 + '")'
    for lie, message in (
        (packed(64, 5), "answer of `describe`: "),
        (packed(2048, 30_000), "answer of `describe`: (maximum recursion depth|JSON is malformed)"),
        (packed(1 << 30, 5), "answer of `describe`: 5 bytes at 1073741824 lie outside"),
        ("(i64.const -3)", "not my type"),
    ):
        with pytest.raises(LittoralError, match=message):
            Agent.open(agent(extra=f'{deep} (func (export "describe") (result i64) {lie})'))


def test_log_lines_reach_the_log_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    say = "(call $log (i32.const 2) (local.get $at) (local.get $size))"
    clock = SimulatedClock()
    with Agent.open(agent(say + ECHO, imports=LOG), name="decode", clock=clock) as guest:
        with caplog.at_level(logging.DEBUG, "littoral.agents"):
            guest.infer(b"one\n\x1btwo")
            guest.infer(b"y" * 5000)
        assert [(r.levelname, r.message) for r in caplog.records] == [
            ("WARNING", "decode: one  two"),
            ("WARNING", "decode: " + "y" * 1024),
        ]
        for _ in range(30):
            guest.infer(b"flood")
        assert (guest.statistics().log_lines, guest.statistics().log_lines_dropped) == (20, 12)
        clock.advance(0.5)
        for _ in range(30):
            guest.infer(b"flood")
        assert (guest.statistics().log_lines, guest.statistics().log_lines_dropped) == (30, 32)


def test_a_log_line_outside_memory_is_dropped() -> None:
    say = (
        "(call $log (i32.const 1) (i32.const -1) (i32.const 4)) (call $log (i32.const 1) (i32.const 0) (i32.const -1))"
    )
    with Agent.open(agent(say + ECHO, imports=LOG)) as guest:
        assert echoes(guest)
        assert guest.statistics().log_lines_dropped == 2


def test_an_endless_logger_meets_its_deadline() -> None:
    endless = "(loop $on (call $log (i32.const 1) (i32.const 0) (i32.const 4)) (br $on))"
    with Agent.open(agent(when_asked(endless), imports=LOG), deadline_ms=500) as guest:
        with pytest.raises(DeadlineError):
            guest.infer(b"!")
        assert echoes(guest)


def test_a_lent_answer_is_the_guests_memory_until_it_is_released() -> None:
    with Agent.open(agent()) as guest:
        lent = guest.lend(b"hello")
        assert not isinstance(lent.value, dict)
        assert lent.value.tobytes() == b"hello"
        assert not lent.value.flags.owndata
        with ThreadPoolExecutor(1) as threads:
            second = threads.submit(guest.infer, b"other")
            assert not second.done()
            lent.release()
            lent.release()
            assert second.result(60) == b"other"


def test_use_after_close_is_loud() -> None:
    guest = Agent.open(agent())
    guest.close()
    guest.close()
    with pytest.raises(UnavailableError, match="agent `a`: the agent is closed"):
        guest.infer(b"")
    with pytest.raises(UnavailableError):
        guest.another()


def test_many_threads_share_an_agent() -> None:
    start = threading.Barrier(8)
    with Agent.open(agent()) as guest:

        def work(i: int) -> bool:
            start.wait(60)
            return all(guest.infer(bytes([i]) * 1000) == bytes([i]) * 1000 for _ in range(50))

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(work, range(8)))


@pytest.fixture
def builtin(tmp_path: Path) -> Path:
    (tmp_path / "image.wasm").write_bytes(agent())
    (tmp_path / "digests.toml").write_text(f'[image]\nsha256 = "{digest(agent())}"\n')
    return tmp_path


def test_a_builtin_agent_has_its_digest_in_the_package(builtin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral.runtime.builtin_agents.FOLDER", builtin)
    assert echoes(Agent.open("builtin:image"))
    with pytest.raises(TrustError, match=r"built-in agent `image`: SHA-256 is"):
        Agent.open("builtin:image", sha256="0" * 64)
    (builtin / "image.wasm").write_bytes(agent(name="other"))
    with pytest.raises(TrustError, match=r"image\.wasm`: SHA-256 is"):
        Agent.open("builtin:image")


def test_a_builtin_agent_that_is_missing_is_a_matter_of_setup(builtin: Path) -> None:
    with pytest.raises(NotFoundError, match="built-in agent `sound` is unknown, known: image"):
        builtin_agent("sound", folder=builtin)
    (builtin / "image.wasm").unlink()
    with pytest.raises(SetupError, match=r"built-in agent `image`: `.*image\.wasm` is missing · hint: .*make guests"):
        builtin_agent("image", folder=builtin)
    (builtin / "digests.toml").write_text("[image")
    with pytest.raises(SetupError, match=r"digests\.toml`: "):
        builtin_agent("image", folder=builtin)
    (builtin / "digests.toml").unlink()
    with pytest.raises(SetupError, match=r"digests\.toml` is missing"):
        builtin_agent("image", folder=builtin)


def test_names_that_a_stranger_chose_are_shown_safely(installation: Path) -> None:
    escape = "\\1b[2J\\0a" + "x" * 1000
    wasm = agent(imports=f'(import "env" "{escape}" (func))')
    path = installation / "a.wasm"
    path.write_bytes(wasm)
    with pytest.raises(ArtifactError) as caught:
        Agent.open(path)
    assert caught.value.message.startswith(f"`{path}`: agent `a`: import `env. [2J xxx")
    assert len(caught.value.message) < 500
    with Agent.open(agent(name="\x1b[2J" + "n" * 1000)) as guest:
        assert guest.label == "agent `[2J" + "n" * 296 + "…`"
