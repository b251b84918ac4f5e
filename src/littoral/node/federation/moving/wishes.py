"""What people, or a node by itself, want of a spread collection, and the plan that follows from it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.mesh.shard_map import Strategy
from littoral.node.federation.messages import decoded

__all__ = [
    "Asked",
    "Back",
    "Dissolve",
    "Divide",
    "Level",
    "Move",
    "Plan",
    "ToSpread",
    "Wish",
    "decode_asked",
    "decode_plan",
    "encode",
]

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Shard = Annotated[int, Meta(ge=0, lt=1 << 31)]


class ToSpread(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="spread"):
    """By another strategy, over other many shards, on other many nodes each, by another vector; None = as it is."""

    collection: Name
    strategy: Strategy | None = None
    shards: Annotated[int, Meta(ge=1, le=256)] | None = None
    replicas: Annotated[int, Meta(ge=1, le=8)] | None = None
    by: Annotated[str, Meta(max_length=255)] | None = None


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="move"):
    """One shard from a node to another."""

    collection: Name
    shard: Shard
    source: Name
    target: Name


class Divide(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="divide"):
    """One shard becomes two. targets: nodes of the second half; default: those of the first."""

    collection: Name
    shard: Shard
    targets: list[Name] = []


class Dissolve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dissolve"):
    """One shard less; its points go to the neighbours."""

    collection: Name
    shard: Shard


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="level"):
    """Whatever lowers the load of the busiest node most: shards moved, divided, dissolved; and off nodes that left."""

    collection: Name


class Back(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="back"):
    """What is under way is taken back; possible until the flip."""

    collection: Name


Wish = ToSpread | Move | Divide | Dissolve | Level | Back


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """is_applied: whether it is to be done, or only planned."""

    wish: Wish
    is_applied: bool = False


class Plan(msgspec.Struct, frozen=True):
    """coming: new shards and their nodes; going: shards that they take the place of; kept: shards that stay.

    points: to be copied, as far as known. why: in words. is_begun: whether it is on its way.
    """

    collection: str
    strategy: str
    coming: dict[int, list[str]]
    going: list[int]
    kept: list[int]
    points: int
    why: str
    is_begun: bool


_asked = msgspec.msgpack.Decoder(Asked)
_plans = msgspec.msgpack.Decoder(Plan)
encode = msgspec.msgpack.Encoder().encode


def decode_asked(body: bytes, caller: str) -> Asked:
    """Raises InputError."""
    return decoded(_asked, body, f"request of `{caller}` for another layout")


def decode_plan(body: bytes, teller: str) -> Plan:
    """Raises InputError."""
    return decoded(_plans, body, f"answer of `{teller}` on another layout")
