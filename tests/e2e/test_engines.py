"""The same bits everywhere: every engine gives, for every target that it can run, what the first engine gives."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from engines import ENGINES, Engine
from engines.batch import TARGETS, THREADED, differences, plan, write_cases
from engines.subjects import Subject, integers, networks, operators, threaded
from onnx_models import single

SETS: Mapping[str, Callable[[Path], Iterable[Subject]]] = {
    "networks": networks,
    "operators": lambda _: operators(),
    "integers": lambda _: integers(),
    "threaded": lambda _: threaded(),
}


def prepared(factory: pytest.TempPathFactory, name: str) -> tuple[Path, Path]:
    """Cases, and what the first engine makes of the first target; once a run, whatever the number of processes."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"engines-{name}"
    folder.mkdir(exist_ok=True)
    cases, wanted = folder / "cases", folder / "wanted"
    done, failed = folder / "done", folder / "failed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            assert not failed.exists(), "the cases could not be made, see the first test that failed"
            failed.touch()
            write_cases(cases, SETS[name](folder), THREADED if name == "threaded" else TARGETS)
            plan(cases, wanted, TARGETS[:1])
            ENGINES[0].host(cases, wanted)
            failed.rename(done)
    return cases, wanted


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_networks(engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert run(engine, "networks", tmp_path / "out", tmp_path_factory) == []


@pytest.mark.parametrize("engine", [e for e in ENGINES if e.wide], ids=lambda engine: engine.name)
def test_operators(engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert run(engine, "operators", tmp_path / "out", tmp_path_factory) == []


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_integers(engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert run(engine, "integers", tmp_path / "out", tmp_path_factory) == []


@pytest.mark.parametrize("engine", [e for e in ENGINES if e.threads], ids=lambda engine: engine.name)
def test_threads(engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Modules that several threads share the work of."""
    assert run(engine, "threaded", tmp_path / "out", tmp_path_factory) == []


def run(engine: Engine, name: str, out: Path, factory: pytest.TempPathFactory) -> list[str]:
    cases, wanted = prepared(factory, name)
    plan(cases, out, engine.targets)
    engine.host(cases, out)
    return differences(cases, wanted, out, engine.targets)


def test_a_bit_that_differs_is_told(tmp_path: Path) -> None:
    x = np.float32([[0.5, -1, np.nan, 3]])
    cases, wanted, got = (tmp_path / name for name in ("cases", "wanted", "got"))
    write_cases(cases, [Subject("exp", single("Exp", {"x": x}), [{"x": x}])])
    plan(cases, wanted, TARGETS)
    ENGINES[0].host(cases, wanted)
    shutil.copytree(wanted, got)
    file = got / f"0-0-{TARGETS[-1]}.out"
    bits = np.fromfile(file, np.uint32)
    (bits ^ np.uint32([0, 0, 1, 0])).tofile(file)  # another NaN
    assert differences(cases, wanted, got, TARGETS) == []
    (bits ^ np.uint32([0, 1, 0, 0])).tofile(file)
    (line,) = differences(cases, wanted, got, TARGETS)
    assert line.startswith(f"exp #0 {TARGETS[-1]}: `y0` [0, 1] is ")
    assert line.endswith("; 1 of 4 differ")
