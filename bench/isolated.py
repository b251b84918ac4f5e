"""workerd and Miniflare, pinned by a lock: bundles in the runtime that a CDN runs them in."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["LOCK", "PACKAGES", "Isolate", "in_workerd", "installed", "workerd_of"]

PACKAGES = Path(__file__).parent / "isolates"
LOCK = PACKAGES / "package-lock.json"
NAMES = {"x86_64": "workerd-linux-64", "aarch64": "workerd-linux-arm64"}
END_S = 10
INSTALL_TIMEOUT_S = 300


class Isolate(NamedTuple):
    """address: HOST:PORT. pid: of the process."""

    address: str
    pid: int


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


@contextlib.contextmanager
def in_workerd(
    workerd: Path, folder: Path, bindings: Mapping[str, str] | None = None, config: str = "workerd.capnp"
) -> Iterator[Isolate]:
    """A bundle's folder served on a free port. bindings: as its configuration takes them from the environment."""
    told, telling = os.pipe()
    command = [workerd, "serve", folder / config, "--socket-addr=http=127.0.0.1:0", f"--control-fd={telling}"]
    env = {"PATH": os.defpath, **(bindings or {})}
    with subprocess.Popen(command, env=env, pass_fds=[telling]) as process, os.fdopen(told) as lines:
        os.close(telling)
        try:
            line = lines.readline()
            if not line:
                raise RuntimeError(f"workerd did not start with `{folder / config}`")
            yield Isolate(f"127.0.0.1:{json.loads(line)['port']}", process.pid)
        finally:
            process.terminate()
            process.wait(END_S)
