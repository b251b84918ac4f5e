"""Modules from elsewhere become machine code in a process of its own, within stated time and memory.

Nothing interrupts the compiler, and a function can be written that costs it the square of its size: 64 KiB take it
minutes and gigabytes. Code that is too small for that is compiled here.

    python -m littoral.runtime.foreign_code MEMORY_BYTES SECONDS < MODULE > MACHINE_CODE
"""

import math
import os
import resource
import signal
import subprocess
import sys
from typing import NamedTuple

from littoral.errors import ArtifactError, SetupError
from littoral.runtime.engine import MachineCode, compile_module, machine_code_of
from littoral.runtime.interface import body_sizes
from littoral.settings import environment

__all__ = ["CODE_BYTES_MAX", "STRANGERS", "CompileBounds", "check_code_size", "code_setting", "compile_foreign", "main"]

CODE_BYTES_MAX = 64 << 20
# One function of 8 KiB, or many small ones: at most half a second and 130 MB, measured on the worst that was found.
SMALL_SQUARES = (8 << 10) ** 2
SMALL_CODE_BYTES = 1 << 20
# A module, what wasmtime reads of it, and the machine code with the same data, held twice.
COPIES = 5
_REFUSED = 3


class CompileBounds(NamedTuple):
    """code_bytes: of all functions. memory_bytes: of the compiler, beside copies of the module. time_s: at most."""

    code_bytes: int = 16 << 20
    memory_bytes: int = 2 << 30
    time_s: int = 120


STRANGERS = CompileBounds()
"""For a module of which nothing is known."""


def compile_foreign(wasm: bytes, bounds: CompileBounds) -> MachineCode:
    """Machine code for the guarded engine. Raises ArtifactError for what wasmtime refuses, or is over a bound,
    SetupError where no process can be made.
    """
    code_bytes = check_code_size(wasm, bounds.code_bytes)
    if code_bytes <= SMALL_CODE_BYTES and sum(size * size for size in body_sizes(wasm)) <= SMALL_SQUARES:
        return compile_module(wasm, "guarded")
    return machine_code_of(_compiled_elsewhere(wasm, bounds), wasm, "guarded")


def check_code_size(wasm: bytes, most: int = CODE_BYTES_MAX) -> int:
    """Bytes of all functions. Raises ArtifactError for more than `most`."""
    if (code_bytes := sum(body_sizes(wasm))) > most:
        raise ArtifactError(
            f"WebAssembly module: code of {code_bytes} bytes, at most {most}",
            hint=None if code_bytes > CODE_BYTES_MAX else f"an agent's table may say `{code_setting(code_bytes)}`",
        )
    return code_bytes


def code_setting(code_bytes: int) -> str:
    """What the table of an agent with so much code says."""
    return f"compile = {{ code_mb = {math.ceil(code_bytes / (1 << 20))} }}"


def _compiled_elsewhere(wasm: bytes, bounds: CompileBounds) -> bytes:
    memory_bytes = bounds.memory_bytes + COPIES * len(wasm)
    command = [sys.executable, "-P", "-m", "littoral.runtime.foreign_code", str(memory_bytes), str(bounds.time_s)]
    try:
        done = subprocess.run(
            command, input=wasm, capture_output=True, check=False, timeout=bounds.time_s, env=environment()
        )
    except subprocess.TimeoutExpired as error:
        raise _over_time(bounds) from error
    except OSError as error:
        raise SetupError(f"no process to compile a module from elsewhere in: {error}") from error
    if done.returncode == 0:
        return done.stdout
    if done.returncode == -signal.SIGXCPU:
        raise _over_time(bounds)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == _REFUSED:
        raise ArtifactError(said)
    if "memory" in said.lower() or "resource" in said.lower():
        raise ArtifactError(
            f"WebAssembly module: its compiler needs more than {bounds.memory_bytes >> 20} MiB",
            hint="an agent's table may say `compile = { memory_mb = … }`",
        )
    last = said.splitlines()[-1] if said else f"exit code {done.returncode}"
    raise ArtifactError(f"WebAssembly module: its compiler failed: {last}")


def _over_time(bounds: CompileBounds) -> ArtifactError:
    return ArtifactError(
        f"WebAssembly module: not compiled in {bounds.time_s} s",
        hint="an agent's table may say `compile = { time_s = … }`",
    )


def main(arguments: list[str]) -> int:
    """Exit code 0 with the machine code on stdout, 3 with the refusal on stderr."""
    memory_bytes, time_s = map(int, arguments)
    cpu_s = time_s * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # it outlives its parent by no more than this
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    try:
        code = compile_module(sys.stdin.buffer.read(), "guarded").serialize()
    except ArtifactError as error:
        sys.stderr.write(error.message)
        return _REFUSED
    sys.stdout.buffer.write(code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
