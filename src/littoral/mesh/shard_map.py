"""Where the shards of spread collections lie: desired state, numbered, with one writer.

Who reads takes a document with a higher number and nothing else; what it took is on disk before it is used. A map says
where shards should be, not who is here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from littoral.artifact.model import write_atomically
from littoral.errors import InputError, NodeError

__all__ = [
    "ALIAS_COUNT_MAX",
    "DEFINITION_BYTES_MAX",
    "DOCUMENT_BYTES_MAX",
    "KEPT",
    "MODEL_CHARACTERS_MAX",
    "SPREAD_COUNT_MAX",
    "Change",
    "Generation",
    "Layout",
    "Leaving",
    "Sealing",
    "ShardMap",
    "ShardMapFile",
    "Spread",
    "Step",
    "Strategy",
    "decode_map",
    "encode_map",
]

Strategy = Literal["hash", "geographic", "metric", "hybrid"]
Step = Literal["making", "copying", "flipping", "kept"]
Leaving = Literal["", "announced", "opening", "clearing"]

DOCUMENT_BYTES_MAX = 8 << 20
SHARD_COUNT_MAX = 256
REPLICA_COUNT_MAX = 8
SPREAD_COUNT_MAX = 64
ALIAS_COUNT_MAX = 1024
SEALED_FIELDS_MAX = 16
KEYS_MAX = 64
VECTOR_NAME_MAX = 255
VECTOR_COUNT_MAX = 256
MODEL_CHARACTERS_MAX = 400
DEFINITION_BYTES_MAX = 1 << 16
KEPT = "shard-map.json"

Shard = Annotated[int, Meta(ge=0, lt=1 << 31)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Alias = Annotated[str, Meta(min_length=1, max_length=255)]
KeyId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Size = Annotated[int, Meta(ge=0, lt=1 << 20)]
Sizes = Annotated[
    dict[Annotated[str, Meta(max_length=VECTOR_NAME_MAX)], Annotated[int, Meta(ge=1, lt=1 << 20)]],
    Meta(max_length=VECTOR_COUNT_MAX),
]
Places = Annotated[
    dict[Shard, Annotated[list[Name], Meta(min_length=1, max_length=REPLICA_COUNT_MAX)]],
    Meta(min_length=1, max_length=SHARD_COUNT_MAX),
]


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose embeddings there are. model: as nodes tell it each other. size: numbers of the vector without a name, 0
    = by site files. sizes: of vectors with names; by site files where they are not among them.
    """

    model: Annotated[str, Meta(max_length=MODEL_CHARACTERS_MAX)] = ""
    size: Size = 0
    sizes: Sizes = {}


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which shards there are, what belongs to each, and who holds it. parameters: what the strategy knows.

    generation: of another model than the layout beside which it stands; None = of the same. vector: as of a `Spread`;
    None = the same as there.
    """

    strategy: Strategy
    places: Places
    parameters: bytes = b""
    generation: Generation | None = None
    vector: Annotated[str, Meta(max_length=VECTOR_NAME_MAX)] | None = None

    @property
    def shards(self) -> list[int]:
        """Their numbers, in order."""
        return sorted(self.places)


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A spread on its way from one layout to another. other: up to the flip the one it goes to, then the one it left.

    since: number of the map with which the step began. A shard that both layouts have has the same points, on the same
    nodes. until_s: Unix time up to which another model's layout is kept for the way back.
    """

    step: Step
    other: Layout
    since: Annotated[int, Meta(ge=0)] = 0
    until_s: Annotated[int, Meta(ge=0)] = 0

    @property
    def is_flipped(self) -> bool:
        """Whether the collection is read by the layout that it went to."""
        return self.step in ("flipping", "kept")


