"""`wasi_ephemeral_nn`: the site's models by name, in every data type and dialect, and what is wrong is told."""

import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from littoral.errors import ArtifactError, SettingError
from littoral.runtime.wasi_nn_tensors import DIALECTS
from littoral.tensors import DTYPES
from modules_in_text import model, port, variant
from neural_guests import BUFFER, DATA, FUNCTIONS, NAME, NN, OUT, TENSOR, X4, Calls, Models, opened, ready, run, whole
from tracked import ROOT

INVALID_ARGUMENT, INVALID_ENCODING, RUNTIME_ERROR, UNSUPPORTED, TOO_LARGE, NOT_FOUND = 1, 2, 5, 6, 7, 8


@pytest.fixture
def doubling() -> Iterator[Models]:
    models = Models(m=model())
    yield models
    models.close()


def test_a_model_of_the_site_answers(doubling: Models) -> None:
    with opened(doubling) as guest:
        answer = run(guest, whole(Calls()))
    assert answer.errnos == [0, 0, 0, 0, 0]
    assert (answer.u32(OUT), answer.u32(OUT + 4), answer.u32(OUT + 8)) == (1, 2, 16)
    np.testing.assert_array_equal(np.frombuffer(answer.data, "<f4", 4, BUFFER), 2 * X4)


def identity(dtype: str, shape: list[int]) -> bytes:
    """A model that gives back its input."""
    size = max(1, int(np.prod(shape))) * DTYPES[dtype].bytes
    body = f"(memory.copy (i32.const 2048) (i32.const 1024) (i32.const {size}))"
    ports = [port("x", dtype, shape, 1024)], [port("y", dtype, shape, 2048)]
    return model(body, variants=[variant("run", *ports)])


OTHERS = {
    "int8": ["uint8"],
    "bool": ["uint8"],
    "int4": ["uint8"],
    "float8_e4m3fn": ["uint8"],
    "uint32": ["int32"],
    "uint64": ["int64"],
}
EXPRESSED = [
    (dtype, dialect, numbers[name])
    for dialect, numbers in DIALECTS.items()
    for dtype in DTYPES
    for name in OTHERS.get(dtype, [dtype])
    if name in numbers
]
BY_BYTES = [
    (dtype, dialect, DIALECTS[dialect]["uint8"]) for dtype in ("int16", "uint16", "bfloat16") for dialect in DIALECTS
]


@pytest.mark.parametrize(("dtype", "dialect", "kind"), EXPRESSED + BY_BYTES)
def test_every_data_type_in_every_dialect(dtype: str, dialect: str, kind: int) -> None:
    models = Models(m=identity(dtype, [2, 3]))
    data = bytes([0, 1, 1, 0, 1, 0] * DTYPES[dtype].bytes)
    with opened(models) as guest:
        answer = run(guest, whole(Calls(), (2, 3), kind, data))
    models.close()
    assert answer.errnos == [0] * 5
    assert answer.u32(OUT + 8) == len(data)
    assert answer.data[BUFFER : BUFFER + len(data)] == data


def test_a_bool_is_true_for_any_byte_but_zero() -> None:
    models = Models(m=identity("bool", [4]))
    with opened(models) as guest:
        answer = run(guest, whole(Calls(), (4,), 3, b"\0\1\2\xff"))
    models.close()
    assert answer.data[BUFFER : BUFFER + 4] == b"\0\1\1\1"


def test_an_empty_tensor_is_read_as_dialect_b() -> None:
    for dtype, kind in [("float32", 1), ("int64", 5), ("uint8", 3), ("bfloat16", 3)]:
        models = Models(m=identity(dtype, [0, 3]))
        with opened(models) as guest:
            answer = run(guest, whole(Calls(), (0, 3), kind, b""))
        models.close()
        assert (answer.errnos, answer.u32(OUT + 8)) == ([0] * 5, 0)


