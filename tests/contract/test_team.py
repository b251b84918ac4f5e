"""Models made for several threads: what starts them, what stops them, and who hears of a failure."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

import littoral
from littoral.errors import ArtifactError, MemoryCapError, TrapError, TrustError, UnavailableError
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.pool import Pool
from modules_in_text import PAGE, binary, compiled_here, model, variant
from onnx_models import NETWORKS
from waiting import until

FEEDS = {"x": np.random.default_rng(0).normal(size=(1, 3, 40, 40)).astype(np.float32)}
NAME = "littoral-team"


@pytest.fixture(scope="module")
def network() -> bytes:
    return NETWORKS["inverted_residual"](40)


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    until(lambda: not helpers())


def answer(session: littoral.Session) -> bytes:
    (y,) = session.run(FEEDS).values()
    return bytes(y.tobytes())


def by_hand(run: str, helped: str, **manifest: Any) -> bytes:
    """A module for two threads. Word 64 calls the other one to a run, word 128 ends the wait of either."""
    text = f"""(module (import "littoral" "memory" (memory 2 2 shared))
      (func $wake (param i32 i32)
        (i32.atomic.store (local.get 0) (local.get 1))
        (drop (memory.atomic.notify (local.get 0) (i32.const -1))))
      (func $wait (param i32) (drop (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const -1))))
      (func (export "run") {run})
      (func (export "help") (param i32) (call $wait (i32.const 64)) {helped})
      (func (export "stop") (call $wake (i32.const 64) (i32.const 2)) (call $wake (i32.const 128) (i32.const 2))))"""
    about = {
        "format": 1,
        "name": "m",
        "version": "1.0.0",
        "compiler": "by hand",
        "target": "simd128",
        "threads": 2,
        "source_sha256": "",
        "memory": {"pages": 2, "weights": [0, 0], "arena": [1024, 4096]},
        "variants": [variant()],
        "layers": [],
    }
    return compiled_here(binary(text, "littoral.model", about | manifest))


WORKS = "(call $wake (i32.const 64) (i32.const 1)) (call $wait (i32.const 128))"
X = {"x": np.arange(4, dtype=np.float32)}


def test_its_threads_start_with_a_session_and_end_with_it(network: bytes) -> None:
    with littoral.load(littoral.compile(network, threads=3)) as session:
        assert len(helpers()) == 2
        assert session.engine == "threaded"
        answer(session)
    until(lambda: not helpers())
    with pytest.raises(UnavailableError):
        session.run(FEEDS)


def test_a_session_that_is_forgotten_ends_its_threads(network: bytes) -> None:
    session = littoral.load(littoral.compile(network, threads=2))
    answer(session)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    until(lambda: not helpers())


def test_between_runs_the_threads_sleep(network: bytes) -> None:
    with littoral.load(littoral.compile(network, threads=2)) as session:
        (helper,) = helpers()
        stat = Path(f"/proc/self/task/{helper.native_id}/stat")
        for _ in range(3):
            answer(session)
            until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")


def test_a_trap_in_another_thread_is_the_callers_error(network: bytes) -> None:
    session = littoral.load(by_hand(WORKS, "unreachable"))
    for failures in (1, 2):
        with pytest.raises(TrapError, match="model `m`: `help` trapped.*unreachable"):
            session.run(X)
        assert session.statistics().failures == failures
    session.close()


BY_RATE = """<ir_version: 9, opset_import: ["": 17]> g (float[400, n] x, int64 rate) => (float[400, m] y)
<int64 full = {16000}, int64[2] narrow = {400, 40}, int64[2] wide = {400, 60}> {
    e = Exp(x)
    is_full = Equal(rate, full)
    z = If(is_full)<
        then_branch = a () => (float[400, 60] long) { long = Reshape(e, wide) },
        else_branch = b () => (float[400, 40] short) { short = Reshape(e, narrow) }>
    y = Exp(z) }"""


def test_a_trap_in_the_callers_thread_ends_the_others_and_the_next_run_works() -> None:
    source = bytes(parser.parse_model(BY_RATE).SerializeToString())
    x = np.random.default_rng(1).normal(size=(400, 60)).astype(np.float32)
    with littoral.load(littoral.compile(source, {"x": x.shape}, threads=2)) as session:
        for _ in range(3):
            with pytest.raises(TrapError):
                session.run({"x": x, "rate": np.array(8000)})
            until(lambda: not helpers())
            y = session.run({"x": x, "rate": np.array(16000)})["y"]
            assert np.allclose(y, np.exp(np.exp(x)), rtol=1e-5)


def test_two_sessions_work_side_by_side(network: bytes) -> None:
    made = littoral.compile(network, threads=2)
    with littoral.load(made) as first, first.another() as second, ThreadPoolExecutor(4) as callers:
        want = answer(first)
        jobs = [callers.submit(answer, session) for session in (first, second) * 50]
        assert {job.result(timeout=240) for job in jobs} == {want}


def test_a_pool_counts_the_threads_of_its_instances(network: bytes) -> None:
    session = littoral.load(littoral.compile(network, threads=2))
    with GuestThreads(2) as threads, Pool(session, name="m", threads=threads, instances_max=2) as pool:
        assert pool.run_sync(answer) == pool.run_sync(answer)
        assert (pool.statistics().instances, pool.statistics().threads) == (1, 2)


def test_in_a_pool_it_is_divided_only_where_a_core_is_idle(network: bytes) -> None:
    session = littoral.load(littoral.compile(network, threads=2))
    goes_on = threading.Event()
    with GuestThreads(2) as threads, Pool(session, name="m", threads=threads) as pool:
        session.divide_on(threads)
        want = pool.run_sync(answer)
        other = threads.submit(goes_on.wait, 60)
        assert {pool.run_sync(answer) for _ in range(20)} == {want}
        goes_on.set()
        assert other.result(60)


def test_machine_code_comes_from_the_cache(network: bytes) -> None:
    made = littoral.compile(network, threads=2)
    for is_cached in (False, True):
        with littoral.load(made) as session:
            assert (session.is_cached, session.engine) == (is_cached, "threaded")


def test_a_module_from_elsewhere_gets_no_threads(network: bytes) -> None:
    wasm = bytearray(littoral.compile(network, threads=2).wasm)
    wasm += b"\0\5\4more"
    with pytest.raises(TrustError, match="made for several threads") as caught:
        littoral.load(bytes(wasm))
    assert "--threads" in (caught.value.hint or "")


def test_its_memory_has_a_cap(network: bytes) -> None:
    made = littoral.compile(network, threads=2)
    with pytest.raises(MemoryCapError, match="needs .* bytes, may have 65536"):
        littoral.load(made, memory_bytes=PAGE)


def test_what_the_manifest_claims_is_held_against_the_module() -> None:
    with pytest.raises(ArtifactError, match="imports `littoral.memory`, a compiled model imports nothing"):
        littoral.load(by_hand("", "", threads=1))
    with pytest.raises(ArtifactError, match="imported shared memory is none"):
        littoral.load(compiled_here(model(threads=2)))
    with pytest.raises(ArtifactError, match="imported shared memory is 131072..131072 bytes, the manifest says 196608"):
        littoral.load(by_hand("", "", memory={"pages": 3, "weights": [0, 0], "arena": [1024, 4096]}))
    with pytest.raises(ArtifactError, match=r"`threads` is 9, must be 1\.\.8"):
        littoral.load(by_hand("", "", threads=9))


FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import littoral

x = {"x": np.zeros((1, 3, 40, 40), np.float32)}
with littoral.load(sys.argv[1]) as session:
    want = [y.tobytes() for y in session.run(x).values()]
    child = os.fork()
    got = [y.tobytes() for y in session.run(x).values()]
    if not child:
        session.close()
        os._exit(got != want)
    assert os.waitpid(child, 0)[1] == 0 and got == want
print("both")
"""


def test_a_child_process_gets_threads_of_its_own(network: bytes, tmp_path: Path, installation: Path) -> None:
    littoral.compile(network, threads=2).save(tmp_path / "m.wasm")
    folders = {"LITTORAL_STATE": str(installation / "state"), "LITTORAL_CACHE": str(installation / "cache")}
    command = [sys.executable, "-c", FORKED, str(tmp_path / "m.wasm")]
    done = subprocess.run(command, env=os.environ | folders, capture_output=True, text=True, timeout=240)
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr
