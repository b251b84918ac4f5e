"""What nodes say to each other about steps: tensors as safetensors frames, what is said of them in their metadata."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from littoral.errors import InputError
from littoral.runtime.call import PRIORITY_MAX
from littoral.runtime.edges import Value
from littoral.steps.offer import Offer
from littoral.tensors import Array, encode_frame, read_frame

__all__ = [
    "LOADS",
    "STEP",
    "Loads",
    "StepAsk",
    "StepTold",
    "decode_loads",
    "decode_step",
    "decode_told",
    "encode_loads",
    "encode_step",
    "encode_told",
]

STEP = "step"
LOADS = "loads"
OFFERS_MAX = 256
LOADS_BYTES_MAX = 64 << 10
NAMES_MAX = 256
WORD = "littoral"
BYTES = "bytes"

Key = Annotated[str, Meta(max_length=100, pattern=r"^(model|agent):[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]


class StepAsk(msgspec.Struct, forbid_unknown_fields=True):
    """key: kind and digest of what is to run. take: the outputs that are wanted. left_s: the caller waits no longer."""

    key: Key
    left_s: Annotated[float, Meta(gt=0, le=3600)]
    take: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=NAMES_MAX)] = []
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] = 0
    is_bytes: bool = False


class _Offer(msgspec.Struct, array_like=True):
    waiting: Count
    busy: Count
    slots: Count
    service_s: Seconds


class Loads(msgspec.Struct, array_like=True):
    """What a node could run now. boot: another one after each start. spent: its power budget leaves no room.

    bytes_max: the largest frame that it takes; None: as many as a message may have.
    """

    boot: str = ""
    offers: Annotated[dict[Key, _Offer], Meta(max_length=OFFERS_MAX)] = {}
    spent: bool = False
    watts: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    watts_max: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    bytes_max: Count | None = None

    def offer(self, key: str) -> Offer | None:
        found = self.offers.get(key)
        return None if found is None else Offer(found.waiting, found.busy, found.slots, found.service_s)


class StepTold(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """inside_s: from the request's arrival to its answer; waited_s: of this, for an instance. offer: as it is now.

    node: who did it, where that is not who was asked.
    """

    inside_s: Seconds
    waited_s: Seconds
    offer: _Offer
    spent: bool = False
    is_bytes: bool = False
    node: Annotated[str, Meta(max_length=100)] = ""


_W = TypeVar("_W", StepAsk, StepTold)

_loads_decoder = msgspec.msgpack.Decoder(Loads)
_ask_decoder = msgspec.json.Decoder(StepAsk)
_told_decoder = msgspec.json.Decoder(StepTold)


def encode_loads(
    boot: str,
    offers: Mapping[str, Offer],
    *,
    spent: bool = False,
    watts: float = 0.0,
    watts_max: float | None = None,
    bytes_max: int | None = None,
) -> bytes:
    """The first `OFFERS_MAX` offers."""
    some = {key: _Offer(*offer) for key, offer in list(offers.items())[:OFFERS_MAX]}
    return msgspec.msgpack.encode(Loads(boot, some, spent, watts, watts_max, bytes_max))


def decode_loads(body: bytes, teller: str) -> Loads:
    """Raises InputError."""
    if len(body) > LOADS_BYTES_MAX:
        raise InputError(f"loads of `{teller}`: {len(body)} bytes, at most: {LOADS_BYTES_MAX}")
    try:
        return _loads_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"loads of `{teller}`: {error}") from error


def encode_step(ask: StepAsk, value: Value, dtypes: Mapping[str, str]) -> bytes:
    """dtypes: of tensors that are raw bits, by name. Raises InputError for what no frame holds."""
    ask.is_bytes = not isinstance(value, Mapping)
    return encode_frame(_tensors(value), dtypes, {WORD: msgspec.json.encode(ask).decode()})


def decode_step(body: bytes, caller: str) -> tuple[StepAsk, Value]:
    """The arrays are read-only views of `body`. Raises InputError, TooLargeError."""
    return _decoded(body, _ask_decoder, f"step of `{caller}`")


def encode_told(
    value: Value,
    dtypes: Mapping[str, str],
    *,
    inside_s: float,
    waited_s: float,
    offer: Offer,
    spent: bool,
    node: str = "",
) -> bytes:
    told = StepTold(inside_s, waited_s, _Offer(*offer), spent, not isinstance(value, Mapping), node)
    return encode_frame(_tensors(value), dtypes, {WORD: msgspec.json.encode(told).decode()})


def decode_told(body: bytes, teller: str) -> tuple[StepTold, Value]:
    """As `decode_step`."""
    return _decoded(body, _told_decoder, f"answer of `{teller}`")


def _tensors(value: Value) -> Mapping[str, Array]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return {BYTES: np.frombuffer(value, np.uint8)}
    raise InputError(f"`{type(value).__name__}` does not travel")


def _decoded(body: bytes, decoder: "msgspec.json.Decoder[_W]", what: str) -> tuple[_W, Value]:
    frame = read_frame(body)
    try:
        word = decoder.decode(frame.metadata.get(WORD, ""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{what}: {error}") from error
    if not word.is_bytes:
        return word, frame.tensors
    if (found := frame.tensors.get(BYTES)) is None or len(frame.tensors) != 1 or found.dtype != np.uint8:
        raise InputError(f"{what}: says that it holds bytes, and does not")
    return word, found.tobytes()
