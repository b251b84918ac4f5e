"""Which fields of payloads lie sealed in the collections here, as it stands on the disk.

A field that the site file names no longer is opened beside requests after the start (`opening`), and looked for in
either form meanwhile. Then no value of it lies sealed any more (`opened`), and at the next start goes what stood in the
place of these. One that is newly named is `sealing` until all of its values are sealed.

`{"format": 1, "collections": {collection: {field: state}}}`
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from littoral.artifact.model import write_atomically
from littoral.errors import SettingError
from littoral.vectors import layout
from littoral.vectors.formats import check_problem

__all__ = ["ENCRYPTED_FILE", "EncryptedRecord", "State"]

ENCRYPTED_FILE = "encrypted.json"
FILE_BYTES_MAX = 16 << 20
FORMAT = 1

State = Literal["sealing", "sealed", "opening", "opened"]

_NEXT: Mapping[State, State | None] = {"sealing": "sealed", "sealed": "sealed", "opening": "opened", "opened": None}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    collections: dict[str, dict[str, State]]
    format: Literal[1] = 1


class EncryptedRecord:
    """Of one data folder. Raises SettingError for a file that cannot be read: what lies sealed is not to be guessed."""

    def __init__(self, data: Path) -> None:
        self._folder = data / layout.COLLECTIONS
        self._file = data / ENCRYPTED_FILE
        found = _read(self._file)
        self._states = {name: states for name, states in found.items() if (self._folder / name).exists()}

    @property
    def collections(self) -> list[str]:
        """That are here and have sealed fields, or had some a moment ago."""
        return list(self._states)

    def of(self, collection: str) -> Mapping[str, State]:
        """Of each field, as it was left."""
        return self._states.get(collection, {})

    def begin(self, collection: str, wanted: Sequence[str]) -> Mapping[str, State]:
        """From now on these fields are sealed, all others opened; on the disk when it returns. How each lies now."""
        before = self.of(collection)
        is_new = not (self._folder / collection).exists()
        named: dict[str, State] = {
            name: "sealed" if is_new or before.get(name) == "sealed" else "sealing" for name in wanted
        }
        leaving = [name for name in before if name not in named]
        is_over = all(before[name] == "opened" for name in leaving)
        states: dict[str, State] = named | dict.fromkeys(leaving, "opened" if is_over else "opening")
        if states != before:
            self._write(collection, states)
        return states

    def settled(self, collection: str) -> None:
        """All values of its fields lie as they are to lie; on the disk when it returns."""
        following = {name: _NEXT[state] for name, state in self.of(collection).items()}
        states: dict[str, State] = {name: state for name, state in following.items() if state is not None}
        if states != self.of(collection):
            self._write(collection, states)

    def _write(self, collection: str, states: dict[str, State]) -> None:
        self._states = {name: kept for name, kept in {**self._states, collection: states}.items() if kept}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, msgspec.json.encode(_File(self._states)))


def _read(file: Path) -> dict[str, dict[str, State]]:
    data = b""
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX)
        return msgspec.json.decode(data, type=_File).collections
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem, hint = check_problem(data, FORMAT, error)
        raise SettingError(f"`{file}`: {problem}", hint=hint or "bring it back from a backup") from error
