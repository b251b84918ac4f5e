"""A guest built with the crate wasi-nn as it is published, for wasm32-wasip1: models of the site by name."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.errors import AgentError, ArtifactError
from littoral.runtime.abi import grants_for
from littoral.runtime.agents import Agent
from littoral.runtime.instance import Session, load
from littoral.runtime.interface import read_interface
from littoral.runtime.wasi_nn import OfferedModel
from littoral.tensors import Array
from modules_in_text import model, port, variant
from onnx_models import squeeze_excite

GRANTS = ["wasi_ephemeral_nn", "wasi_snapshot_preview1"]
F16, F32, F64, U8, I32, I64 = range(6)


def asked(name: str, kind: int, array: Array) -> bytes:
    return f"{name}\n{' '.join(map(str, (kind, *array.shape)))}\n".encode() + array.tobytes()


@pytest.fixture
def sessions() -> Iterator[dict[str, Session]]:
    embedder = littoral.compile(squeeze_excite(32), name="embedder")
    ports = [port("x", "int64", [2], 1024)], [port("y", "int64", [2], 1088)]
    body = "(v128.store (i32.const 1088) (v128.load (i32.const 1024)))"
    found = {"embedder": load(embedder), "same": load(model(body, variants=[variant("run", *ports)]))}
    yield found
    for session in found.values():
        session.close()


@pytest.fixture
def guest(neural: Path, sessions: dict[str, Session]) -> Iterator[Agent]:
    models = {name: OfferedModel(session.digest, session.another) for name, session in sessions.items()}
    with Agent.open(neural, grants=GRANTS, models=models) as agent:
        yield agent


def answer(guest: Agent, request: bytes) -> bytes:
    given = guest.infer(request)
    assert isinstance(given, bytes)
    return given


def test_a_compiled_model_answers_as_it_does_to_the_host(guest: Agent, sessions: dict[str, Session]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):  # more contexts than are kept
        pixels = rng.standard_normal((1, 3, 32, 32), np.float32)
        (expected,) = sessions["embedder"].run({"x": pixels}).values()
        assert answer(guest, asked("embedder", F32, pixels)) == expected.tobytes()
    assert guest.statistics().failures == 0


def test_numbers_of_64_bits_stay_as_they_are(guest: Agent) -> None:
    values = np.array([2**62 + 1, -1], np.int64)
    assert answer(guest, asked("same", I64, values)) == values.tobytes()


@pytest.mark.parametrize(
    ("request_bytes", "error"),
    [
        (asked("nobody", F32, np.zeros(4, np.float32)), "Not Found"),
        (asked("same", F32, np.zeros(2, np.float32)), "invalid argument"),
        (asked("same", I64, np.zeros(3, np.int64)), "invalid argument"),
        (asked("", U8, np.zeros(8, np.uint8)), "Unsupported Operation"),
    ],
)
def test_errors_are_those_of_the_crate(guest: Agent, request_bytes: bytes, error: str) -> None:
    with pytest.raises(AgentError, match=error) as caught:
        guest.infer(request_bytes)
    assert caught.value.number == -100
    assert answer(guest, asked("same", I64, np.arange(2))) == np.arange(2).tobytes()


def test_what_it_prints_is_in_the_log(
    neural: Path, sessions: dict[str, Session], caplog: pytest.LogCaptureFixture
) -> None:
    models = {name: OfferedModel(session.digest, session.another) for name, session in sessions.items()}
    with caplog.at_level(logging.INFO, "littoral.agents"), Agent.open(neural, grants=GRANTS, models=models) as agent:
        agent.infer(asked("same", I64, np.arange(2)))
    assert [record.getMessage() for record in caplog.records] == [
        "neural: started",
        "neural: same: 16 bytes, in time",
    ]


def test_it_needs_two_grants(neural: Path) -> None:
    assert grants_for(read_interface(neural.read_bytes())) == tuple(GRANTS)
    for grants in ([], GRANTS[:1], GRANTS[1:]):
        with pytest.raises(ArtifactError, match="is not granted"):
            Agent.open(neural, grants=grants)


def test_it_holds_no_path_of_the_machine_that_built_it(neural: Path) -> None:
    assert str(Path(__file__).parents[2]).encode() not in neural.read_bytes()
