"""WAMR's interpreter from its sources in the Rust registry, built with a program in C around it."""

import shutil
from pathlib import Path

from engines.host import HERE, fetch, kept
from needs import need

__all__ = ["wamr_built"]

PINS = HERE / "wamr"
CORE = "wasm-micro-runtime/core"
INCLUDED = (
    "iwasm/include", "iwasm/common", "iwasm/interpreter", "shared/include", "shared/platform/include",
    "shared/platform/linux", "shared/mem-alloc", "shared/utils",
)  # fmt: skip
FILES = (
    "iwasm/common/wasm_exec_env.c", "iwasm/common/wasm_memory.c", "iwasm/common/wasm_native.c",
    "iwasm/common/wasm_runtime_common.c", "iwasm/common/arch/invokeNative_general.c",
    "iwasm/interpreter/wasm_interp_classic.c", "iwasm/interpreter/wasm_loader.c", "iwasm/interpreter/wasm_runtime.c",
    "iwasm/libraries/libc-builtin/libc_builtin_wrapper.c", "shared/mem-alloc/*.c", "shared/mem-alloc/ems/*.c",
    "shared/utils/*.c", "shared/platform/linux/platform_init.c", "shared/platform/common/posix/posix_[mt]*.c",
)  # fmt: skip
DEFINED = (
    "WASM_ENABLE_INTERP=1", "WASM_ENABLE_FAST_INTERP=0", "WASM_ENABLE_LIBC_BUILTIN=1", "WASM_ENABLE_BULK_MEMORY=0",
    "WASM_DISABLE_HW_BOUND_CHECK=1", "BH_MALLOC=wasm_runtime_malloc", "BH_FREE=wasm_runtime_free",
    "BH_PLATFORM_LINUX", "BUILD_TARGET_X86_64",
)  # fmt: skip
FLAGS = ("-O2", "-w")


def _sources() -> Path:
    """The folder `core`, by the lock's hash."""
    cargo = shutil.which("cargo")
    need(cargo, "Rust (Debian: `cargo-web`)")

    def make(folder: Path) -> None:
        crate = shutil.copytree(PINS, folder / "crate")
        fetch([str(cargo), "vendor", "--quiet", "--locked", "--versioned-dirs", "all"], crate)
        (found,) = (crate / "all").glob("wamr-sys-*")
        shutil.copytree(found / CORE, folder / "core")
        shutil.rmtree(crate)

    return kept("wamr", (PINS / "Cargo.lock").read_text(), make) / "core"


def wamr_built(program: Path, folder: Path, *sources: Path, bits: int = 64) -> None:
    """sources: around the interpreter; folder: of their headers. bits: of pointers."""
    core, compiler = _sources(), shutil.which("cc")
    need(compiler, "a C compiler (Debian: `gcc`)")
    target = [f"-D{name.replace('X86_64', 'X86_32') if bits == 32 else name}" for name in DEFINED]
    own = [path for pattern in FILES for path in sorted(core.glob(pattern))]
    included = [f"-I{core / path}" for path in INCLUDED]
    command = [compiler, *FLAGS, f"-m{bits}", *target, *included, f"-I{folder}", *sources, *own, "-lm", "-lpthread"]
    fetch([*map(str, command), "-o", program], program.parent)
