"""`littoral agent build`: a crate in, a checked agent out. The same sources and compiler give the same bytes.

The section `littoral.agent` is what the SDK's macro put there, or `manifest.json` where a crate does without the SDK;
its `imports` are written anew from what the module really imports.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from littoral.artifact.manifest import AGENT_SECTION, AgentManifest
from littoral.artifact.sections import custom_section, digest, with_custom_section
from littoral.authoring.toolchain import TARGET, WASI_TARGET, Toolchain, find_toolchain
from littoral.errors import ArtifactError, NotFoundError
from littoral.runtime.abi import check_interface, check_ports, grants_for
from littoral.runtime.foreign_code import check_code_size
from littoral.runtime.interface import Interface, read_interface

__all__ = ["BuiltAgent", "as_agent", "build_agent", "run_cargo_tests"]


@dataclass(frozen=True)
class BuiltAgent:
    """What was built. code_bytes: of its functions. grants: those that its imports need. compiler: by tool."""

    path: Path
    sha256: str
    bytes: int
    code_bytes: int
    manifest: AgentManifest
    interface: Interface
    grants: tuple[str, ...]
    compiler: Mapping[str, str]


def build_agent(
    folder: Path,
    output: Path | None = None,
    *,
    wasi: bool = False,
    locked: bool = False,
    target_folder: Path | None = None,
    preferred: Mapping[str, str] | None = None,
) -> BuiltAgent:
    """Builds the crate in `folder`; what cargo says goes to stderr.

    output: the file to write; default `NAME.wasm` in the folder. wasi: for wasm32-wasip1. locked: as Cargo.lock has it,
    or not at all. target_folder: where cargo builds; default: where it does. preferred: as in `find_toolchain`.
    Raises NotFoundError, SetupError without a toolchain, ArtifactError where the crate does not compile
    or what comes out is no agent.
    """
    crate = _crate(folder)
    toolchain = find_toolchain(WASI_TARGET if wasi else TARGET, preferred=preferred)
    arguments = ["build", *toolchain.build_arguments(), "--message-format=json-render-diagnostics"]
    arguments += ["--locked"] if locked else []
    messages = _cargo(toolchain, crate, arguments, target_folder)
    wasm, interface, manifest = as_agent(_module_of(messages, crate).read_bytes(), crate / "manifest.json")
    path = output or folder / f"{manifest.name}.wasm"
    half = path.with_name(f"{path.name}.part")
    half.write_bytes(wasm)
    half.replace(path)
    return BuiltAgent(
        path=path,
        sha256=digest(wasm),
        bytes=len(wasm),
        code_bytes=check_code_size(wasm),
        manifest=manifest,
        interface=interface,
        grants=grants_for(interface),
        compiler=dict(toolchain.versions),
    )


def as_agent(wasm: bytes, manifest_file: Path) -> tuple[bytes, Interface, AgentManifest]:
    """The module with its section, what it imports and exports, and its manifest. Raises ArtifactError."""
    interface = read_interface(wasm)
    if (found := custom_section(wasm, AGENT_SECTION)) is None:
        found = _read_manifest(manifest_file)
    manifest = AgentManifest.decode(found)
    label = f"agent `{manifest.name}`"
    grants = grants_for(interface)
    check_interface(interface, label, grants)
    check_code_size(wasm)
    check_ports(manifest.input, f"{label}: input")
    check_ports(manifest.output, f"{label}: output")
    manifest = msgspec.structs.replace(manifest, imports=grants)
    return with_custom_section(wasm, AGENT_SECTION, msgspec.json.encode(manifest)), interface, manifest


def run_cargo_tests(folder: Path, *, wasi: bool = False) -> bool:
    """The crate's native tests; what they say goes to stderr. Raises NotFoundError, SetupError."""
    toolchain = find_toolchain(WASI_TARGET if wasi else TARGET)
    has_rustdoc = toolchain.rustc.with_name("rustdoc").exists()
    command = [str(toolchain.cargo), "test", "--quiet", *([] if has_rustdoc else ["--lib"])]
    return (
        subprocess.run(command, cwd=_crate(folder), env=toolchain.environment(), stdout=2, check=False).returncode == 0
    )


def _crate(folder: Path) -> Path:
    if not (folder / "Cargo.toml").is_file():
        raise NotFoundError(f"`{folder}` has no `Cargo.toml`", hint="make an agent by `littoral agent new NAME`")
    return folder.resolve()


def _cargo(toolchain: Toolchain, crate: Path, arguments: list[str], target: Path | None) -> list[dict[str, Any]]:
    """What cargo answers, a JSON document a line."""
    command = [str(toolchain.cargo), *arguments]
    done = subprocess.run(
        command, cwd=crate, env=toolchain.environment(target), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ArtifactError(f"`{crate}`: `cargo {arguments[0]}` failed with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _module_of(messages: list[dict[str, Any]], crate: Path) -> Path:
    """The crate's own module among what was built."""
    mine = [m for m in messages if m.get("reason") == "compiler-artifact" and Path(m["manifest_path"]).parent == crate]
    found = [name for message in mine for name in message["filenames"] if name.endswith(".wasm")]
    if not found:
        raise ArtifactError(
            f"`{crate}`: no WebAssembly module was built", hint='`[lib]` needs `crate-type = ["cdylib"]`'
        )
    return Path(found[0])


def _read_manifest(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"the module has no section `{AGENT_SECTION}`, and `{path}`: {error.strerror}",
            hint="call `littoral_sdk::agent!`, or put a `manifest.json` beside `Cargo.toml`",
        ) from error
