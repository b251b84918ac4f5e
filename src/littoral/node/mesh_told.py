"""What `GET /api/mesh` answers, as data: a written contract, whose JSON Schema is `docs/reference/mesh.schema.json`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "CollectionTold",
    "DesiredTold",
    "HolderTold",
    "LinkTold",
    "MemberTold",
    "MeshTold",
    "MoveTold",
    "Problem",
    "RolloverTold",
    "RouteClassTold",
    "RoutingTold",
    "SealingTold",
    "ShardTold",
    "State",
    "Weight",
    "schema",
]

State = Literal["here", "frozen", "missing", "left"]
"""here: reached. frozen: seems to be here, and has said nothing for three rounds of facts. missing: of the site, and
not reached. left: reached or heard of, and no member of the site (any more)."""

Weight = Literal["fail", "warn"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads passes over what it does not know: nodes of several versions answer."""


class MemberTold(Told, frozen=True):
    """A node. What is null was never heard of it."""

    name: str
    region: str
    state: State
    is_member: Annotated[bool, Meta(description="By the site's roster")]
    is_here: Annotated[bool, Meta(description="By the network, as the node that tells sees it")]
    address: Annotated[str, Meta(description="Of its HTTP interface; empty where it is not known")]
    version: str | None
    boot: Annotated[int | None, Meta(description="How often it was started on its data folder")]
    since_s: Annotated[float | None, Meta(description="When it started: Unix seconds, by the clock of who tells")]
    fact_age_s: Annotated[float | None, Meta(description="Since its latest word")]
    map_number: Annotated[int | None, Meta(description="Of the shard map it goes by")]
    points: int | None
    disk_bytes: Annotated[int | None, Meta(description="Of its shards")]
    shards: Annotated[dict[str, list[int]], Meta(description="That it should hold, by collection")]
    lag_s: Annotated[float | None, Meta(description="For how long a replica of a peer has lacked what this node has")]


class LinkTold(Told, frozen=True):
    """From a node that is here to another one, as measured by the first."""

    node: str
    peer: str
    is_up: Annotated[bool, Meta(description="The peer is here for the node, and answered when it was asked last")]
    round_trip_ms: Annotated[float | None, Meta(description="Median of an empty request; null before the first")]
    bytes_per_s: Annotated[float, Meta(description="Requests and answers of the latest 2 s, both ways")]
    sent_bytes: int
    received_bytes: int
    asked_count: int
    failed_count: Annotated[int, Meta(description="Requests that the peer did not answer")]


class HolderTold(Told, frozen=True):
    """A replica. Null: its node has not told."""

    node: str
    state: State
    points: int | None
    disk_bytes: int | None
    epoch: Annotated[int | None, Meta(description="Of its contents: grows with every change")]
    lag_entries: Annotated[int, Meta(description="Writes that another replica has and this one lacks")]
    lag_s: Annotated[float, Meta(description="For how long it has lacked some; 0 if it lacks none")]


class ShardTold(Told, frozen=True):
    """wanted: replicas by the site file. actual: holders that are here and have it."""

    shard: int
    wanted: int
    actual: int
    holders: list[HolderTold]


class SealingTold(Told, frozen=True):
    """Fields of payloads that lie sealed on all nodes. key: id of that which seals them."""

    fields: list[str]
    key: str
    older: Annotated[list[str], Meta(description="Keys that some values may still be sealed by: every node needs them")]
    is_partly_plain: Annotated[bool, Meta(description="Values from before a field was named may still lie plain")]
    leaving: Annotated[list[str], Meta(description="Fields that are to lie plain again")]
    step: Annotated[
        Literal["", "announced", "opening", "clearing"],
        Meta(description="Of these: all learn to read both forms, values are opened, what stood beside them goes"),
    ]
    looked_at: Annotated[int, Meta(description="Points that were looked at in the round that is under way")]
    written: Annotated[int, Meta(description="Values that were sealed or opened anew in it")]


class CollectionTold(Told, frozen=True):
    """A collection that is spread. words: what the strategy goes by, for people."""

    strategy: str
    words: str
    model: str
    epoch: Annotated[int, Meta(description="Of its place in the shard map")]
    points: Annotated[int | None, Meta(description="Of each shard the most that a holder told; null if one is unknown")]
    shards: list[ShardTold]
    sealing: SealingTold | None = None


class MoveTold(Told, frozen=True):
    """A change of where shards lie that is on its way. shards: to come. share: of its work that is done."""

    collection: str
    what: str
    shards: list[int]
    sources: list[str]
    targets: list[str]
    stage: str
    share: float | None


class RolloverTold(Told, frozen=True):
    """A change of the site's authority that is on its way. Authorities by their SHA-256."""

    authority: str
    older: list[str]
    begun_at_s: float
    within_s: float
    waiting: Annotated[
        list[str] | None, Meta(description="Who has not shown a certificate by it; null: the writer knows")
    ]


class DesiredTold(Told, frozen=True):
    """What the site should be. The roster is null where the site file says who belongs to it."""

    map_number: int
    writer: Annotated[str, Meta(description="The one node that writes the shard map")]
    signed_by: Annotated[str | None, Meta(description="Who signed the shard map; null: nobody")]
    roster_number: int | None
    roster_writer: Annotated[str | None, Meta(description="The one node that writes and signs the roster")]
    rollover: RolloverTold | None = None


class RouteClassTold(Told, frozen=True):
    """Searches of one class: where routes stop, and what that keeps. level: null while nothing is calibrated."""

    name: str
    target: float
    level: float | None
    audited: int
    alarms: int
    recall: float | None


class RoutingTold(Told, frozen=True):
    """Of the node that tells, since it started. nodes_per_read: others that were asked, mean."""

    reads: int
    writes: int
    asked: int
    incomplete: int
    nodes_per_read: float | None
    classes: list[RouteClassTold]


class Problem(Told, frozen=True):
    """What should be looked at. subject: node, link, collection or shard. hint: what to do."""

    weight: Weight
    check: str
    subject: str
    message: str
    hint: str


class MeshTold(Told, frozen=True):
    """The site as `node` sees it. lacking: what this node should hold and has not."""

    site: str
    node: str
    map_number: int
    members: list[MemberTold]
    links: list[LinkTold]
    collections: dict[str, CollectionTold]
    moves: list[MoveTold]
    desired: DesiredTold
    routing: RoutingTold
    lacking: list[str]
    problems: list[Problem]


def schema() -> dict[str, object]:
    """JSON Schema of the answer of a node with a mesh."""
    return msgspec.json.schema(MeshTold)
