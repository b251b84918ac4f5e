"""The table `audit` of a site file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.node.site_problems import NAME_PATTERN

__all__ = ["AuditTable", "WhenFull", "WitnessTable"]

COLLECTIONS_MAX = 64
DAYS_MAX = 36_500
WITNESSES_MAX = 8
WhenFull = Literal["drop", "refuse writes"]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Path = Annotated[str, Meta(min_length=1, max_length=4096)]


class WitnessTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A witness by its address, such as the fleet's orchestrator."""

    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^/?#@\s]+[^?#@\s]*$", max_length=2048)],
        Meta(description="What `/add-checkpoint` follows, such as `https://HOST/fleet/v1`"),
    ]
    key: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024)],
        Meta(description="Its key, NAME+HASH+KEY, as `URL/witness-key` tells it"),
    ]
    token_file: Annotated[_Path | None, Meta(description="Token that it asks for; default: none")] = None
    ca: Annotated[_Path | None, Meta(description="Certificates that are trusted; default: the machine's")] = None


class AuditTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """With it, what is done goes into a tamper-evident log in the data folder, `audit/`."""

    origin: Annotated[
        Annotated[str, Meta(pattern=r"^[^\s+]{1,200}$")] | None,
        Meta(description="Name of the log, the same for ever; default: `littoral/` and the node's name"),
    ] = None
    key_file: Annotated[
        _Path | None,
        Meta(description="Ed25519 key that signs; default: `audit.key` in the data folder, made at need"),
    ] = None
    queries: Annotated[
        _Share, Meta(description="Share of queries and reads that is told, at random; changes and acts always are")
    ] = 1.0
    collections: Annotated[
        dict[Annotated[str, Meta(pattern=NAME_PATTERN)], _Share],
        Meta(max_length=COLLECTIONS_MAX, description="The same for single collections, such as `{ frames = 0.01 }`"),
    ] = {}
    commit_ms: Annotated[int, Meta(ge=1, le=60_000, description="Longest an entry waits for others")] = 1000
    wait: Annotated[bool, Meta(description="Whether a change is answered only once its entry is on the disk")] = False
    when_full: Annotated[
        WhenFull, Meta(description="When the log takes nothing: `drop` and count, or `refuse writes` and acts")
    ] = "drop"
    queue: Annotated[int, Meta(ge=16, le=1_000_000, description="Entries that may wait to be written")] = 65_536
    keep_days: Annotated[
        Annotated[float, Meta(gt=0, le=DAYS_MAX)] | None,
        Meta(description="Older entries are pruned, 256 at a time, their hashes are not; default: none"),
    ] = None
    keep_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 30)] | None,
        Meta(description="So much of entries is kept at most, in MiB; default: no bound"),
    ] = None
    witness_s: Annotated[float, Meta(ge=0, le=86_400, description="How often witnesses cosign the log; 0 = never")] = (
        60.0
    )
    witnesses: Annotated[
        list[WitnessTable],
        Meta(max_length=WITNESSES_MAX, description="Witnesses beside the other nodes of the mesh, by address"),
    ] = []
