"""Tables of a site file about other nodes: `[mesh]`, and `spread` of a collection."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.node.encryption_tables import EncryptionTable
from littoral.node.site_problems import NAME_PATTERN, Place
from littoral.vectors.records import CollectionConfig

if TYPE_CHECKING:
    from littoral.node.site_tables import CollectionTable

__all__ = ["MeshTable", "SpreadTable", "cells_by", "check_mesh", "check_spread"]

PEERS_MAX = 256
REGIONS_MAX = 64
BY_VECTOR = ("metric", "hybrid")
FOR_GEOGRAPHIC = ("regions", "pinned", "elsewhere", "region", "within")
NODE_NAME = re.compile(r"[a-z0-9-]{1,63}")

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
NonEmpty = Annotated[str, Meta(min_length=1, max_length=4096)]
Region = Annotated[str, Meta(min_length=1, max_length=64)]


class MeshTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The other nodes of the site; `node.name` is this one's name among them."""

    site: Annotated[Name, Meta(description="Name of the site, the same on all its nodes")]
    listen: Annotated[NonEmpty, Meta(description="Address and port for the other nodes")] = "0.0.0.0:7447"
    peers: Annotated[
        dict[Name, NonEmpty],
        Meta(max_length=PEERS_MAX, description="The other nodes: their names, and the address and port of each"),
    ] = {}
    region: Annotated[str, Meta(max_length=64, description="Where this node is; for `geographic`")] = ""
    regions: Annotated[
        dict[Name, Region], Meta(max_length=PEERS_MAX, description="Where the other nodes are, by name")
    ] = {}
    transport: Annotated[
        Literal["quic", "tls"], Meta(description="`quic`, or `tls` (over TCP) where a network lets no UDP pass")
    ] = "quic"
    authority: Annotated[
        str | None, Meta(description="Certificate of the site's CA; default: as `mesh join` left it")
    ] = None
    certificate: Annotated[str | None, Meta(description="Of this node; default: as `mesh join` left it")] = None
    key: Annotated[str | None, Meta(description="Of this node; default: as `mesh join` left it")] = None
    door: Annotated[
        NonEmpty | None, Meta(description="On an issuer: address and port where machines join and renew")
    ] = None
    deadline_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="How long an answer waits for other nodes at most")
    ] = 1000
    orchestrator: Annotated[
        str | None,
        Meta(description="Of `peers`, a node outside the site: holds no shards, runs steps when the site is exhausted"),
    ] = None
    move_bytes_s: Annotated[
        int, Meta(ge=1 << 10, le=1 << 40, description="What a node hands over a second at most while shards are moved")
    ] = 8 << 20
    rebalance: Annotated[
        Literal["off", "auto"],
        Meta(description="`auto`: the node that writes the map moves, divides, dissolves shards where that gains"),
    ] = "off"
    made: Annotated[
        Literal["here", "spread"],
        Meta(description="Where a collection lies that a request makes without saying: on this node, or on all"),
    ] = "here"
    encryption: EncryptionTable | None = None
    """Of `encrypted.fields` of spread collections: the same keys on all nodes."""

    @property
    def others(self) -> dict[str, str]:
        """Nodes that may hold shards beside this one, with their regions."""
        return {name: self.regions.get(name, "") for name in sorted(self.peers.keys() - {self.orchestrator})}


class SpreadTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a collection lies on the nodes of the site. What is set here holds for a new one."""

    strategy: Annotated[
        Literal["hash", "geographic", "metric", "hybrid"], Meta(description="What decides where a point lies")
    ] = "hash"
    shards: Annotated[int, Meta(ge=1, le=256, description="Parts, each a process on the nodes that hold it")] = 4
    replicas: Annotated[int, Meta(ge=1, le=8, description="Nodes that hold each shard")] = 2
    holders: Annotated[int, Meta(ge=1, le=8, description="Nodes that must have a write before it is acknowledged")] = 1
    recall: Annotated[
        float, Meta(gt=0, le=1, description="Of an answer, at least; nodes that cannot matter are not asked")
    ] = 0.95
    max_age_s: Annotated[
        float, Meta(ge=0, le=3600, description="Answers to the same search are told again for so long; 0: never")
    ] = 0.0
    sample: Annotated[
        str | None,
        Meta(description="Vectors that cells are fitted to: a `.npy` file of float32, one a row; without, own points"),
    ] = None
    copies: Annotated[
        float, Meta(ge=1, le=4, description="Places a point of `metric` or `hybrid` lies in, in the mean")
    ] = 1.3
    regions: Annotated[
        list[Region], Meta(max_length=REGIONS_MAX, description="Of `geographic`; default: those of the nodes")
    ] = []
    region: Annotated[
        Region | None,
        Meta(description="Key of the payload that names a point's region; default: that of the node that is asked"),
    ] = None
    elsewhere: Annotated[
        Region | None, Meta(description="The region of points from one that has no shards; default: refused")
    ] = None
    pinned: Annotated[
        list[Region], Meta(max_length=REGIONS_MAX, description="Regions that their points never leave")
    ] = []
    within: Annotated[
        Literal["hash", "metric", "hybrid"],
        Meta(description="How each region is spread; cells by `sample`, whose means all nodes have"),
    ] = "hash"
    model: Annotated[str, Meta(max_length=200, description="Version of the model whose embeddings these are")] = ""
    by: Annotated[
        Annotated[str, Meta(max_length=255)] | None,
        Meta(description="Name of the vector that cells are of; default: the first dense one"),
    ] = None

    @property
    def needs_sample(self) -> bool:
        """Whether cells are to be fitted."""
        return self.strategy in BY_VECTOR or (self.strategy == "geographic" and self.within in BY_VECTOR)

    @property
    def begins_by_id(self) -> bool:
        """Whether cells are fitted to the collection's own points, once there are enough."""
        return self.strategy in BY_VECTOR and self.sample is None


