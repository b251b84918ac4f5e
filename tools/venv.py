#!/usr/bin/env python3
"""Makes a virtual environment from the hash-pinned locks, and installs this checkout into it.

    venv.py FOLDER LOCK [LOCK ...]        for example: venv.py .venv node demo

Installs with uv if it is there, else with pip. Does nothing, and needs no network, when the environment already holds
what the locks say. An environment that holds more locks than asked for is left as it is. Standard library only.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_MIN = (3, 11)


def lock_names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "locks").glob("*.txt"))


def stamp_of(locks: list[str]) -> dict[str, str]:
    names = [*(f"locks/{lock}.txt" for lock in locks), "pyproject.toml"]
    return {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in names}


def main() -> int:
    if sys.version_info < PYTHON_MIN:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Python {version} is too old: Littoral needs 3.11 or newer · hint: make PYTHON=python3.12 …")
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    if unknown := [lock for lock in sys.argv[2:] if not (ROOT / "locks" / f"{lock}.txt").exists()]:
        sys.exit(f"no such lock: {', '.join(unknown)} · hint: locks/ has {', '.join(lock_names())}")
    folder, locks = (ROOT / sys.argv[1]), ["build", *sys.argv[2:]]
    stamp = folder / "littoral-locks.json"
    wanted = stamp_of(locks)
    have: dict[str, str] = json.loads(stamp.read_text()) if stamp.exists() else {}
    python = folder / "bin" / "python"
    if wanted.items() <= have.items() and python.exists():
        compile_sources(python)
        return 0
    if have.keys() - wanted.keys():
        locks += [Path(name).stem for name in have.keys() - wanted.keys() if name.startswith("locks/")]
        wanted = stamp_of(locks)

    if not python.exists():
        run([sys.executable, "-m", "venv", str(folder)])
    stamp.unlink(missing_ok=True)
    install = installer(python)
    requirements = [part for lock in locks for part in ("-r", str(ROOT / "locks" / f"{lock}.txt"))]
    print(f"littoral: installing {', '.join(locks)} into {sys.argv[1]}", file=sys.stderr, flush=True)
    run([*install, "--require-hashes", "--no-deps", *requirements])
    run([*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    compile_sources(python)
    stamp.write_text(json.dumps(wanted, indent=1))
    return 0


def installer(python: Path) -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def compile_sources(python: Path) -> None:
    """Byte code of this checkout, as an installer makes it of a package: a node starts in half the time with it."""
    run([str(python), "-m", "compileall", "-q", str(ROOT / "src" / "littoral")])


def run(command: list[str]) -> None:
    done = subprocess.run(command, env=os.environ | {"PIP_USER": "0"}, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(command[:4])} …` failed with exit code {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
