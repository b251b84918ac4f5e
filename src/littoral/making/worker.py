"""Work on files that somebody brought, in a process of its own: bounded in memory and time, behind all requests.

It ends with the process that started it. From stdin comes the line of a key, where the files are sealed.
What it says are lines of JSON: `progress`, and at last `done` or `failed`.

    python -m littoral.making.worker WORK FOLDER MEMORY_BYTES SECONDS
"""

import asyncio
import contextlib
import os
import re
import resource
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from littoral import settings
from littoral.clock import SYSTEM
from littoral.errors import DeadlineError, InputError, LittoralError, NodeError, SetupError
from littoral.lifeline import LIFELINE_VARIABLE, STATUS_VARIABLE, Lifeline
from littoral.making.sealed_files import PLAIN, unsealed

__all__ = ["Bounds", "Problem", "Progress", "Tell", "main", "worked"]

NICENESS = 19
LINE_BYTES_MAX = 1 << 24
TOLD_EVERY_S = 0.1
STDOUT = 1
VARIABLES = ("LITTORAL_STATE", "LITTORAL_CACHE", "LITTORAL_CODE_CACHE_MB", "OPENBLAS_NUM_THREADS")
WORKS = {"examine": "examining", "build": "building", "compare": "comparing", "measure": "measuring"}
"""Each has a `work(folder, tell)` whose answer is JSON."""


class Progress(msgspec.Struct, frozen=True):
    """How far one stage of several is."""

    stage: str
    done: int
    total: int


class Problem(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    message: str
    hint: str | None = None


class Bounds(NamedTuple):
    """Of one process. time_s: on the clock, and of the processor for each core."""

    memory_bytes: int
    time_s: int


class _Line(msgspec.Struct, omit_defaults=True):
    progress: Progress | None = None
    done: dict[str, Any] | None = None
    failed: Problem | None = None


_PLACE = re.compile(rf"{PLAIN}\w+/")

Tell = Callable[[str, int, int], None]


async def worked(
    work: str, folder: Path, bounds: Bounds, tell: Callable[[Progress], object], key: bytes = b""
) -> Mapping[str, Any]:
    """What the work gives; who is cancelled meanwhile ends it. key: the line of the one that seals its files, if any.

    Raises InputError for what the files are at fault for, DeadlineError, NodeError for a process that was ended, and
    SetupError where there is none.
    """
    theirs, ours = os.pipe()
    try:
        process = await _started(work, folder, bounds, theirs, key)
    except OSError as error:
        os.close(ours)
        raise SetupError(f"no process to work in: {error}") from error
    finally:
        os.close(theirs)
    try:
        async with asyncio.timeout(bounds.time_s):
            return await _answer(process, work, tell)
    except TimeoutError as error:
        raise DeadlineError(f"`{work}` did not end in {bounds.time_s} s") from error
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _started(work: str, folder: Path, bounds: Bounds, lifeline: int, key: bytes) -> asyncio.subprocess.Process:
    told = {LIFELINE_VARIABLE: str(lifeline), STATUS_VARIABLE: str(STDOUT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "littoral.making.worker", work, str(folder), *map(str, bounds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(lifeline,),
        limit=LINE_BYTES_MAX,
        env=settings.environment(**told, **{name: settings.text(name) for name in VARIABLES}),
    )
    assert process.stdin is not None
    process.stdin.write(key)
    process.stdin.close()
    return process


async def _answer(
    process: asyncio.subprocess.Process, work: str, tell: Callable[[Progress], object]
) -> Mapping[str, Any]:
    assert process.stdout is not None
    async for text in process.stdout:
        line = msgspec.json.decode(text, type=_Line)
        if line.progress is not None:
            tell(line.progress)
        if line.failed is not None:
            raise InputError(line.failed.message, hint=line.failed.hint)
        if line.done is not None:
            return line.done
    code = await process.wait()
    raise NodeError(f"`{work}`: its process ended with {code}", hint="was memory short? The kernel's log says so")


class _Teller:
    """Says how far it is, but not too often."""

    def __init__(self) -> None:
        self._stage, self._told_at = "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = SYSTEM.monotonic()
        if stage == self._stage and done < total and now - self._told_at < TOLD_EVERY_S:
            return
        self._stage, self._told_at = stage, now
        _say(_Line(progress=Progress(stage, done, total)))


def _say(line: _Line) -> None:
    data = memoryview(msgspec.json.encode(line) + b"\n")
    while data:
        data = data[os.write(STDOUT, data) :]


def main(arguments: list[str]) -> int:
    """Exit code 0 whatever is wrong with the files."""
    work, folder, memory_bytes, time_s = arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3])
    Lifeline.attach()
    key = sys.stdin.buffer.read()
    os.nice(NICENESS)
    cpu_s = time_s * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    _say(_worked(work, folder, memory_bytes, key))
    return 0


def _worked(work: str, folder: Path, memory_bytes: int, key: bytes) -> _Line:
    try:
        module = import_module(f"littoral.making.{WORKS[work]}")
        with unsealed(folder, key) as plain:
            return _Line(done=module.work(plain, _Teller()))
    except LittoralError as error:
        return _Line(failed=Problem(_PLACE.sub("", error.message.replace(f"{folder}/", "")), error.hint))
    except MemoryError:
        return _Line(
            failed=Problem(f"needs more than {memory_bytes >> 20} MiB of memory", "`littoral build` elsewhere")
        )
    except Exception as error:  # noqa: BLE001  whoever waits gets an answer
        words = f"internal error: {type(error).__name__}: {str(error)[:400]}"
        return _Line(failed=Problem(words, "`littoral build` tells more"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
