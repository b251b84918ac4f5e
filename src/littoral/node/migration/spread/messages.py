"""What nodes ask each other where a spread collection goes to another model."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.mesh.shard_map import MODEL_CHARACTERS_MAX
from littoral.node.federation.messages import decoded

__all__ = ["CAN", "WISH", "Can", "Cannot", "Wish", "decode_can", "decode_cannot", "decode_wish", "encode"]

WISH = "migration-wish"
CAN = "migration-can"

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Size = Annotated[int, Meta(ge=0, lt=1 << 20)]
Model = Annotated[str, Meta(max_length=MODEL_CHARACTERS_MAX)]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To the node that writes the map. model: as nodes tell it each other, for `start` alone."""

    kind: Literal["start", "back", "drop"]
    collection: Name
    model: Model = ""


class Can(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Could this node embed the collection by that model? Of several vectors, those that would be of another one."""

    collection: Name
    model: Model


class Cannot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """why: empty where it can. size: numbers of the vector without a name, 0 = only an answer tells it. sizes: of those
    with names.
    """

    why: str = ""
    size: Size = 0
    sizes: Annotated[dict[Annotated[str, Meta(max_length=255)], Size], Meta(max_length=256)] = {}


_wishes = msgspec.msgpack.Decoder(Wish)
_cans = msgspec.msgpack.Decoder(Can)
_cannots = msgspec.msgpack.Decoder(Cannot)
encode = msgspec.msgpack.Encoder().encode


def decode_wish(body: bytes, caller: str) -> Wish:
    """Raises InputError."""
    return decoded(_wishes, body, f"request of `{caller}` for another model")


def decode_can(body: bytes, caller: str) -> Can:
    """Raises InputError."""
    return decoded(_cans, body, f"question of `{caller}` on a model")


def decode_cannot(body: bytes, teller: str) -> Cannot:
    """Raises InputError."""
    return decoded(_cannots, body, f"answer of `{teller}` on a model")
