"""What is in the repository: the files git knows, or all of a copy without git except what is built there."""

import subprocess
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "texts", "tracked_files"]

ROOT = Path(__file__).resolve().parents[1]
BUILT = {".venv", ".cache", ".git", "build", "dist", "target", "data", "demo-data", "node_modules", "__pycache__"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file, sorted, deleted ones left out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not BUILT & set(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in found if path.is_file()))


@cache
def texts() -> dict[str, str]:
    """Text of each file by its path below the root; binary files and vendored ones are left out."""
    found = {}
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        data = path.read_bytes()
        if b"\0" not in data and "/vendor/" not in name:
            found[name] = data.decode()
    return found
