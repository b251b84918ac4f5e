"""The tables `encryption` and `mesh.encryption` of a site file, and `encrypted` of a collection."""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.node.site_problems import Place
from littoral.vectors.encrypted.names import FIELD_NAME, SUFFIX

__all__ = ["EncryptedTable", "EncryptionTable", "check_encrypted", "check_encryption"]

WORDS_MAX = 64
FIELDS_MAX = 16
SOURCES = ("key_file", "credential", "command")

_Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class EncryptionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something is sealed; exactly one of these says where the keys come from."""

    key_file: Annotated[_Text | None, Meta(description="File of keys, for its owner only; `littoral keys seal`")] = None
    credential: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,255}$")] | None,
        Meta(description="Name of a credential that systemd gives to the service: a file of keys"),
    ] = None
    command: Annotated[
        Annotated[list[_Text], Meta(min_length=1, max_length=WORDS_MAX)] | None,
        Meta(description="Program and arguments, no shell: prints a file of keys within 10 s"),
    ] = None


class EncryptedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields of payloads whose values lie sealed, by keys of `encryption`, of `mesh.encryption` where it is spread."""

    fields: Annotated[
        list[Annotated[str, Meta(pattern=FIELD_NAME)]],
        Meta(
            min_length=1,
            max_length=FIELDS_MAX,
            description="Names at the top of a payload: `a-z`, `A-Z`, `0-9`, `_`, `-`",
        ),
    ]


def check_encrypted(
    table: EncryptedTable | None,
    encryption: EncryptionTable | None,
    place: Place,
    *,
    keys: str = "encryption",
    region: str | None = None,
) -> None:
    """Raises SettingError without keys, and for fields in each other's way. encryption: what the table `keys` says.

    region: key of the payload that decides where a point lies.
    """
    if table is None:
        return
    if encryption is None:
        raise place.about(f"needs the table `{keys}`, which says where the keys are")
    if region is not None and region.partition(".")[0].partition("[")[0] in table.fields:
        raise (place / "fields").about(f"names `{region}`, by which points are spread: nodes must be able to read it")
    names = set(table.fields)
    if len(names) != len(table.fields):
        raise (place / "fields").about("names a field twice")
    if taken := sorted(name for name in names if name.removesuffix(SUFFIX) in names - {name}):
        raise (place / "fields").about(f"names `{taken[0]}`, where the sealed value of another one lies")


def check_encryption(table: EncryptionTable | None, place: Place) -> None:
    """Raises SettingError unless there is one source of keys."""
    if table is None:
        return
    named = [name for name in SOURCES if getattr(table, name) is not None]
    if len(named) != 1:
        raise place.about(f"names {', '.join(named) or 'no source of keys'}, needs exactly one of {', '.join(SOURCES)}")
