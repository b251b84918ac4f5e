"""The table `signatures` of a site file."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["KEYS_MAX", "SignaturesTable"]

KEYS_MAX = 16


class SignaturesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who must have signed models and agents: nothing else is opened."""

    keys: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(min_length=1, max_length=KEYS_MAX, description="Files of public keys (extra `littoral[sign]`)"),
    ]
    threshold: Annotated[int, Meta(ge=1, le=KEYS_MAX, description="By how many of the keys")] = 1
    own: Annotated[bool, Meta(description="Whether what this installation compiled itself needs no signature")] = False
