"""What only shows in whole processes: imports, shared caches, memory that stays flat, an orderly end."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.errors import TrapError
from littoral.runtime.agents import Agent
from modules_in_text import agent, model

FEEDS = {"x": np.arange(4, dtype=np.float32)}
PAGE_BYTES = 4096
SLACK_BYTES = 4 << 20


def python(code: str, installation: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"LITTORAL_CACHE": str(installation / "cache"), "LITTORAL_STATE": str(installation / "state")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def test_importing_littoral_imports_nothing_heavy(installation: Path) -> None:
    code = "import littoral, sys; print(*(m for m in ('wasmtime', 'numpy', 'msgspec') if m in sys.modules))"
    assert python(code, installation).stdout == "\n"


def test_every_public_name_can_be_had() -> None:
    for name in littoral.__all__:
        assert getattr(littoral, name) is not None
    assert set(littoral.__all__) <= set(dir(littoral))
    with pytest.raises(AttributeError, match="module `littoral` has no attribute `nothing`"):
        littoral.nothing  # noqa: B018


LOAD = """
import littoral, numpy, sys
session = littoral.load(sys.argv[1])
print(session.is_cached, session.run({"x": numpy.arange(4, dtype="float32")})["y"].tolist())
"""


def test_machine_code_is_shared_by_processes(installation: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(model())
    first = python(LOAD, installation, str(path))
    assert (first.stdout, first.stderr) == ("False [0.0, 2.0, 4.0, 6.0]\n", "")
    assert python(LOAD, installation, str(path)).stdout == "True [0.0, 2.0, 4.0, 6.0]\n"


def test_processes_that_start_together_do_not_disturb_each_other(installation: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(model())
    with ThreadPoolExecutor(4) as threads:
        ended = list(threads.map(lambda _: python(LOAD, installation, str(path)), range(4)))
    assert [(e.returncode, e.stderr, e.stdout.endswith(" [0.0, 2.0, 4.0, 6.0]\n")) for e in ended] == [
        (0, "", True)
    ] * 4
    assert python(LOAD, installation, str(path)).stdout.startswith("True")


def test_a_process_ends_in_order_while_a_guest_still_runs(installation: Path, tmp_path: Path) -> None:
    path = tmp_path / "endless.wasm"
    path.write_bytes(model("(loop $on (br $on))"))
    code = """
import littoral, numpy, sys
from littoral.runtime.guest_threads import GuestThreads
session = littoral.load(sys.argv[1], deadline_ms=60_000)
threads = GuestThreads(1)
threads.submit(session.run, {"x": numpy.zeros(4, "float32")})
while not threads.statistics().busy:
    pass
print(threads.close(timeout_s=0.0))
"""
    ended = python(code, installation, str(path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")


def test_a_forked_child_has_deadlines_too(installation: Path, tmp_path: Path) -> None:
    path = tmp_path / "endless.wasm"
    path.write_bytes(model("(loop $on (br $on))"))
    code = """
import littoral, numpy, os, sys
session = littoral.load(sys.argv[1], deadline_ms=20)
def run():
    try:
        session.run({"x": numpy.zeros(4, "float32")})
    except littoral.errors.DeadlineError:
        return 0
    return 1
assert run() == 0
if (child := os.fork()) == 0:
    os._exit(run())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ended = python(code, installation, str(path))
    assert (ended.stdout, ended.returncode) == ("0\n", 0)


def test_memory_stays_flat_over_a_thousand_runs() -> None:
    with littoral.load(model()) as session, Agent.open(agent()) as guest:

        def work() -> None:
            session.run(FEEDS)
            guest.infer(b"hello")

        for _ in range(200):
            work()
        before = resident_bytes()
        for _ in range(1000):
            work()
        assert resident_bytes() - before < SLACK_BYTES


def test_memory_stays_flat_over_replaced_and_reloaded_instances() -> None:
    """Every instance touches 2 MiB, so that a leak of one in ten would show."""
    wasm = model("(memory.fill (i32.const 4096) (i32.const 1) (i32.const 2000000)) (unreachable)", pages="32 32")

    def work(session: littoral.Session) -> None:
        with pytest.raises(TrapError):
            session.run(FEEDS)
        littoral.load(model()).close()

    with littoral.load(wasm) as session:
        for _ in range(10):
            work(session)
        before = resident_bytes()
        for _ in range(100):
            work(session)
        assert resident_bytes() - before < 5 * SLACK_BYTES
