"""WASI preview 1 for agents that are granted it: what it gives, that the rest is an error, and that nothing waits."""

import struct
from typing import Any

import pytest

from littoral.errors import ArtifactError, SandboxError, TrapError
from littoral.runtime.agents import Agent
from littoral.runtime.host_modules import WASI, WASI_FUNCTIONS
from littoral.testing import SimulatedClock
from modules_in_text import agent, packed

BADF, FAULT, INVAL, NOSYS, NOTCAPABLE = 8, 21, 28, 52, 76
MEMORY_BYTES = 2 << 16


def call(name: str, *values: int, set_up: str = "") -> str:
    """`infer` that calls a function; its answer is the error number and 60 bytes from 1024 on."""
    signature = WASI_FUNCTIONS[name].partition(" -> ")[0].strip("()").split(", ")
    given = " ".join(f"({kind}.const {value})" for kind, value in zip(signature, values, strict=True))
    return f"{set_up} (i32.store (i32.const 1020) (call $f {given})) {packed(1020, 64)}"


def importing(*names: str) -> str:
    types = {name: WASI_FUNCTIONS[name].replace(",", "").split(" -> ") for name in names}
    return "".join(
        f'(import "{WASI}" "{name}" (func $f (param {params.strip("()")})'
        f"{'' if result == '()' else f' (result {result})'}))"
        for name, (params, result) in types.items()
    )


def answer(name: str, *values: int, set_up: str = "", clock: Any = None, extra: str = "") -> tuple[int, bytes]:
    wasm = agent(call(name, *values, set_up=set_up), imports=importing(name), extra=extra)
    more = {} if clock is None else {"clock": clock}
    with Agent.open(wasm, grants=[WASI], **more) as guest:
        given = guest.infer(b"")
    assert isinstance(given, bytes)
    return struct.unpack_from("<I", given)[0], given[4:]


def test_it_must_be_granted() -> None:
    wasm = agent(imports=importing("sched_yield").replace("(param )", ""))
    with pytest.raises(ArtifactError, match=r"is not granted · hint: `grants = \[\"wasi_snapshot_preview1\"\]`"):
        Agent.open(wasm)
    with Agent.open(wasm, grants=[WASI]) as guest:
        assert guest.infer(b"x") == b"x"


def test_clocks() -> None:
    clock = SimulatedClock()
    for which, seconds in ((0, clock.wall()), (1, clock.monotonic())):
        errno, data = answer("clock_time_get", which, 1, 1024, clock=clock)
        assert (errno, struct.unpack_from("<Q", data)[0]) == (0, int(seconds * 1e6) * 1000)
    assert answer("clock_time_get", 2, 1, 1024)[0] == INVAL
    assert answer("clock_time_get", 0, 1, MEMORY_BYTES - 7)[0] == FAULT
    assert struct.unpack_from("<Q", answer("clock_res_get", 1, 1024)[1])[0] == 1000


def test_random_bytes_are_bounded() -> None:
    first, second = (answer("random_get", 1024, 60)[1] for _ in range(2))
    assert first != second
    assert answer("random_get", 1024, 0)[0] == 0
    assert answer("random_get", 1024, (1 << 16) + 1)[0] == INVAL
    assert answer("random_get", 1024, -1)[0] == INVAL
    assert answer("random_get", MEMORY_BYTES - 10, 20)[0] == FAULT


def test_no_arguments_and_no_environment() -> None:
    for name in ("args_sizes_get", "environ_sizes_get"):
        set_up = "(i64.store (i32.const 1024) (i64.const -1))"
        assert answer(name, 1024, 1028, set_up=set_up) == (0, bytes(60))
        assert answer(name, MEMORY_BYTES, 1028)[0] == FAULT
    assert answer("args_get", 0, 0)[0] == answer("environ_get", 0, 0)[0] == 0


def vectors(*spans: tuple[int, int]) -> str:
    words = [word for span in spans for word in span]
    return "".join(f"(i32.store (i32.const {512 + 4 * i}) (i32.const {word}))" for i, word in enumerate(words))


