"""What Qdrant's API tells of a cluster, made of what a node tells of its site; read by its own client's types."""

from msgspec import structs
from qdrant_client import models

from littoral.node.mesh_told import CollectionTold, DesiredTold, HolderTold, LinkTold, MeshTold, MoveTold, ShardTold
from littoral.node.qdrant_cluster import cluster, cluster_of, peer_id


def holder(node: str, **other: object) -> HolderTold:
    whole = HolderTold(node=node, state="here", points=7, disk_bytes=1, epoch=3, lag_entries=0, lag_s=0.0)
    return structs.replace(whole, **other)


HOLDERS = [
    [holder("a"), holder("b")],
    [holder("b", lag_entries=2), holder("c", state="frozen")],
    [holder("a", epoch=None, points=None), holder("c", state="missing")],
]
SHARDS = [ShardTold(shard=i + 4, wanted=2, actual=1, holders=holders) for i, holders in enumerate(HOLDERS)]
TOLD = MeshTold(
    site="shop",
    node="a",
    map_number=9,
    members=[],
    links=[
        LinkTold(
            node="a",
            peer="c",
            is_up=False,
            round_trip_ms=None,
            bytes_per_s=0.0,
            sent_bytes=0,
            received_bytes=0,
            asked_count=5,
            failed_count=2,
        )
    ],
    collections={
        "notes": CollectionTold(strategy="hash", words="", model="", epoch=1, points=None, shards=SHARDS),
    },
    moves=[
        MoveTold(
            collection="notes",
            what="shard 4 moves",
            shards=[7],
            sources=["a", "b"],
            targets=["c"],
            stage="copying",
            share=0.25,
        )
    ],
    desired=DesiredTold(map_number=9, writer="b", signed_by=None, roster_number=None, roster_writer=None),
    routing=None,  # type: ignore[arg-type]
    lacking=[],
    problems=[],
)


def test_replicas_say_whether_they_answer_and_have_everything() -> None:
    told = models.CollectionClusterInfo.model_validate(cluster_of(TOLD, "notes"))
    assert [(one.shard_id, one.points_count, one.state.value) for one in told.local_shards] == [
        (4, 7, "Active"),
        (6, 0, "Initializing"),
    ]
    assert [(one.shard_id, one.peer_id, one.state.value) for one in told.remote_shards] == [
        (4, peer_id("b"), "Active"),
        (5, peer_id("b"), "Recovery"),
        (5, peer_id("c"), "Dead"),
        (6, peer_id("c"), "Dead"),
    ]


def test_a_shard_on_its_way_is_a_transfer() -> None:
    (move,) = models.CollectionClusterInfo.model_validate(cluster_of(TOLD, "notes")).shard_transfers or []
    assert (move.shard_id, move.from_, move.to) == (7, peer_id("a"), peer_id("c"))
    assert move.comment == "shard 4 moves, copying, 25%"


def test_the_node_that_writes_the_map_leads_and_peers_that_do_not_answer_are_named() -> None:
    told = models.ClusterStatusOneOf1.model_validate(cluster(TOLD, now_s=1.7e9))
    assert (told.raft_info.leader, told.raft_info.role, told.raft_info.commit) == (peer_id("b"), "Follower", 9)
    assert told.message_send_failures[str(peer_id("c"))].count == 2
    led = structs.replace(TOLD, node="b")
    assert models.ClusterStatusOneOf1.model_validate(cluster(led, now_s=1.7e9)).raft_info.role == "Leader"


def test_a_peer_s_number_is_one_that_every_reader_of_json_keeps() -> None:
    assert peer_id("gw-1") != peer_id("gw-2")
    assert all(0 <= peer_id(f"node-{i}") < 1 << 53 for i in range(1000))