def test_a_scalar_has_no_dimensions() -> None:
    models = Models(m=identity("int64", []))
    with opened(models) as guest:
        answer = run(guest, whole(Calls(), (), 5, struct.pack("<q", -7)))
    models.close()
    assert answer.errnos == [0] * 5
    assert answer.data[BUFFER : BUFFER + 8] == struct.pack("<q", -7)


WRONG_TENSORS = {
    "another type": ((4,), 4, bytes(16)),
    "a type that nobody has": ((4,), 77, bytes(16)),
    "bytes that are no whole elements": ((4,), 1, bytes(15)),
    "too few": ((4,), 1, bytes(12)),
    "too many": ((4,), 1, bytes(20)),
    "no bytes": ((4,), 1, b""),
    "another size": ((5,), 1, bytes(20)),
    "another rank": ((2, 2), 1, bytes(16)),
    "no dimension": ((), 1, bytes(4)),
    "a product beyond 64 bits": ((0xFFFFFFFF,) * 4, 1, bytes(16)),
    "halves for floats": ((4,), 0, bytes(8)),
    "raw bits for floats": ((4,), 3, bytes(16)),
}


@pytest.mark.parametrize("what", WRONG_TENSORS)
def test_a_tensor_that_the_model_does_not_take(doubling: Models, what: str) -> None:
    shape, kind, data = WRONG_TENSORS[what]
    with opened(doubling) as guest:
        answer = run(guest, whole(Calls(), shape, kind, data))
        assert answer.errnos == [0, 0, INVALID_ARGUMENT, RUNTIME_ERROR, RUNTIME_ERROR]
        calls = Calls()
        calls.call("set_input", 2, 0, calls.tensor(TENSOR, (4,), 1, X4.tobytes())).call("compute", 2)
        assert run(guest, calls).errnos == [0, 0]


def test_calls_out_of_order(doubling: Models) -> None:
    with opened(doubling) as guest:
        calls = ready(Calls())
        calls.call("compute", 2)
        calls.call("get_output", 2, 0, DATA + BUFFER, 64, DATA + OUT)
        tensor = calls.tensor(TENSOR, (4,), 1, X4.tobytes())
        calls.call("set_input", 2, 0, tensor).call("get_output", 2, 0, DATA + BUFFER, 64, DATA + OUT)
        calls.call("compute", 2).call("set_input", 2, 0, tensor)
        calls.call("get_output", 2, 0, DATA + BUFFER, 64, DATA + OUT)
        answer = run(guest, calls)
    late = RUNTIME_ERROR
    assert answer.errnos == [0, 0, late, late, 0, late, 0, 0, late]


def test_inputs_stay_for_the_next_compute(doubling: Models) -> None:
    with opened(doubling) as guest:
        assert run(guest, whole(Calls())).errnos == [0] * 5
        calls = Calls().call("compute", 2).call("get_output", 2, 0, DATA + BUFFER, 64, DATA + OUT)
        answer = run(guest, calls)
    assert answer.errnos == [0, 0]
    np.testing.assert_array_equal(np.frombuffer(answer.data, "<f4", 4, BUFFER), 2 * X4)


def test_handles_of_another_kind_of_another_instance_and_of_nobody(doubling: Models) -> None:
    with opened(doubling) as guest, opened(doubling) as other:
        assert run(other, whole(Calls())).errnos == [0] * 5
        calls = Calls()
        tensor = calls.tensor(TENSOR, (4,), 1, X4.tobytes())
        for handle in (0, 1, 2, -1, 2**31):
            calls.call("init_execution_context", handle, DATA)
            calls.call("set_input", handle, 0, tensor).call("compute", handle)
            calls.call("get_output", handle, 0, DATA + BUFFER, 64, DATA)
        assert set(run(guest, calls).errnos) == {INVALID_ARGUMENT}
        calls = ready(Calls()).call("init_execution_context", 2, DATA).call("compute", 1)
        assert run(guest, calls).errnos == [0, 0, INVALID_ARGUMENT, INVALID_ARGUMENT]


