"""What nodes say of themselves: each writes its own facts, numbered `(boot, counter)`; the newest of a node wins."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import InputError, NodeError
from littoral.mesh.condition import Condition

__all__ = [
    "BOOT_FILE",
    "FACT_BYTES_MAX",
    "Fact",
    "Facts",
    "Known",
    "Lives",
    "Number",
    "decode_fact",
    "decode_facts",
    "encode_fact",
    "encode_facts",
    "next_boot",
]

FACT_BYTES_MAX = 128 << 10
NODE_COUNT_MAX = 4096
BOOT_FILE = "boot"
LIFE_BYTES = 6

Number = Annotated[int, Meta(ge=0, lt=1 << 53)]

Lives = tuple[Number, Number]
"""Of the members that somebody knows the sum of their boots, and a digest of which node is in which: who has the higher
one knows of a life that the other does not."""


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """map_number: of the shard map it goes by. points: of the shards it holds, by collection and shard.

    lag_s: by peer, how far that peer's log is behind its own. models: by collection, the version of
    the model that it goes by. condition: how it is doing. settled: map by which everything is in its place here. owed:
    by collection and shard that others take the place of, points to be handed over. loads: by collection and shard,
    searches a second, and milliseconds that they take of it. indexes: of payloads, by collection and field, with the
    hybrid time of the last request for it; nothing = dropped. unready: collections that go to another model, and why
    this node does not go along yet; stuck: what keeps points of them from being embedded anew. keys: that seal fields
    of payloads, by their ids in order what proves that this node has them. refused: collections that are not to be had
    there, and why. sealing: by collection, how requests that are under way seal fields, where the map has another way
    by now. sealed: by collection, fields that are to lie sealed as this node's site file has it. resealed: by
    collection that this node seals or opens anew, points that it has looked at in this round, and values written.
    """

    node: str
    boot: Number
    counter: Number
    map_number: Number = 0
    points: dict[str, dict[int, int]] = {}
    lag_s: dict[str, float] = {}
    models: dict[str, str] = {}
    region: str = ""
    address: str = ""
    """Of its HTTP interface."""
    condition: Condition = Condition()
    settled: Number = 0
    owed: dict[str, dict[int, int]] = {}
    loads: dict[str, dict[int, tuple[float, float]]] = {}
    indexes: dict[str, dict[str, tuple[int, bytes]]] = {}
    unready: dict[str, str] = {}
    stuck: dict[str, str] = {}
    keys: dict[str, str] = {}
    refused: dict[str, str] = {}
    sealing: dict[str, list[str]] = {}
    sealed: dict[str, list[str]] = {}
    resealed: dict[str, tuple[int, int]] = {}

    @property
    def order(self) -> tuple[int, int]:
        return self.boot, self.counter


class Known(NamedTuple):
    """taken_s: on this node's clock, when it came. is_proven: from the node itself, not from another that told it.

    told: as it came, where it came from elsewhere.
    """

    fact: Fact
    taken_s: float
    is_proven: bool = True
    told: bytes = b""


def encode_fact(fact: Fact) -> bytes:
    return msgspec.msgpack.encode(fact)


def encode_facts(facts: Iterable[Known], bytes_max: int) -> bytes:
    """As many as fit, at least one if there are any."""
    told: list[tuple[str, bytes]] = []
    size = 0
    for known in facts:
        node, body = known.fact.node, known.told or encode_fact(known.fact)
        size += len(body) + len(node)
        if told and size > bytes_max:
            break
        told.append((node, body))
    return msgspec.msgpack.encode(told)


def decode_facts(body: bytes, teller: str) -> list[tuple[str, bytes]]:
    """Each node with what `decode_fact` takes. Raises InputError."""
    try:
        return msgspec.msgpack.decode(body, type=list[tuple[str, bytes]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"facts told by `{teller}`: {error}") from error


def decode_fact(body: bytes, sender: str) -> Fact:
    """sender: the proven name. Raises InputError for what is no fact, or one about somebody else."""
    if len(body) > FACT_BYTES_MAX:
        raise InputError(f"fact of `{sender}`: {len(body)} bytes, at most {FACT_BYTES_MAX}")
    try:
        fact = msgspec.msgpack.decode(body, type=Fact)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"fact of `{sender}`: {error}") from error
    if fact.node != sender:
        raise InputError(f"fact of `{sender}`: it speaks of `{fact.node[:64]}`")
    return fact


class Facts:
    """The newest fact of every node. What others tell of it counts until it speaks itself. orders: of each."""

    def __init__(self, clock: Clock) -> None:
        self.orders: dict[str, tuple[int, int]] = {}
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._proven: dict[str, tuple[int, int]] = {}
        self._strangers: set[str] = set()
        self._members: Mapping[str, str] = {}
        self._belonging_count = 0
        self._indexed: set[str] = set()
        self._boots = self._digest = 0

    @property
    def lives(self) -> Lives:
        """Of members."""
        return self._boots, self._digest

    def belong(self, members: Mapping[str, str]) -> None:
        """Lives are told of these alone."""
        if members is self._members and len(self._known) == self._belonging_count:
            return
        self._members, self._belonging_count = members, len(self._known)
        if (strangers := self._known.keys() - members.keys()) == self._strangers:
            return
        self._strangers = strangers
        self._boots = self._digest = 0
        for node, known in self._known.items():
            self._count(node, known.fact.boot, 1)

    def _count(self, node: str, boot: int, sign: int) -> None:
        if node not in self._strangers:
            self._boots += sign * boot
            self._digest ^= _life(node, boot)

    def take(self, fact: Fact, *, is_proven: bool = True, told: bytes = b"") -> bool:
        """Whether it is newer than what was known of its node; a node's own word is held against its own alone."""
        node, order = fact.node, fact.order
        before = self.orders.get(node)
        against = self._proven.get(node) if is_proven else before
        if against is not None and order <= against:
            return False
        if before is None and len(self._known) >= NODE_COUNT_MAX:
            return False
        if is_proven:
            self._proven[node] = order
        if before is None or before[0] != fact.boot:
            if before is not None:
                self._count(node, before[0], -1)
            self._count(node, fact.boot, 1)
        if fact.indexes:
            self._indexed.add(node)
        elif node in self._indexed:
            self._indexed.discard(node)
        self.orders[node] = order
        self._known[node] = Known(fact, self._clock.monotonic(), is_proven, told)
        return True

    def indexes(self) -> list[dict[str, dict[str, tuple[int, bytes]]]]:
        """Of payloads, as those tell that know of any."""
        return [self._known[node].fact.indexes for node in sorted(self._indexed)]

    def all(self) -> Mapping[str, Known]:
        """By node."""
        return self._known


@lru_cache(maxsize=2 * NODE_COUNT_MAX)
def _life(node: str, boot: int) -> int:
    return int.from_bytes(hashlib.blake2b(b"%d %s" % (boot, node.encode()), digest_size=LIFE_BYTES).digest())


def next_boot(folder: Path) -> int:
    """How often a node was started on this folder, from 1; durable before it is told. Raises NodeError."""
    file = folder / BOOT_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = _number(file.read_text()) if file.exists() else 0
        write_atomically(file, b"%d\n" % (before + 1))
    except OSError as error:
        raise NodeError(f"`{file}`: {error.strerror}") from error
    return before + 1


def _number(text: str) -> int:
    found: Any = text.strip()
    if not (found.isascii() and found.isdigit() and len(found) <= 15):
        raise NodeError("the count of boots is no number", hint="remove the file `boot` of the mesh's folder")
    return int(found)
