"""Rust for WebAssembly on this machine: which compiler serves, and the flags that make bytes follow from sources alone.

A compiler serves if it has the target's standard library (`rustup target add`), or the sources of std to build it from
(Debian's `rust-web-src` beside `rustc-web`).
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from littoral.errors import SetupError
from littoral.settings import environment

__all__ = ["TARGET", "WASI_TARGET", "Target", "Toolchain", "find_toolchain", "output"]

Target = Literal["wasm32-unknown-unknown", "wasm32-wasip1"]

TARGET: Target = "wasm32-unknown-unknown"
WASI_TARGET: Target = "wasm32-wasip1"
FEATURES = "-C target-feature=+simd128"
# Guests have no source of randomness; one that needs it brings its own (`guests/text/src/entropy.rs`).
NO_RANDOMNESS = '--cfg getrandom_backend="custom"'
# Debian's: rustup's compilers carry their own.
WASI_LIBRARIES = Path("/usr/lib/wasm32-wasi")
_DEBIAN = "apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld"
_PACKAGES = {TARGET: _DEBIAN, WASI_TARGET: f"{_DEBIAN} wasi-libc"}


@dataclass(frozen=True)
class Toolchain:
    """A compiler that can build for WebAssembly. std: "sources" (built with the guests) or "target" (installed)."""

    rustc: Path
    cargo: Path
    std: Literal["sources", "target"]
    versions: Mapping[str, str]
    target: Target = TARGET

    def environment(self, folder: Path | None = None) -> dict[str, str]:
        """For cargo; none of the user's flags reaches the bytes. folder: where it builds; default: where cargo does."""
        inherited = environment()
        kept = {k: v for k, v in inherited.items() if "RUSTFLAGS" not in k and not k.startswith("CARGO_PROFILE")}
        prefix = f"CARGO_TARGET_{self.target.upper().replace('-', '_')}"
        own = {
            "RUSTC": str(self.rustc),
            "RUSTDOC": str(self.rustc.with_name("rustdoc")),
            "RUSTC_BOOTSTRAP": "1",
            f"{prefix}_RUSTFLAGS": " ".join([FEATURES, *self._flags()]),
        }
        if folder is not None:
            own["CARGO_TARGET_DIR"] = str(folder)
        if self.std == "sources":
            own[f"{prefix}_LINKER"] = "wasm-ld"
        return kept | own

    def build_arguments(self) -> list[str]:
        """For `cargo build`: paths of this machine are kept out, and std is built where it is not installed."""
        arguments = ["--release", "--target", self.target]
        arguments += ["-Ztrim-paths", "--config", 'profile.release.trim-paths="all"']
        return [*arguments, "-Zbuild-std=std,panic_abort"] if self.std == "sources" else arguments

    def _flags(self) -> list[str]:
        if self.target == TARGET:
            return [NO_RANDOMNESS]
        if self.std == "target":
            return []
        start = f"-Clink-arg={WASI_LIBRARIES / 'crt1-reactor.o'}"
        return ["-Clink-self-contained=no", f"-Lnative={WASI_LIBRARIES}", start, "-Clink-arg=-lc"]


def find_toolchain(target: Target = TARGET, *, preferred: Mapping[str, str] | None = None) -> Toolchain:
    """The toolchain with the `preferred` versions if it is here, else the first on the path that serves.

    Raises SetupError saying what each compiler lacks, and what to install.
    """
    found, reasons = [], []
    for rustc in _compilers():
        try:
            found.append(_toolchain_of(rustc, target))
        except SetupError as error:
            reasons.append(error.message)
    if not found:
        why = "; ".join(dict.fromkeys(reasons)) or "no `rustc` on the path"
        hint = f"on Debian `{_PACKAGES[target]}`, elsewhere `rustup target add {target}`"
        raise SetupError(f"no Rust toolchain for WebAssembly: {why}", hint=hint)
    return next((toolchain for toolchain in found if toolchain.versions == preferred), found[0])


def output(*command: str | Path) -> str:
    """What a command prints; empty if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _compilers() -> Iterator[Path]:
    """Every `rustc` on the path, the first of a folder that comes twice."""
    folders = dict.fromkeys(environment().get("PATH", "").split(os.pathsep))
    return (Path(folder) / "rustc" for folder in folders if shutil.which("rustc", path=folder))


def _toolchain_of(rustc: Path, target: Target) -> Toolchain:
    """Raises SetupError naming what this compiler lacks."""
    if not (about := output(rustc, "-vV")):
        raise SetupError(f"`{rustc}` does not run")
    cargo = rustc.with_name("cargo")
    if not cargo.exists():
        raise SetupError(f"`{rustc}` has no `cargo` beside it")
    lines = dict(line.partition(": ")[::2] for line in about.splitlines())
    versions = {"rustc": about.splitlines()[0], "llvm": lines.get("LLVM version", ""), "cargo": output(cargo, "-V")}
    library = output(rustc, "--print", "target-libdir", "--target", target)
    if library and any(Path(library).glob("libstd-*.rlib")):
        return Toolchain(rustc, cargo, "target", versions | {"linker": "rust-lld", "std": "target"}, target)
    sources = Path(output(rustc, "--print", "sysroot")) / "lib/rustlib/src/rust/library/std/Cargo.toml"
    if not sources.exists():
        raise SetupError(f"`{rustc}` has neither the target {target} nor the sources of std")
    if not (linker := output("wasm-ld", "--version")):
        raise SetupError("`wasm-ld` is missing")
    versions |= {"linker": linker, "std": "sources"}
    if target == WASI_TARGET:
        if not (library_c := WASI_LIBRARIES / "libc.a").exists():
            raise SetupError(f"`{WASI_LIBRARIES}` has no C library")
        versions["libc"] = hashlib.sha256(library_c.read_bytes()).hexdigest()
    return Toolchain(rustc, cargo, "sources", versions, target)