def test_what_is_printed_goes_to_the_log_by_lines(caplog: pytest.LogCaptureFixture) -> None:
    text = '(data (i32.const 2048) "one\\ntwo, cut\\nthree")'
    with caplog.at_level("INFO", "littoral.agents"):
        for fd in (1, 2):
            errno, data = answer("fd_write", fd, 512, 2, 1024, set_up=vectors((2048, 8), (2056, 10)), extra=text)
            assert (errno, struct.unpack_from("<I", data)[0]) == (0, 18)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "a: one"), ("INFO", "a: two, cut"), ("INFO", "a: three"),
        ("WARNING", "a: one"), ("WARNING", "a: two, cut"), ("WARNING", "a: three"),
    ]  # fmt: skip


def test_prints_are_bounded_in_every_way(caplog: pytest.LogCaptureFixture) -> None:
    whole = vectors(*[(0, MEMORY_BYTES)] * 16)
    with caplog.at_level("INFO", "littoral.agents"):
        errno, data = answer("fd_write", 1, 512, 16, 1024, set_up=whole)
    assert (errno, struct.unpack_from("<I", data)[0]) == (0, 1 << 14)
    assert sum(len(record.getMessage()) for record in caplog.records) < 2000
    assert answer("fd_write", 1, 512, 1025, 1024)[0] == INVAL
    assert answer("fd_write", 1, 512, -1, 1024)[0] == INVAL
    assert answer("fd_write", 1, MEMORY_BYTES - 4, 1, 1024)[0] == FAULT
    assert answer("fd_write", 1, 512, 1, 1024, set_up=vectors((MEMORY_BYTES - 1, 2)))[0] == FAULT
    assert answer("fd_write", 1, 512, 1, MEMORY_BYTES - 3, set_up=vectors((0, 1)))[0] == FAULT
    assert answer("fd_write", 3, 512, 1, 1024)[0] == BADF


def test_standard_streams_look_like_streams() -> None:
    assert answer("fd_read", 0, 512, 1, 1024, set_up="(i32.store (i32.const 1024) (i32.const 9))") == (0, bytes(60))
    errno, data = answer("fd_fdstat_get", 1, 1024)
    assert (errno, data[0], struct.unpack_from("<Q", data, 8)[0]) == (0, 2, 1 << 6)
    assert answer("fd_fdstat_get", 3, 1024)[0] == answer("fd_prestat_get", 3, 1024)[0] == BADF


UNOFFERED = sorted(
    set(WASI_FUNCTIONS)
    - {"proc_exit", "sched_yield", "random_get", "fd_write", "fd_read", "fd_fdstat_get", "fd_close"}
    - {name for name in WASI_FUNCTIONS if name.startswith(("args_", "environ_", "clock_"))}
)


@pytest.mark.parametrize("name", UNOFFERED)
def test_files_sockets_and_waiting_are_errors(name: str) -> None:
    count = WASI_FUNCTIONS[name].partition(" -> ")[0].count("i")
    for value in (0, 3, -1):
        assert answer(name, *[value] * count)[0] in (BADF, NOSYS, NOTCAPABLE)


def test_an_agent_that_ends_itself_is_told_with_its_code() -> None:
    imports = f'(import "{WASI}" "proc_exit" (func $exit (param i32)))'
    wasm = agent("(call $exit (i32.const 3)) (unreachable)", imports=imports)
    careless = agent(f"(call $exit (i32.const 3)) {packed(0, 0)}", imports=imports)
    for ended in (wasm, careless):
        with Agent.open(ended, grants=[WASI]) as guest:
            for failures in (1, 2):
                with pytest.raises(SandboxError, match="agent `a`: `infer` ended itself with exit code 3"):
                    guest.infer(b"")
                assert guest.statistics().failures == failures


def test_a_reactor_is_initialised_first() -> None:
    started = """(global $ready (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $ready (i32.const 1)))"""
    with Agent.open(agent(init="(i32.eqz (global.get $ready))", extra=started)) as guest:
        assert guest.infer(b"x") == b"x"
    broken = '(func (export "_initialize") unreachable)'
    with pytest.raises(TrapError, match="`_initialize` trapped"):
        Agent.open(agent(extra=broken))
