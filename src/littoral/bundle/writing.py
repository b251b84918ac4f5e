"""A plan as a folder, and a folder held against a plan."""

import json
import shutil
import tempfile
from pathlib import Path

from littoral.artifact import digest
from littoral.bundle.plan import Plan
from littoral.errors import ConflictError

__all__ = ["FORMAT", "MANIFEST", "differences", "manifest", "write"]

MANIFEST = "bundle.json"
FORMAT = 1


def manifest(plan: Plan, *, pipeline: str, target: str) -> bytes:
    """`bundle.json`: what the folder is, what it was held against, and the digest of each file."""
    limits = [
        {"what": f.what, "value": f.value, "most": f.most, "unit": f.unit, "bound": f.is_bound} for f in plan.findings
    ]
    files = {name: {"bytes": len(data), "sha256": digest(data)} for name, data in sorted(plan.files.items())}
    told = {**plan.facts, "format": FORMAT, "name": pipeline, "target": target, "limits": limits, "files": files}
    return (json.dumps(told, indent=2, sort_keys=True) + "\n").encode()


def write(files: dict[str, bytes], folder: Path) -> None:
    """As a whole or not at all, in the place of an earlier bundle.

    Raises ConflictError for a folder that holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise ConflictError(f"`{folder}` is no bundle and not empty", hint="name another folder, or empty this one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as making:
        made = Path(making) / "made"
        for name, data in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(data)
        if folder.exists():
            shutil.move(folder, Path(making) / "before")
        made.rename(folder)


def differences(files: dict[str, bytes], folder: Path) -> list[str]:
    """Names of files that the folder lacks, has besides, or has with other bytes."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    missing = files.keys() - there.keys()
    return sorted(missing | {name for name, path in there.items() if files.get(name) != path.read_bytes()})
