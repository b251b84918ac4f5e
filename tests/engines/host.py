"""A host: what runs a folder of cases in an engine; and what hosts need that is made once and kept."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.batch import TARGETS
from needs import need
from tracked import ROOT

__all__ = ["HERE", "KEPT", "RUN_TIMEOUT_S", "Engine", "Host", "fetch", "kept", "run_host", "started"]

HERE = Path(__file__).parent
KEPT = ROOT / ".cache" / "engines"
RUN_TIMEOUT_S = 240
FETCH_TIMEOUT_S = 240

# Runs the cases of the plan in the second folder, whose modules and inputs lie in the first.
Host = Callable[[Path, Path], None]


class Engine(NamedTuple):
    """targets: what it can run. wide: whether it is quick enough for every operator case. threads: if it has any."""

    name: str
    host: Host
    targets: Sequence[str] = TARGETS
    wide: bool = True
    threads: bool = False


def run_host(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """A command that ends with 0, in time and without a word on stderr."""
    with started(command, env, stderr=subprocess.PIPE) as process:
        _, told = process.communicate(timeout=RUN_TIMEOUT_S)
    if process.returncode or told:
        pytest.fail(f"`{command[0]}` ended with {process.returncode}: {told.decode()[-2000:]}")


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, stderr: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is gone behind the block, with all that it started."""
    with subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def kept(name: str, pins: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, for all runs with the same pins: as a whole or not at all, whoever asks first."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / f"{name}-{hashlib.sha256(pins.encode()).hexdigest()[:16]}"
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        for old in KEPT.glob(f"{name}-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=KEPT, prefix="making-") as making:
            made = Path(making) / "made"
            made.mkdir()
            make(made)
            made.rename(folder)
    return folder


def fetch(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Output of a command that downloads; skips where it fails, as it does without a network."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S
    )
    need(done.returncode == 0, f"what `{command[0]}` would fetch: {done.stderr.strip()[-500:]}")
    return done.stdout
