"""Interpreters, as small devices run them: wasm3 by a program in C, wasmi by one in Rust with a bundle's own pins."""

import json
import shutil
import sys
import tarfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from engines.host import HERE, KEPT, fetch, kept, run_host
from littoral.demo.wheels import pins
from needs import need

__all__ = ["cargo_built", "wasm3", "wasm3_built", "wasm3_sources", "wasmi"]

SOURCES = HERE / "wasm3" / "requirements.txt"
BUNDLED = resources.files("littoral.bundle") / "texts" / "device"
BUNDLED_NAME, HOST_NAME = "littoral-device", "engine-host"
FLAGS = ("-O2", "-w")
QUICKLY = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}


def wasm3(cases: Path, out: Path) -> None:
    program = kept("host-in-wasm3", SOURCES.read_text() + (HERE / "wasm3" / "main.c").read_text(), _wasm3_host)
    run_host([program / "host", cases, _lines(out)])


def wasmi(cases: Path, out: Path) -> None:
    text = (HERE / "wasmi" / "main.rs").read_text()
    files = [(BUNDLED / name).read_text(encoding="utf-8") for name in ("Cargo.toml", "Cargo.lock")]
    pinned = [file.replace(BUNDLED_NAME, HOST_NAME) for file in files]

    def make(folder: Path) -> None:
        (folder / "src").mkdir()
        for name, content in zip(("Cargo.toml", "Cargo.lock", "src/main.rs"), (*pinned, text), strict=True):
            (folder / name).write_text(content)
        shutil.copy(cargo_built(folder, HOST_NAME), folder / "host")

    run_host([kept("host-in-wasmi", text + "".join(pinned), make) / "host", cases, _lines(out)])


def _lines(out: Path) -> Path:
    """The plan as words, for hosts that read no JSON: files, entry, then both lists with their lengths before them."""
    lines = []
    for case in json.loads((out / "plan.json").read_text()):
        words = [case["module"], case["input"], case["output"], case["entry"]]
        for places in (case["writes"], case["reads"]):
            words += [len(places), *(number for place in places for number in place)]
        lines.append(" ".join(map(str, words)) + "\n")
    (out / "plan.txt").write_text("".join(lines))
    return out


def cargo_built(crate: Path, name: str = BUNDLED_NAME) -> Path:
    """The program of a crate with a bundle's pins; what it depends on is built once for all of them."""
    cargo = shutil.which("cargo")
    need(cargo, "Rust (Debian: `cargo-web`)")
    KEPT.mkdir(parents=True, exist_ok=True)
    target = {"CARGO_TARGET_DIR": str(KEPT / "cargo"), **QUICKLY}
    fetch([str(cargo), "fetch", "--quiet", "--locked"], crate)
    fetch([str(cargo), "build", "--quiet", "--release", "--locked"], crate, target)
    return KEPT / "cargo" / "release" / name


def wasm3_sources() -> Path:
    """The folder of wasm3's C sources, by hash."""
    (pin,) = pins(SOURCES).values()

    def make(folder: Path) -> None:
        asked = ["--require-hashes", "--no-binary", ":all:", "--no-deps", "--dest", str(folder), "-r", str(SOURCES)]
        fetch([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *asked], folder)
        with tarfile.open(folder / f"{pin.name}-{pin.version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")

    return kept("wasm3", SOURCES.read_text(), make) / f"{pin.name}-{pin.version}" / "wasm3"


def wasm3_built(program: Path, *sources: Path, bits: int = 64) -> None:
    """A program in C with the interpreter in it. bits: of pointers."""
    objects = sorted(_wasm3_objects(bits).glob("*.o"))
    _cc([*_bits(bits), f"-I{wasm3_sources()}", *sources, *objects, "-lm", "-o", program], program.parent)


def _wasm3_objects(bits: int) -> Path:
    folder, flags = wasm3_sources(), _bits(bits)
    pins = SOURCES.read_text() + " ".join((*FLAGS, *flags))
    return kept(f"objects-of-wasm3-{bits}", pins, lambda made: _cc([*flags, "-c", *folder.glob("*.c")], made))


def _bits(bits: int) -> tuple[str, ...]:
    """Flags for another width than the machine's own."""
    return () if bits == 64 else (f"-m{bits}",)


def _cc(arguments: Sequence[str | Path], folder: Path) -> None:
    compiler = shutil.which("cc")
    need(compiler, "a C compiler (Debian: `gcc`)")
    fetch([str(compiler), *FLAGS, *arguments], folder)


def _wasm3_host(folder: Path) -> None:
    wasm3_built(folder / "host", HERE / "wasm3" / "main.c")
