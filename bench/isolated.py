"""workerd and Miniflare, pinned by a lock: bundles in the runtime that a CDN runs them in."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

__all__ = ["LOCK", "PACKAGES", "Isolate", "compiled", "in_workerd", "installed", "workerd_of"]

PACKAGES = Path(__file__).parent / "isolates"
LOCK = PACKAGES / "package-lock.json"
NAMES = {"x86_64": "workerd-linux-64", "aarch64": "workerd-linux-arm64"}
END_S = 60
INSTALL_TIMEOUT_S = 300


class Isolate(NamedTuple):
    """address: HOST:PORT. pid: of the process. inspector: HOST:PORT of V8's, if it was asked for."""

    address: str
    pid: int
    inspector: str = ""


def installed(packages: Path, folder: Path) -> Path:
    """The packages of a lock in that folder; no script of a package runs."""
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(packages / name, folder)
        command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_TIMEOUT_S)
    return folder


def workerd_of(packages: Path) -> Path:
    """The program below a folder that has the lock's packages installed."""
    package = NAMES.get(platform.machine(), f"workerd-{platform.machine()}")
    return packages / "node_modules" / "@cloudflare" / package / "bin" / "workerd"


def compiled(workerd: Path, folder: Path, config: str = "workerd.capnp") -> str:
    """Name of a file with the configuration and all that it embeds, which workerd maps; of a text it makes copies."""
    made = Path(config).with_suffix(".bin")
    command = [workerd, "compile", "--config-only", folder / config]
    (folder / made).write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return str(made)


@contextlib.contextmanager
def in_workerd(
    workerd: Path,
    folder: Path,
    bindings: Mapping[str, str] | None = None,
    config: str = "workerd.capnp",
    *,
    is_inspected: bool = False,
) -> Iterator[Isolate]:
    """A bundle's folder served on a free port. bindings: as its configuration takes them from the environment.

    config: its name; of a compiled one it ends in `.bin`. is_inspected: V8's inspector listens too.
    """
    told, telling = os.pipe()
    command = [workerd, "serve", *(["--binary"] if config.endswith(".bin") else []), folder / config]
    command += ["--socket-addr=http=127.0.0.1:0", f"--control-fd={telling}"]
    command += ["--inspector-addr=127.0.0.1:0"] if is_inspected else []
    env = {"PATH": os.defpath, **(bindings or {})}
    with subprocess.Popen(command, env=env, pass_fds=[telling]) as process, os.fdopen(told) as lines:
        os.close(telling)
        try:
            inspector = _port(lines) if is_inspected else 0
            port = _port(lines)
            if port is None or inspector is None:
                raise RuntimeError(f"workerd did not start with `{folder / config}`")
            yield Isolate(f"127.0.0.1:{port}", process.pid, f"127.0.0.1:{inspector}")
        finally:
            process.terminate()
            process.wait(END_S)


def _port(lines: TextIO) -> int | None:
    """Of the next socket that workerd tells of, in its order: the inspector's comes first."""
    line = lines.readline()
    return int(json.loads(line)["port"]) if line else None
