"""What a collection is that a request has made: it stands in the shard map, as others stand in site files."""

from typing import Literal

import msgspec

from littoral.errors import InputError, SettingError, TooLargeError
from littoral.mesh.shard_map import DEFINITION_BYTES_MAX, Spread
from littoral.node.mesh_tables import SpreadTable, check_spread
from littoral.node.site_problems import Place
from littoral.node.site_tables import CollectionTable
from littoral.vectors.records import CollectionConfig

__all__ = ["MadeTable", "defined", "definition_of"]


class MadeTable(CollectionTable, frozen=True):
    """In the place of a site file's. born: as of its `Spread`."""

    made: CollectionConfig = CollectionConfig()
    definition: bytes = b""
    born: int = 0

    def config(self) -> CollectionConfig:
        """What it is made with."""
        return self.made

    def is_of(self, spread: Spread | None) -> bool:
        """Whether the map still has this one, maybe with other options, and not another of its name."""
        return spread is not None and bool(spread.definition) and spread.born == self.born


class _Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    config: CollectionConfig
    spread: SpreadTable
    format: Literal[1] = 1


_definitions = msgspec.json.Decoder(_Definition)


def definition_of(config: CollectionConfig, spread: SpreadTable) -> bytes:
    """As it stands in the map. Raises InputError where the two do not go together, TooLargeError."""
    definition = msgspec.json.encode(_Definition(config, spread), order="deterministic")
    if len(definition) > DEFINITION_BYTES_MAX:
        raise TooLargeError(f"definition of the collection: {len(definition)} bytes, at most {DEFINITION_BYTES_MAX}")
    defined(definition)
    return definition


def defined(definition: bytes, born: int = 0) -> MadeTable:
    """Raises InputError for one that cannot be read, or that no site could do."""
    try:
        found = _definitions.decode(definition)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"definition of a collection: {error}") from error
    if found.spread.sample is not None:
        raise InputError("spread: `sample` names a file, which is for site files; without it own points are taken")
    table = MadeTable(spread=found.spread, made=found.config, definition=definition, born=born)
    try:
        check_spread(table, Place("spread"))
    except SettingError as error:
        raise InputError(error.message, hint=error.hint) from error
    return table
