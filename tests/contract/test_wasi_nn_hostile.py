"""`wasi_ephemeral_nn` and guests that do everything wrong: numbers, memory, time and stacks."""

import random
import struct
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from littoral.errors import DeadlineError, TrapError
from littoral.runtime.agents import Agent
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import load
from littoral.runtime.wasi_nn import CONTEXTS_MAX, MODELS_MAX, OfferedModel
from modules_in_text import agent, compiled_here, model, port, variant
from neural_guests import (
    BUFFER,
    DATA,
    FUNCTIONS,
    MEMORY_BYTES,
    NAME,
    NN,
    OUT,
    TENSOR,
    X4,
    Calls,
    Models,
    driver,
    opened,
    ready,
    run,
    whole,
)

INVALID_ARGUMENT, INVALID_ENCODING, RUNTIME_ERROR, UNSUPPORTED, TOO_LARGE, NOT_FOUND = 1, 2, 5, 6, 7, 8


@pytest.fixture
def doubling() -> Iterator[Models]:
    models = Models(m=model())
    yield models
    models.close()


def test_models_in_bytes_are_refused(doubling: Models) -> None:
    with opened(doubling) as guest:
        calls = Calls()
        for encoding, target, errno in [
            (1, 0, UNSUPPORTED),
            (5, 2, UNSUPPORTED),
            (6, 0, INVALID_ENCODING),
            (-1, 0, INVALID_ENCODING),
            (1, 4, INVALID_ARGUMENT),
        ]:
            calls.call("load", calls.put(NAME, bytes(8)), 1, encoding, target, DATA)
            assert run(guest, calls).errnos == [errno]
            calls = Calls()
        calls.call("load", DATA, 2**31, 1, 0, DATA).call("load", DATA, -1, 1, 0, DATA)
        assert run(guest, calls).errnos == [INVALID_ARGUMENT] * 2


WILD = [MEMORY_BYTES, MEMORY_BYTES - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 20]
POINTERS = {
    "load": [(0, (0, 1, 1, 0, DATA)), (4, (DATA, 1, 1, 0, 0))],
    "load_by_name": [(0, (0, 20, DATA)), (2, (DATA + NAME, 1, 0))],
    "init_execution_context": [(1, (1, 0))],
    "set_input": [(2, (2, 0, 0))],
    "get_output": [(2, (2, 0, 0, 64, DATA)), (4, (2, 0, DATA + BUFFER, 64, 0))],
}


@pytest.mark.parametrize("name", POINTERS)
def test_every_pointer_that_leads_outside_is_an_error(doubling: Models, name: str) -> None:
    with opened(doubling) as guest:
        run(guest, whole(Calls()))
        for at, values in POINTERS[name]:
            for wild in WILD:
                calls = Calls()
                calls.put(NAME, b"m")
                calls.call(name, *(wild if i == at else value for i, value in enumerate(values)))
                assert run(guest, calls).errnos == [INVALID_ARGUMENT], (at, wild)
        calls = Calls()  # an input that could not be read is not there any more
        calls.call("set_input", 2, 0, calls.tensor(TENSOR, (4,), 1, X4.tobytes())).call("compute", 2)
        assert run(guest, calls).errnos == [0, 0]


@pytest.mark.parametrize("word", range(5))
def test_every_word_of_a_tensor_may_lie(doubling: Models, word: int) -> None:
    with opened(doubling) as guest:
        run(guest, ready(Calls()))
        for wild in (*WILD, 1 << 24):
            calls = Calls()
            tensor = calls.tensor(TENSOR, (4,), 1, X4.tobytes())
            calls.put(TENSOR + 4 * word, struct.pack("<I", wild & 0xFFFFFFFF))
            calls.call("set_input", 2, 0, tensor).call("compute", 2)
            assert run(guest, calls).errnos == [INVALID_ARGUMENT, RUNTIME_ERROR], wild


def test_answers_may_be_written_over_each_other(doubling: Models) -> None:
    with opened(doubling) as guest:
        run(guest, whole(Calls()))
        answer = run(guest, Calls().call("get_output", 2, 0, DATA + BUFFER + 1, 16, DATA + BUFFER + 3))
    assert answer.errnos == [0]
    assert answer.u32(BUFFER + 3) == 16