class Sealing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of payloads whose values lie sealed on all nodes. key: id of that which seals them. older: keys that some
    values may still be sealed by; is_partly_plain: some may lie there as they were before the field was named.

    leaving: fields that are to lie plain again, which have values in either form meanwhile. step: how far they are.
    announced: all learn to read both. opening: they are written plain, and values that lie sealed are opened.
    clearing: none is sealed any more, and what stood in the place of sealed values is taken away.
    """

    fields: Annotated[list[Name], Meta(max_length=SEALED_FIELDS_MAX)]
    key: KeyId
    older: Annotated[list[KeyId], Meta(max_length=KEYS_MAX)] = []
    is_partly_plain: bool = False
    leaving: Annotated[list[Name], Meta(max_length=SEALED_FIELDS_MAX)] = []
    step: Leaving = ""

    @property
    def is_settled(self) -> bool:
        """Whether all values lie as they are to lie: sealed by the one key, those of no other field sealed."""
        return not self.older and not self.is_partly_plain and not self.leaving

    @property
    def keys(self) -> list[str]:
        """Ids of those that are needed, that which seals first."""
        return [self.key, *self.older]


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One collection. places: by shard, the nodes that hold it, none twice; epoch: grows with every change to it.

    What belongs to a shard, and who holds it, never changes: where one of the two is to change, there are other shards
    in its place. given: numbers below it were given, and are not given again; 0 = those that are there.
    parameters: what the strategy knows (centroids, say), as the strategy writes it. model: version of the model whose
    embeddings these are, by vector where they have their own; two never mix. size, sizes: as of a `Generation`.
    declared: the model that the
    site file of the map's writer named when the collection last went to another one. vector: name of that which cells
    are of, whatever the strategy; "" = the one without a name. definition: of a collection that a request has made,
    what site files say of others; empty = they do. born: shards of this name with lower numbers are of a collection
    that was deleted. sealing: of chosen fields, where site files name some.
    """

    strategy: Strategy
    places: Places
    model: Annotated[str, Meta(max_length=MODEL_CHARACTERS_MAX)] = ""
    epoch: Annotated[int, Meta(ge=1)] = 1
    parameters: bytes = b""
    given: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    change: Change | None = None
    size: Size = 0
    declared: Annotated[str, Meta(max_length=MODEL_CHARACTERS_MAX)] = ""
    vector: Annotated[str, Meta(max_length=VECTOR_NAME_MAX)] = ""
    definition: Annotated[bytes, Meta(max_length=DEFINITION_BYTES_MAX)] = b""
    born: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    sealing: Sealing | None = None
    sizes: Sizes = {}

    @property
    def layout(self) -> Layout:
        """By which it is read, and written first."""
        return Layout(self.strategy, self.places, self.parameters, vector=self.vector)

    def by(self, layout: Layout) -> "Spread":
        """The same collection, by another layout."""
        generation = layout.generation or self.generation
        return replace(
            self,
            strategy=layout.strategy,
            places=layout.places,
            parameters=layout.parameters,
            model=generation.model,
            size=generation.size,
            sizes=generation.sizes,
            vector=self.vector if layout.vector is None else layout.vector,
        )

    @property
    def generation(self) -> Generation:
        """Whose embeddings it is read by."""
        return Generation(self.model, self.size, self.sizes)

    @property
    def to_another_model(self) -> bool:
        """Whether the two layouts between which it is are of two models."""
        return self.change is not None and self.change.other.generation is not None

    def of_model(self, model: str) -> "Spread | None":
        """As the layout has it that holds embeddings of this model; None where neither does."""
        if model == self.model:
            return self
        change = self.change
        if change is None or change.other.generation is None or change.other.generation.model != model:
            return None
        back = replace(self.layout, generation=self.generation)
        epoch = self.epoch - 1 if change.is_flipped else self.epoch + 1
        other = replace(change, other=back)
        return replace(self.by(change.other), change=other, epoch=max(1, epoch))

    @property
    def both(self) -> "list[Spread]":
        """As it is read, and while it changes as by the other layout."""
        return [self] if self.change is None else [self, self.by(self.change.other)]

    @property
    def all_places(self) -> dict[int, list[str]]:
        """Nodes by shard, of both layouts while it changes."""
        return self.places if self.change is None else {**self.change.other.places, **self.places}

    @property
    def first_free(self) -> int:
        """The lowest number that no shard ever had."""
        return max(self.given, *(shard + 1 for shard in self.all_places))

    def held_by(self, node: str) -> list[int]:
        """Shards that this node holds."""
        return [shard for shard, nodes in sorted(self.places.items()) if node in nodes]

    def kept_by(self, node: str) -> list[int]:
        """Shards that this node has to have: those it holds, and while the spread changes those of the other layout."""
        return [shard for shard, nodes in sorted(self.all_places.items()) if node in nodes]

    @property
    def shards(self) -> list[int]:
        """Their numbers, in order."""
        return sorted(self.places)


class ShardMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """spreads: by collection. given: shards of collections that were deleted had lower numbers, those to come have none
    of them, so that nothing of a deleted collection is taken for its successor's. aliases: other names of collections
    that are spread, on all nodes.
    """

    number: Annotated[int, Meta(ge=0)] = 0
    spreads: Annotated[dict[Name, Spread], Meta(max_length=SPREAD_COUNT_MAX)] = {}
    format: Literal[1] = 1
    given: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    aliases: Annotated[dict[Alias, Name], Meta(max_length=ALIAS_COUNT_MAX)] = {}

    def with_spreads(self, spreads: Mapping[str, Spread]) -> "ShardMap":
        """The next document: these, beside those that are there."""
        aliases = {alias: meant for alias, meant in self.aliases.items() if alias not in spreads}
        return replace(self, number=self.number + 1, spreads={**self.spreads, **spreads}, aliases=aliases)

    def without(self, name: str) -> "ShardMap":
        """The next document: without this collection, which is there."""
        left = {other: spread for other, spread in self.spreads.items() if other != name}
        given = max(self.given, self.spreads[name].first_free)
        aliases = {alias: meant for alias, meant in self.aliases.items() if meant != name}
        return replace(self, number=self.number + 1, spreads=left, given=given, aliases=aliases)

    def with_aliases(self, aliases: Mapping[str, str]) -> "ShardMap":
        """The next document: with these and no others."""
        return replace(self, number=self.number + 1, aliases=dict(sorted(aliases.items())))

    def is_over(self, name: str, shard: int) -> bool:
        """Whether the shard with this number is of a collection that was deleted."""
        spread = self.spreads.get(name)
        return shard < (self.given if spread is None else spread.born)


def encode_map(shard_map: ShardMap) -> bytes:
    """The same map gives the same bytes. One without aliases is one that releases before these read."""
    told = msgspec.to_builtins(shard_map, str_keys=True)
    if not shard_map.aliases:
        del told["aliases"]
    return msgspec.json.encode(told, order="deterministic")


def decode_map(document: bytes) -> ShardMap:
    """Raises InputError for what is no map."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise InputError(f"shard map of {len(document)} bytes, at most {DOCUMENT_BYTES_MAX}")
    try:
        found = msgspec.json.decode(document, type=ShardMap)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"shard map: {error}") from error
    for name, spread in found.spreads.items():
        for shard, nodes in spread.all_places.items():
            if len(set(nodes)) != len(nodes):
                raise InputError(f"shard map: shard {shard} of `{name}` lies twice on one node: {', '.join(nodes)}")
    for alias, name in found.aliases.items():
        if alias in found.spreads or name not in found.spreads:
            raise InputError(f"shard map: alias `{alias}` of `{name}`: no collection has the one name, one the other")
    return found


class ShardMapFile:
    """The map that this node goes by, and its file."""

    def __init__(self, folder: Path) -> None:
        """folder: made if missing. Raises NodeError for a file that cannot be read."""
        self._file = folder / KEPT
        self.map = ShardMap()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with self._file.open("rb") as stream:
                self.map = decode_map(stream.read(DOCUMENT_BYTES_MAX + 1))
        except FileNotFoundError:
            return
        except (OSError, InputError) as error:
            raise NodeError(
                f"`{self._file}`: {error}", hint="remove it: the node asks its peers for the map"
            ) from error

    def take(self, shard_map: ShardMap) -> bool:
        """Whether it is newer than what was there; then it is on disk, and holds. Raises NodeError of the disk."""
        if shard_map.number <= self.map.number:
            return False
        try:
            write_atomically(self._file, encode_map(shard_map))
        except OSError as error:
            raise NodeError(f"`{self._file}`: {error.strerror}", hint="the map of before holds; make room") from error
        self.map = shard_map
        return True
