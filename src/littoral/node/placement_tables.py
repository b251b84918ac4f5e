"""`[placement]` of a site file: what this node does for others, and how it asks them."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["PlacementTable", "PowerTable"]


class PowerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the node may draw."""

    watts: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Budget of the node; beyond it steps go elsewhere; default: no bound"),
    ] = None
    idle_watts: Annotated[float, Meta(ge=0, description="Drawn when nothing is computed, for the estimate")] = 0.0
    core_watts: Annotated[float, Meta(ge=0, description="Drawn more by each core at work, for the estimate")] = 0.0
    counter: Annotated[
        str | None,
        Meta(description="File with the energy used so far in µJ, such as RAPL's; default: estimated"),
    ] = None


class PlacementTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Steps on other nodes, and steps of others here."""

    serves: Annotated[bool, Meta(description="Whether steps of other nodes may run here")] = True
    share: Annotated[
        float, Meta(gt=0, le=1, description="Of this node's guest threads, that steps of others may keep busy")
    ] = 1.0
    power: Annotated[PowerTable, Meta(description="What the node may draw")] = PowerTable()
    tries: Annotated[
        float, Meta(ge=0, le=0.2, description="Share of steps that a second node computes too, to learn how fast it is")
    ] = 0.02
    fallback: Annotated[
        bool,
        Meta(description="Whether the orchestrator of `[updates]` is asked too where the site is exhausted"),
    ] = False
    spill_ms: Annotated[
        float,
        Meta(gt=0, le=600_000, description="What takes longer on every node of the site goes outside, if it may"),
    ] = 1000.0
    deadline_ms: Annotated[int, Meta(ge=10, le=600_000, description="How long another node is waited for at most")] = (
        10_000
    )
