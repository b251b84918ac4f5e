"""What becomes of a small model with a byte of its file changed: an error of ours, or ONNX Runtime's own result.

ONNX Runtime reads broken files in a process of its own: it may fall.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import wasmtime

from littoral.artifact import Manifest, custom_section
from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.onnx.tensors import read_tensor
from littoral.errors import LittoralError
from model_host import run_bare

ANSWER_S_MAX = 30
COMPILE_CPU_S_MAX = 5
LIMIT = 1e-3
_SPAWN = multiprocessing.get_context("spawn")


class Peer:
    """ONNX Runtime in a process of its own."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.pipe, inner = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(inner,), daemon=True)
        self.process.start()
        inner.close()

    def run(self, model: bytes, feeds: dict[str, Any]) -> dict[str, Any] | None:
        """Its outputs, or None where it refuses, falls or does not end."""
        self.pipe.send((model, feeds))
        with contextlib.suppress(EOFError, ConnectionResetError):
            if self.pipe.poll(ANSWER_S_MAX):
                found: dict[str, Any] | None = self.pipe.recv()
                return found
        self.close()
        self._start()
        return None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def peer() -> Iterator[Peer]:
    found = Peer()
    try:
        yield found
    finally:
        found.close()


def _serve(pipe: Connection) -> None:
    import resource

    import onnxruntime

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    while True:
        try:
            model, feeds = pipe.recv()
        except EOFError:
            return
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            results = session.run(None, feeds)
            pipe.send(dict(zip([o.name for o in session.get_outputs()], results, strict=True)))
        except Exception:  # noqa: BLE001  # every refusal is alike here
            pipe.send(None)


def outcome(model: bytes, other: Peer) -> tuple[str, str]:
    """`error`, `equal`, `alone` where only we have a result; everything else is a fault, with what is known of it."""
    began = time.process_time()
    try:
        wasm = compile_model(model).wasm
    except LittoralError as error:
        return ("error", "") if str(error) else ("fault", "an error without words")
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        return "fault", f"compiling: {error!r}"
    if (took_s := time.process_time() - began) > COMPILE_CPU_S_MAX:
        return "fault", f"compiling took {took_s:.1f} s"
    feeds = feeds_of(wasm)
    try:
        got: dict[str, Any] | None = run_bare(wasm, feeds)
    except wasmtime.Trap:
        got = None
    want = other.run(model, feeds)
    if want is None:
        return "alone", ""
    if got is None:
        return "fault", "it traps, ONNX Runtime does not"
    kind, why = _compared(got, want)
    return ("alone", "") if kind == "fault" and _has_endless_weights(model) else (kind, why)


def feeds_of(wasm: bytes) -> dict[str, Any]:
    section = custom_section(wasm, "littoral.model")
    assert section is not None
    rng = np.random.default_rng(1)
    feeds = {}
    for port in Manifest.decode(section).variants[0].inputs:
        found = rng.integers(0, 2, port.shape) if port.dtype in ("bool", "int64") else rng.uniform(-1, 1, port.shape)
        feeds[port.name] = np.asarray(found).astype(port.dtype)
    return feeds


def _has_endless_weights(model: bytes) -> bool:
    """With a NaN or an infinity among the weights, ONNX Runtime's recurrent kernels cut off what we let through."""
    graph = onnx.decode_model(model).graph
    assert graph is not None
    return not all(
        np.isfinite(data).all()
        for data, dtype in (read_tensor(t, None) for t in graph.initializer)
        if dtype == "float32"
    )


def _compared(got: dict[str, Any], want: dict[str, Any]) -> tuple[str, str]:
    if got.keys() != want.keys():
        return "fault", f"outputs {sorted(got)}, expected {sorted(want)}"
    for name, array in want.items():
        found = got[name]
        if (found.shape, found.dtype) != (array.shape, array.dtype):
            return "fault", f"`{name}` is {found.dtype}{found.shape}, expected {array.dtype}{array.shape}"
        if not _close(found, array):
            return "fault", f"`{name}` is {found.reshape(-1)[:6]}, expected {array.reshape(-1)[:6]}"
    return "equal", ""


def _close(found: Any, wanted: Any) -> bool:
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    finite = np.isfinite(wanted)
    scale = max(float(np.abs(wanted[finite]).max(initial=0)), 1e-3)
    off = np.abs(found[finite].astype(np.float64) - wanted[finite]).max(initial=0)
    return bool(np.array_equal(found[~finite], wanted[~finite], equal_nan=True) and off <= LIMIT * scale)