@pytest.mark.parametrize("seed", range(20))
def test_guests_that_call_anything_with_anything(doubling: Models, seed: int) -> None:
    rng = random.Random(seed)
    likely = [0, 1, 2, 3, 4, 5, 16, 20, 64, DATA, DATA + NAME, DATA + TENSOR, DATA + BUFFER, MEMORY_BYTES - 8, *WILD]
    with opened(doubling) as guest:
        for _ in range(10):
            calls = whole(Calls())
            for _ in range(100):
                values = [rng.choice(likely) if rng.random() < 0.9 else rng.getrandbits(32) for _ in range(5)]
                calls.call(rng.choice(FUNCTIONS), *values)
            if rng.random() < 0.5:
                calls.put(rng.randrange(4096 - 64), rng.randbytes(64))
            run(guest, calls)
        assert guest.statistics().failures == 0


def test_an_old_context_ends_when_there_are_too_many(doubling: Models) -> None:
    with opened(doubling) as guest:
        calls = ready(Calls())
        for _ in range(CONTEXTS_MAX - 1):
            calls.call("init_execution_context", 1, DATA)
        calls.call("compute", 2).call("init_execution_context", 1, DATA)  # the first was used last but one
        calls.call("compute", 2).call("compute", 3).call("compute", 4)
        errnos = run(guest, calls).errnos
    assert errnos[: CONTEXTS_MAX + 1] == [0] * (CONTEXTS_MAX + 1)
    assert errnos[CONTEXTS_MAX + 1 :] == [RUNTIME_ERROR, 0, RUNTIME_ERROR, INVALID_ARGUMENT, RUNTIME_ERROR]


def test_a_model_is_opened_once_and_no_more_than_eight(doubling: Models) -> None:
    models = Models(**{f"m{i}": model() for i in range(MODELS_MAX + 1)})
    with opened(models) as guest:
        for again in range(2):
            calls = Calls()
            for i in range(MODELS_MAX + 1):
                calls.call("load_by_name", calls.put(NAME + 2 * i, b"m%d" % i), 2, DATA + 4 * i + 1024)
            answer = run(guest, calls)
            assert answer.errnos == [0] * MODELS_MAX + [TOO_LARGE], again
            assert [answer.u32(1024 + 4 * i) for i in range(MODELS_MAX)] == list(range(1, MODELS_MAX + 1))
        assert len(models.made) == MODELS_MAX
    assert all(session.statistics().memory_bytes == 0 for session in models.made)  # closed with the agent
    models.close()


def test_a_model_that_was_replaced_is_opened_anew(doubling: Models) -> None:
    with opened(doubling) as guest:
        before = guest.digest
        assert run(guest, whole(Calls())).errnos == [0] * 5
        triple = "(v128.store (i32.const 1088) (f32x4.add (v128.load (i32.const 1024)) (v128.load (i32.const 1088))))"
        doubling.sessions["n"] = load(model(triple))
        doubling["m"] = OfferedModel("another", partial(doubling._another, "n"))
        assert run(guest, Calls().call("compute", 2)).errnos == [0]  # until it is loaded again
        calls = Calls()
        calls.call("load_by_name", calls.put(NAME, b"m"), 1, DATA + OUT).call("compute", 2)
        calls.call("init_execution_context", 1, DATA + OUT).call("init_execution_context", 3, DATA + OUT + 4)
        answer = run(guest, calls)
        assert answer.errnos == [0, INVALID_ARGUMENT, INVALID_ARGUMENT, 0]
        assert (answer.u32(OUT), answer.u32(OUT + 4)) == (3, 4)
        assert doubling.made[0].statistics().memory_bytes == 0
        assert guest.digest != before


def test_what_is_kept_for_a_guest_counts_against_its_memory() -> None:
    size = 100_000
    body = "(memory.copy (i32.const 131072) (i32.const 0) (i32.const 100000))"
    ports = [port("x", "uint8", [size], 0)], [port("y", "uint8", [size], 131072)]
    models = Models(m=model(body, pages="4 4", variants=[variant("run", *ports)]))
    guest = Agent.open(driver(), grants=[NN], models=models, memory_bytes=450_000)
    with guest:
        for i in range(4):
            calls = ready(Calls()) if i == 0 else Calls().call("init_execution_context", 1, DATA)
            dims = calls.put(TENSOR + 20, struct.pack("<I", size))
            tensor = calls.put(TENSOR, struct.pack("<IIB3xII", dims, 1, 3, 0, size))
            calls.call("set_input", 2 + i, 0, tensor).call("compute", 2 + i)
            errnos = run(guest, calls).errnos[-2:]
            assert errnos == ([0, 0] if i < 2 else [TOO_LARGE, RUNTIME_ERROR])
    models.close()


