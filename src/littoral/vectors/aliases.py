"""Other names for collections: one file, replaced as a whole, so that several changes happen together or not at all.

`{"format": 1, "aliases": {alias: collection}}`; before there was a format number, the inner table alone.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Names
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from littoral.artifact.model import write_atomically
from littoral.errors import ConflictError, InputError, NotFoundError, ShardError, TooLargeError
from littoral.vectors.formats import check_problem

__all__ = ["ALIASES_FILE", "ALIAS_COUNT_MAX", "AliasChange", "Aliases", "changed"]

ALIASES_FILE = "aliases.json"
FILE_BYTES_MAX = 1 << 20
ALIAS_COUNT_MAX = 1024
FORMAT = 1


class AliasChange(NamedTuple):
    """collection and alias: make it. former and alias: rename it. former alone: delete it."""

    alias: str | None = None
    collection: str | None = None
    former: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aliases: dict[str, str]
    format: Literal[1] = 1


class Aliases:
    """folder: that of the collections. is_here: whether a collection has this name, which then means it."""

    def __init__(self, folder: Path, is_here: Callable[[str], bool] = lambda _: False) -> None:
        self._file = folder / ALIASES_FILE
        self._is_here = is_here
        self.of_site: Callable[[], Mapping[str, str]] = dict
        """Those that all nodes of a site have: a name that this node has itself goes first."""
        self._collections: dict[str, str] = {}
        self._damage: ShardError | None = None

    def load(self) -> None:
        """A file that cannot be read leaves no alias, and forbids to change any."""
        if not self._file.exists():
            return
        data = b""
        try:
            with self._file.open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX)
            self._collections = _decoded(data)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem, hint = check_problem(data, FORMAT, error)
            self._damage = ShardError(f"`{self._file}`: {problem}", hint=hint or "repair or remove it, and start again")

    def all(self) -> dict[str, str]:
        """The collection that each alias means, in alphabetical order."""
        of_site = {alias: name for alias, name in self.of_site().items() if not self._is_here(alias)}
        return dict(sorted({**of_site, **self._collections}.items()))

    def own(self) -> dict[str, str]:
        """Those that this node alone has."""
        return dict(self._collections)

    def of(self, name: str) -> str:
        """The collection that the name means: itself, unless it is an alias."""
        if name in self._collections:
            return self._collections[name]
        return name if self._is_here(name) else self.of_site().get(name, name)

    def change(self, changes: Sequence[AliasChange], collections: Names[str]) -> None:
        """All of them or none, in their order. Raises NotFoundError, ConflictError, TooLargeError, ShardError."""
        self.replace(changed(self._collections, changes, collections))

    def replace(self, aliases: Mapping[str, str]) -> None:
        """From now on this node has these. Raises TooLargeError, ShardError."""
        if self._damage is not None:
            raise self._damage
        if len(aliases) > ALIAS_COUNT_MAX:
            raise TooLargeError(f"{len(aliases)} aliases, at most {ALIAS_COUNT_MAX}")
        if aliases != self._collections:
            self._keep(aliases)

    def forget(self, collection: str) -> None:
        """The collection is about to go: so do its aliases."""
        left = {alias: name for alias, name in self._collections.items() if name != collection}
        if left != self._collections:
            self._keep(left)

    def _keep(self, aliases: Mapping[str, str]) -> None:
        write_atomically(self._file, msgspec.json.encode(_File(dict(aliases))))
        self._collections = dict(aliases)


def changed(aliases: Mapping[str, str], changes: Sequence[AliasChange], collections: Names[str]) -> dict[str, str]:
    """Aliases after all of these changes, in their order. Raises NotFoundError, ConflictError, InputError."""
    following = dict(aliases)
    for change in changes:
        _apply(change, following, collections)
    return following


def _decoded(data: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(data, type=_File).aliases
    except msgspec.ValidationError as error:
        try:
            return msgspec.json.decode(data, type=dict[str, str])
        except msgspec.ValidationError:
            raise error from None


def _apply(change: AliasChange, aliases: dict[str, str], collections: Names[str]) -> None:
    if change.former is not None and change.former not in aliases:
        raise NotFoundError(f"alias `{change.former}` does not exist")
    match change:
        case AliasChange(alias=str() as alias, collection=str() as collection, former=None):
            if collection not in collections:
                raise NotFoundError(f"collection `{collection}` does not exist")
            _check_free(alias, collections)
            aliases[alias] = collection
        case AliasChange(alias=str() as alias, collection=None, former=str() as former):
            _check_free(alias, collections)
            aliases[alias] = aliases.pop(former)
        case AliasChange(alias=None, collection=None, former=str() as former):
            del aliases[former]
        case _:
            raise InputError("alias: what is to change is not said")


def _check_free(alias: str, collections: Names[str]) -> None:
    if alias in collections:
        raise ConflictError(f"alias `{alias}`: a collection has this name")
