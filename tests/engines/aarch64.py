"""Wasmtime on aarch64, emulated: another instruction set, other paths of its compiler."""

import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from engines.host import HERE, fetch, kept, run_host
from needs import need
from tracked import ROOT

__all__ = ["emulated"]

EMULATOR = "qemu-aarch64-static"
PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64")


def emulated(cases: Path, out: Path) -> None:
    emulator = shutil.which(EMULATOR)
    need(emulator, f"`{EMULATOR}` (Debian: `qemu-user-static`)")
    root = system()
    (python,) = (p for p in (root / "usr/bin").glob("python3.*") if not p.is_symlink())
    command = [str(emulator), "-L", root, "-cpu", "max", python, "-B", HERE / "plain.py", cases, out]
    run_host(command, {"PYTHONPATH": str(root / "wheels"), "PYTHONHOME": str(root / "usr")})


def system() -> Path:
    """A folder with Debian's Python for aarch64, and in its `wheels` the Wasmtime that the node's lock pins."""
    pin = re.search(r"^wasmtime==.*\n(?: {4}--hash=.*\n?)+", (ROOT / "locks/node.txt").read_text(), re.MULTILINE)
    assert pin is not None

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as apart:
            for file in debian_packages(Path(apart)):
                fetch(["dpkg", "-x", file, folder], folder)
            with zipfile.ZipFile(wheel(Path(apart), pin[0])) as archive:
                archive.extractall(folder / "wheels")

    return kept("aarch64", pin[0] + "".join(PACKAGES), make)


def wheel(folder: Path, pin: str) -> Path:
    (folder / "wheel.txt").write_text(pin)
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    fetch([*pip, "--require-hashes", "-r", "wheel.txt", "-d", "."], folder)
    (found,) = folder.glob("*.whl")
    return found


def debian_packages(folder: Path) -> list[Path]:
    """Python for aarch64 and all it depends on, verified by apt against the lists of this machine's own release.

    Lists and archives lie in the folder: no root is needed, and the machine's own state is left alone.
    """
    need(shutil.which("apt-get"), "apt-get (Debian)")
    for name in ("lists/partial", "archives/partial", "state"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Dir::State": folder / "state",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
    }
    apt = ["apt-get", "-qq", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
    fetch([*apt, "update"], folder)
    fetch([*apt, "install", "--yes", "--download-only", "--no-install-recommends", *PACKAGES], folder)
    return sorted((folder / "archives").glob("*.deb"))
