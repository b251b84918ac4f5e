"""Where the versions of a model lie: one file, or a folder of numbered folders, as Triton keeps them.

detector/1/model.wasm
detector/2/model.wasm
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from littoral.errors import ArtifactError, NotFoundError, SettingError

__all__ = ["MODEL_FILE", "NUMBER_MAX", "Policy", "find_versions", "refuse_onnx"]

MODEL_FILE = "model.wasm"
FOLDER_ENTRIES_MAX = 4096
NUMBER_MAX = (1 << 31) - 1
OPEN_MAX = 8


class Policy(NamedTuple):
    """Which versions are open. latest_count: of `latest`. numbers: of `specific`."""

    kind: Literal["latest", "all", "specific"] = "latest"
    latest_count: int = 1
    numbers: tuple[int, ...] = ()

    @classmethod
    def of(cls, versions: str | Iterable[int]) -> "Policy":
        """As the site file has it: `latest`, `all` or numbers."""
        if isinstance(versions, str):
            return cls("all") if versions == "all" else cls()
        return cls("specific", numbers=tuple(sorted(set(versions))))

    def choose(self, available: Iterable[int], label: str) -> list[int]:
        """In ascending order: the last one serves who asks for none.

        Raises NotFoundError for a version that is not there, SettingError for more than may be open at once.
        """
        numbers = sorted(available)
        if self.kind == "latest":
            numbers = numbers[-self.latest_count :]
        elif self.kind == "specific":
            if missing := [number for number in self.numbers if number not in numbers]:
                raise NotFoundError(f"{label}: no version {missing[0]}, there is {_listed(numbers)}")
            numbers = list(self.numbers)
        if not numbers:
            raise NotFoundError(f"{label}: no version is there", hint=f"put one at `1/{MODEL_FILE}` below its folder")
        if len(numbers) > OPEN_MAX:
            raise SettingError(
                f"{label}: versions {_listed(numbers)} would be open at once, at most {OPEN_MAX}",
                hint='choose some: `versions = [3, 4]`, or `versions = "latest"`',
            )
        return numbers


def find_versions(path: Path) -> dict[int, Path]:
    """Files of versions by number; 1 for a path that is no folder. Raises NotFoundError, ArtifactError."""
    if not path.exists():
        raise NotFoundError(f"model `{path}`: there is no such file", hint="`littoral build` makes one")
    if not path.is_dir():
        return {1: path}
    found: dict[int, Path] = {}
    try:
        for index, entry in enumerate(path.iterdir()):
            if index >= FOLDER_ENTRIES_MAX:
                raise ArtifactError(f"folder `{path}` has more than {FOLDER_ENTRIES_MAX} entries")
            if (number := _number(entry.name)) and entry.is_dir():
                found |= _version_in(entry, number)
    except OSError as error:
        raise NotFoundError(f"folder `{path}`: {error.strerror}") from error
    return found


def refuse_onnx(path: PurePath) -> None:
    """Raises ArtifactError for a file in ONNX, which a node does not compile."""
    if path.suffix == ".onnx":
        raise ArtifactError(
            f"model `{path}` is ONNX, a node runs compiled models",
            hint=f"littoral build {path} -o {path.with_suffix('.wasm')}",
        )


def _version_in(folder: Path, number: int) -> Mapping[int, Path]:
    if (file := folder / MODEL_FILE).exists():
        return {number: file}
    sources = sorted(folder.glob("*.onnx"))
    return {number: sources[0]} if sources else {}


def _number(name: str) -> int:
    """0 for a folder that is no version, such as one with a leading zero."""
    is_number = name.isascii() and name.isdigit() and not name.startswith("0") and len(name) <= len(str(NUMBER_MAX))
    return int(name) if is_number and int(name) <= NUMBER_MAX else 0


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
