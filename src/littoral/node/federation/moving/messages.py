"""What nodes tell each other where points go to other shards: what is known of them there, and the points."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.node.federation.messages import decoded

__all__ = [
    "HAND",
    "OFFER",
    "Asked",
    "Hand",
    "Handed",
    "Offer",
    "Offered",
    "decode_hand",
    "decode_handed",
    "decode_offer",
    "decode_offered",
    "encode",
]

OFFER = "moving-offer"
HAND = "moving-hand"
SHARD_COUNT_MAX = 256
KEY_COUNT_MAX = 4096

Shard = Annotated[int, Meta(ge=0, lt=1 << 31)]
Keys = Annotated[list[bytes], Meta(max_length=KEY_COUNT_MAX)]


Asked = Literal["times", "outlines", "states"]
"""Of points: when they were written last; and whether they are copies; and all that they have."""


class Offer(msgspec.Struct, array_like=True):
    """keys: of points that the caller has, by the shard of the callee that is asked what it knows of them."""

    collection: str
    model: str
    keys: Annotated[dict[Shard, Keys], Meta(min_length=1, max_length=SHARD_COUNT_MAX)]
    what: Asked = "times"


class Offered(msgspec.Struct, array_like=True):
    """times: of each point in the order of the keys: 0 = nothing known, below 0 = gone at that time. Shards that are
    not there are left out. states: where more was asked for, of those that are there, are not just being written, and
    fit one answer; by shard, as `replication.entries` encodes them.
    """

    times: dict[int, list[int]]
    states: dict[int, bytes] = {}


class Hand(msgspec.Struct, array_like=True):
    """states: of points, by shard, as `replication.entries` encodes them. holders: that must have them."""

    collection: str
    model: str
    deadline_s: Annotated[float, Meta(gt=0, le=3600)]
    holders: Annotated[int, Meta(ge=1, le=64)]
    states: Annotated[dict[Shard, bytes], Meta(min_length=1, max_length=SHARD_COUNT_MAX)]


class Handed(msgspec.Struct, array_like=True):
    """taken: shards that have them on the disk. The others are not there. level: of `pacing.GAITS`, that suits the
    searches of the callee.
    """

    taken: list[int]
    level: Annotated[int, Meta(ge=0)] = 0


_offers = msgspec.msgpack.Decoder(Offer)
_offereds = msgspec.msgpack.Decoder(Offered)
_hands = msgspec.msgpack.Decoder(Hand)
_handeds = msgspec.msgpack.Decoder(Handed)
encode = msgspec.msgpack.Encoder().encode


def decode_offer(body: bytes, caller: str) -> Offer:
    """Raises InputError."""
    return decoded(_offers, body, f"offer of `{caller}`, {len(body)} bytes")


def decode_offered(body: bytes, teller: str) -> Offered:
    """Raises InputError."""
    return decoded(_offereds, body, f"answer of `{teller}`, {len(body)} bytes")


def decode_hand(body: bytes, caller: str) -> Hand:
    """Raises InputError."""
    return decoded(_hands, body, f"points from `{caller}`, {len(body)} bytes")


def decode_handed(body: bytes, teller: str) -> Handed:
    """Raises InputError."""
    return decoded(_handeds, body, f"answer of `{teller}`, {len(body)} bytes")