def test_what_there_is_not(doubling: Models) -> None:
    with opened(doubling) as guest:
        calls = whole(Calls())
        tensor = DATA + TENSOR
        for index in (1, -1, 2**31):
            calls.call("set_input", 2, index, tensor).call("get_output", 2, index, DATA + BUFFER, 64, DATA)
        assert run(guest, calls).errnos[5:] == [INVALID_ARGUMENT] * 6
        calls = Calls()
        for name, errno in (
            (b"n", NOT_FOUND),
            (b"", NOT_FOUND),
            (b"\xff\xfe", INVALID_ARGUMENT),
            (b"m" * 300, TOO_LARGE),
        ):
            calls.call("load_by_name", calls.put(NAME, name), len(name), DATA)
            assert run(guest, calls).errnos == [errno]
            calls = Calls()


def test_a_buffer_that_is_too_small_is_left_alone(doubling: Models) -> None:
    with opened(doubling) as guest:
        run(guest, whole(Calls()))
        calls = Calls()
        calls.put(BUFFER, b"z" * 16)
        calls.put(OUT, b"\7\7\7\7")
        calls.call("get_output", 2, 0, DATA + BUFFER, 15, DATA + OUT)
        answer = run(guest, calls)
    assert answer.errnos == [TOO_LARGE]
    assert answer.data[BUFFER : BUFFER + 16] == b"z" * 16
    assert answer.u32(OUT) == 0x07070707


def test_it_must_be_granted_by_name_or_as_a_whole(doubling: Models) -> None:
    with pytest.raises(ArtifactError, match=r"is not granted · hint: `grants = \[\"wasi_ephemeral_nn\"\]`"):
        opened(doubling, grants=())
    with pytest.raises(SettingError, match=r"agent `a`: no model `n` to be granted, there are: `m`"):
        opened(doubling, grants=(f"{NN}:n",))
    with pytest.raises(SettingError, match="grant `littoral.log:m` is unknown"):
        opened(doubling, grants=("littoral.log:m",))
    models = Models(m=model(), n=model())
    with opened(models, grants=(f"{NN}:n",)) as guest:
        calls = Calls()
        calls.call("load_by_name", calls.put(NAME, b"m"), 1, DATA).call(
            "load_by_name", calls.put(NAME + 1, b"n"), 1, DATA
        )
        assert run(guest, calls).errnos == [NOT_FOUND, 0]
    models.close()


def test_why_a_call_was_refused_is_in_the_log(doubling: Models, caplog: pytest.LogCaptureFixture) -> None:
    with opened(doubling) as guest, caplog.at_level("DEBUG", "littoral.agents"):
        calls = whole(Calls(), kind=0, data=bytes(8))
        calls.call("load_by_name", calls.put(NAME + 8, b"n\n"), 2, DATA)
        run(guest, calls)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"a: {NN}.set_input: error 1: input `x` float32[4]: type 0 (float16), expected float32"
    assert lines[-1] == f"a: {NN}.load_by_name: error 8: no model `n` for this agent, there are: `m`"


def test_agents_in_parallel_have_instances_of_their_own(doubling: Models) -> None:
    results: list[list[int]] = []

    def work() -> None:
        with opened(doubling) as guest:
            run(guest, whole(Calls()))
            results.extend(run(guest, Calls().call("compute", 2)).errnos for _ in range(50))

    before = threading.stack_size(2 << 20)
    threads = [threading.Thread(target=work) for _ in range(4)]
    threading.stack_size(before)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0]] * 200


def test_the_functions_are_listed_on_the_page() -> None:
    page = (ROOT / "docs/reference/agent-abi.md").read_text()
    assert [name for name in FUNCTIONS if f"| `{name}` |" not in page] == []
