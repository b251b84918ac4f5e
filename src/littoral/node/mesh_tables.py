"""Tables of a site file about other nodes: `[mesh]`, and `spread` of a collection."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.node.site_problems import NAME_PATTERN, Place

if TYPE_CHECKING:
    from littoral.node.site_tables import CollectionTable

__all__ = ["MeshTable", "SpreadTable", "check_mesh"]

PEERS_MAX = 256
OFFERED = ("hash", "metric")
NODE_NAME = re.compile(r"[a-z0-9-]{1,63}")

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
NonEmpty = Annotated[str, Meta(min_length=1, max_length=4096)]


class MeshTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The other nodes of the site; `node.name` is this one's name among them."""

    site: Annotated[Name, Meta(description="Name of the site, the same on all its nodes")]
    listen: Annotated[NonEmpty, Meta(description="Address and port for the other nodes")] = "0.0.0.0:7447"
    peers: Annotated[
        dict[Name, NonEmpty],
        Meta(max_length=PEERS_MAX, description="The other nodes: their names, and the address and port of each"),
    ] = {}
    region: Annotated[str, Meta(max_length=64, description="Where this node is; for `geographic`")] = ""
    transport: Annotated[
        Literal["quic", "tls"], Meta(description="`quic`, or `tls` (over TCP) where a network lets no UDP pass")
    ] = "quic"
    authority: Annotated[
        str | None, Meta(description="Certificate of the site's CA; default: as `mesh join` left it")
    ] = None
    certificate: Annotated[str | None, Meta(description="Of this node; default: as `mesh join` left it")] = None
    key: Annotated[str | None, Meta(description="Of this node; default: as `mesh join` left it")] = None
    deadline_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="How long an answer waits for other nodes at most")
    ] = 1000
    move_bytes_s: Annotated[
        int, Meta(ge=1 << 10, le=1 << 40, description="What a node sends a second at most while shards are moved")
    ] = 8 << 20


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
    sample: Annotated[
        str | None, Meta(description="Vectors that `metric` is fitted to: a `.npy` file of float32, one a row")
    ] = None
    model: Annotated[str, Meta(max_length=200, description="Version of the model whose embeddings these are")] = ""


def check_mesh(mesh: MeshTable | None, node: str, collections: Mapping[str, "CollectionTable"], place: Place) -> None:
    """What the tables say of each other. Raises SettingError."""
    for name, table in collections.items():
        if table.spread is None:
            continue
        spread = place / "collections" / name / "spread"
        if mesh is None:
            raise spread.about("needs the table `mesh`, which says who the other nodes are")
        if table.spread.strategy not in OFFERED:
            raise (spread / "strategy").about(f"`{table.spread.strategy}` is not offered in this version")
        if table.spread.strategy == "metric" and table.spread.sample is None:
            raise (spread / "sample").about("is missing: `metric` is fitted to a sample of the vectors to come")
        if table.spread.holders > table.spread.replicas:
            raise (spread / "holders").wrong(
                table.spread.holders, f"at most `replicas`, which is {table.spread.replicas}"
            )
    if mesh is not None:
        _check_names(mesh, node, place)


def _check_names(mesh: MeshTable, node: str, place: Place) -> None:
    expected = "1 to 63 of a-z, 0-9 and `-`, as names in a mesh are"
    if not NODE_NAME.fullmatch(node):
        raise (place / "node" / "name").wrong(node, expected)
    if not NODE_NAME.fullmatch(mesh.site):
        raise (place / "mesh" / "site").wrong(mesh.site, expected)
    for name in mesh.peers:
        if not NODE_NAME.fullmatch(name):
            raise (place / "mesh" / "peers").wrong(name, expected)
        if name == node:
            raise (place / "mesh" / "peers" / name).about("is this node itself")