def check_mesh(mesh: MeshTable | None, node: str, collections: Mapping[str, "CollectionTable"], place: Place) -> None:
    """What the tables say of each other. Raises SettingError."""
    for name, table in collections.items():
        if table.spread is None:
            continue
        spread = place / "collections" / name / "spread"
        if mesh is None:
            raise spread.about("needs the table `mesh`, which says who the other nodes are")
        check_spread(table, spread)
    if mesh is not None and mesh.door is not None and mesh.certificate is not None:
        raise (place / "mesh" / "door").about("needs the identity of `mesh init`, not a named certificate")
    if mesh is not None:
        _check_names(mesh, node, place)


def check_spread(table: "CollectionTable", place: Place) -> None:
    """What `spread` says against the vectors, and of itself. Raises SettingError."""
    spread = table.spread
    assert spread is not None
    _check_strategy(table, spread, place)
    if spread.holders > spread.replicas:
        raise (place / "holders").wrong(spread.holders, f"at most `replicas`, which is {spread.replicas}")


def cells_by(spread: SpreadTable, config: CollectionConfig) -> str:
    """Name of the vector that cells are of, or would be; "" = the one without a name, or that there is none."""
    return next(iter(config.dense), "") if spread.by is None else spread.by


def _check_cells(config: CollectionConfig, spread: SpreadTable, place: Place) -> None:
    """Whether they can be made of the vector."""
    params = config.dense.get(cells_by(spread, config))
    hint = 'name another vector in `by`, or spread by `hash`, or by `geographic` with `within = "hash"`'
    if params is None or params.multivector_config is not None:
        raise (place / "by").about("cells need one dense vector a point, and this is none", hint=hint)
    if params.distance not in ("Cosine", "Euclid"):
        told = f"cells need vectors with `Cosine` or `Euclid`, these have `{params.distance}`"
        raise (place / "strategy").about(told, hint=hint)


def _check_strategy(table: "CollectionTable", spread: SpreadTable, place: Place) -> None:
    if spread.by is not None and spread.by not in (dense := table.config().dense):
        known = ", ".join(f"`{name}`" for name in dense)
        raise (place / "by").wrong(spread.by, f"the name of a dense vector, of {known or 'which there is none'}")
    if spread.needs_sample:
        if spread.sample is None and not spread.begins_by_id:
            raise (place / "sample").about("is missing: cells are fitted to a sample of the vectors to come")
        _check_cells(table.config(), spread, place)
    if spread.strategy != "geographic":
        defaults = SpreadTable()
        for key in FOR_GEOGRAPHIC:
            if getattr(spread, key) != getattr(defaults, key):
                hint = f'`strategy = "geographic"` with `within = "{spread.strategy}"`' if spread.needs_sample else None
                raise (place / key).about("is for the strategy `geographic`", hint=hint)
        return
    for key, region in (*(("pinned", one) for one in spread.pinned), ("elsewhere", spread.elsewhere)):
        if region is not None and spread.regions and region not in spread.regions:
            raise (place / key).wrong(region, f"one of `regions`, {', '.join(spread.regions)}")
    if spread.elsewhere in spread.pinned:
        raise (place / "elsewhere").about(f"region `{spread.elsewhere}` is pinned, and takes no points from elsewhere")
    if len(spread.regions) > spread.shards:
        raise (place / "shards").wrong(spread.shards, f"at least one for each region, {len(spread.regions)}")


def _check_names(mesh: MeshTable, node: str, place: Place) -> None:
    expected = "1 to 63 of a-z, 0-9 and `-`, as names in a mesh are"
    if not NODE_NAME.fullmatch(node):
        raise (place / "node" / "name").wrong(node, expected)
    if not NODE_NAME.fullmatch(mesh.site):
        raise (place / "mesh" / "site").wrong(mesh.site, expected)
    if mesh.orchestrator is not None and mesh.orchestrator not in mesh.peers:
        raise (place / "mesh" / "orchestrator").wrong(mesh.orchestrator, "one of `mesh.peers`")
    for name in mesh.peers:
        if not NODE_NAME.fullmatch(name):
            raise (place / "mesh" / "peers").wrong(name, expected)
        if name == node:
            raise (place / "mesh" / "peers" / name).about("is this node itself")
    for name in mesh.regions:
        if name not in mesh.peers:
            raise (place / "mesh" / "regions" / name).about("is none of `peers`; this node's own is `region`")
