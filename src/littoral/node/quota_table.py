"""The table `quota` of a tenant in a site file."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["QuotaTable"]


class QuotaTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a tenant may use."""

    requests_per_s: Annotated[
        float, Meta(ge=0.01, le=1_000_000, description="Requests; as many at once as come in one second")
    ] = 100.0
    inferences_max: Annotated[
        int, Meta(ge=1, le=64, description="Runs of models and pipelines at a time; 64 more wait")
    ] = 4
    collections_max: Annotated[int, Meta(ge=0, le=64, description="Collections, declared and made over HTTP")] = 4
    points_max: Annotated[int, Meta(ge=0, le=1 << 40, description="Points of all its collections")] = 1_000_000
    disk_mb: Annotated[
        int, Meta(ge=1, le=1 << 24, description="Disk of all its collections; an empty one takes about 0.1 MiB")
    ] = 4096
    cache_mb: Annotated[
        int, Meta(ge=0, le=16_384, description="Memory of its caches, shared out as the table `cache` does")
    ] = 16
