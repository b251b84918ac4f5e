"""The table `encryption` of a site file."""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.node.site_problems import Place

__all__ = ["EncryptionTable", "check_encryption"]

WORDS_MAX = 64
SOURCES = ("key_file", "credential", "command")

_Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class EncryptionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this node writes for later is sealed; exactly one of these says where the keys come from."""

    key_file: Annotated[_Text | None, Meta(description="File of keys, for its owner only; `littoral keys seal`")] = None
    credential: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,255}$")] | None,
        Meta(description="Name of a credential that systemd gives to the service: a file of keys"),
    ] = None
    command: Annotated[
        Annotated[list[_Text], Meta(min_length=1, max_length=WORDS_MAX)] | None,
        Meta(description="Program and arguments, no shell: prints a file of keys within 10 s"),
    ] = None


def check_encryption(table: EncryptionTable | None, place: Place) -> None:
    """Raises SettingError unless there is one source of keys."""
    if table is None:
        return
    named = [name for name in SOURCES if getattr(table, name) is not None]
    if len(named) != 1:
        raise place.about(f"names {', '.join(named) or 'no source of keys'}, needs exactly one of {', '.join(SOURCES)}")
