"""Machine code of a model that was never seen here, made in a process of its own with the lowest priority.

Compiling takes every core for a second and more, and memory that a process does not give back: not while requests run.
What it makes is found in the cache; what goes wrong is told by whoever loads the model next.

    python -m littoral.node.machine_code FILE [THRESHOLD ACCEPTS_OWN KEY ...]
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from littoral import settings
from littoral.artifact.manifest import MODEL_SECTION
from littoral.errors import LittoralError
from littoral.runtime.modules import has_machine_code, load_module

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

__all__ = ["main", "make_machine_code"]

LARGE_BYTES = 1 << 18  # less is compiled sooner than a process starts
NICENESS = 19
COMPILE_S_MAX = 120.0
VARIABLES = ("LITTORAL_STATE", "LITTORAL_CACHE", "LITTORAL_CODE_CACHE_MB")


async def make_machine_code(source: Path | bytes, signers: "Signers | None" = None) -> None:
    """Until it is there, or cannot be had. signers: who must have signed it."""
    if await asyncio.to_thread(_is_small, source):
        return
    if await asyncio.to_thread(has_machine_code, source, MODEL_SECTION, signers):
        return
    if isinstance(source, Path):
        await _compile(source, signers)
        return
    with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
        await asyncio.to_thread(_write, Path(file.name), source)
        await _compile(Path(file.name), signers)


def _is_small(source: Path | bytes) -> bool:
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
    except OSError:  # told by who loads it
        return True
    return size < LARGE_BYTES


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def _compile(path: Path, signers: "Signers | None") -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "littoral.node.machine_code", str(path), *_told(signers)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=settings.environment(**{name: settings.text(name) for name in VARIABLES}),
    )
    try:
        async with asyncio.timeout(COMPILE_S_MAX):
            await process.wait()
    except TimeoutError:
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _told(signers: "Signers | None") -> list[str]:
    if signers is None:
        return []
    return [str(signers.threshold), str(int(signers.accepts_own)), *(key.data.hex() for key in signers.keys)]


def _signers(told: list[str]) -> "Signers | None":
    if not told:
        return None
    from littoral.artifact.ed25519 import PublicKey
    from littoral.artifact.signing import Signers

    threshold, accepts_own, *keys = told
    return Signers(tuple(PublicKey(bytes.fromhex(key)) for key in keys), int(threshold), accepts_own == "1")


def main(arguments: list[str]) -> int:
    """Exit code 0 when the machine code is in the cache, 1 when it cannot be made, 2 for wrong arguments."""
    if not arguments:
        return 2
    os.nice(NICENESS)
    try:
        load_module(arguments[0], MODEL_SECTION, signers=_signers(arguments[1:]))
    except (LittoralError, OSError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