TRAPS = {"a trap": "(unreachable)", "no end": "(loop $l (br $l))"}


@pytest.mark.parametrize("what", TRAPS)
def test_a_model_that_fails_costs_an_error_and_its_own_instance(what: str) -> None:
    bad = f"(if (f32.eq (f32.load (i32.const 1024)) (f32.const 666)) (then {TRAPS[what]}))"
    double = "(v128.store (i32.const 1088) (f32x4.add (v128.load (i32.const 1024)) (v128.load (i32.const 1024))))"
    models = Models(m=model(bad + double))
    with opened(models) as guest:
        answer = run(guest, whole(Calls(), data=np.full(4, 666, "<f4").tobytes()))
        assert answer.errnos == [0, 0, 0, RUNTIME_ERROR, RUNTIME_ERROR]
        calls = Calls()
        calls.call("set_input", 2, 0, calls.tensor(TENSOR, (4,), 1, X4.tobytes())).call("compute", 2)
        assert run(guest, calls).errnos == [0, 0]
        assert guest.statistics().failures == 0
    models.close()


def test_a_model_is_held_to_what_is_left_of_the_agents_deadline() -> None:
    models = Models(m=model("(loop $l (br $l))"))
    models.sessions["m"].close()
    models.sessions["m"] = load(model("(loop $l (br $l))"), deadline_ms=60_000)
    with opened(models, deadline_ms=500) as guest:
        calls = whole(Calls())
        for _ in range(50):
            calls.call("compute", 2)
        with pytest.raises(DeadlineError, match="`infer` did not finish in 500 ms"):
            guest.infer(calls.program())
        assert run(guest, ready(Calls())).errnos == [0, 0]
    assert all(session.statistics().failures <= 1 for session in models.made)
    models.close()


def test_stacks_of_agent_and_model_fit_one_thread_together() -> None:
    """The agent is near the end of its stack when it calls, and the model goes over the end of its own."""
    model_of = model("(call $deep)", extra="(func $deep (call $deep))")
    dive = """(func $dive (param $n i32) (result i32) (local $v v128)
      (if (result i32) (i32.eqz (local.get $n)) (then (call $compute (i32.const 2)))
        (else (i32.add (call $dive (i32.sub (local.get $n) (i32.const 1))) (i32.const 0)))))"""
    imports = "".join(
        f'(import "{NN}" "{name}" (func ${name} (param {params}) (result i32)))'
        for name, params in [
            ("load_by_name", "i32 i32 i32"), ("init_execution_context", "i32 i32"), ("set_input", "i32 i32 i32"),
            ("compute", "i32"),
        ]
    )  # fmt: skip
    tensor = "".join(f"\\{byte:02x}" for byte in struct.pack("<I", 4) + struct.pack("<IIB3xII", 64, 1, 1, 0, 16))
    infer = f"""(drop (call $load_by_name (i32.const 60) (i32.const 1) (i32.const 0)))
      (drop (call $init_execution_context (i32.const 1) (i32.const 0)))
      (drop (call $set_input (i32.const 2) (i32.const 0) (i32.const 68)))
      (i32.store (i32.const 2048) (call $dive (i32.load (local.get $at)))) {packed_at(2048, 4)}"""
    wasm = agent(infer, imports=imports, extra=f'(data (i32.const 60) "m\\00\\00\\00{tensor}") {dive}')
    for engine in ("guarded", "trusted"):
        models = Models(m=compiled_here(model_of) if engine == "trusted" else model_of)
        assert models.sessions["m"].engine == engine
        with Agent.open(wasm, grants=[NN], models=models) as guest, GuestThreads(1) as threads:
            deepest = _deepest(guest, threads)
            assert deepest > 100
        models.close()


def packed_at(pointer: int, size: int) -> str:
    return f"(i64.const {pointer << 32 | size})"


def _deepest(guest: Agent, threads: GuestThreads) -> int:
    """The deepest dive from which the model's failure still comes back as error 5; deeper ones trap in the agent."""
    low, high = 0, 1 << 16
    while high - low > 1:
        depth = (low + high) // 2
        try:
            answer = threads.submit(guest.infer, struct.pack("<I", depth)).result()
        except TrapError as error:
            assert error.code == "call stack exhausted"
            high = depth
        else:
            assert answer == struct.pack("<I", RUNTIME_ERROR)
            low = depth
    return low
