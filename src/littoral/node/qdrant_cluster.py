"""What Qdrant's API tells of a cluster, of a site: its nodes are the peers, holders of shards the replicas."""

import hashlib
from datetime import UTC, datetime

from littoral.errors import UnavailableError
from littoral.node.mesh_told import CollectionTold, HolderTold, MeshTold, MoveTold

__all__ = ["cluster", "cluster_of", "cluster_of_one", "peer_id"]

Json = dict[str, object]
PEER_BITS = 53
"""Of a number that every reader of JSON keeps."""


def peer_id(node: str) -> int:
    """The number that stands for a node's name; the same everywhere."""
    return int.from_bytes(hashlib.sha256(node.encode()).digest()[:8], "big") >> (64 - PEER_BITS)


def cluster(told: MeshTold | None, *, now_s: float) -> Json:
    """Of `GET /cluster`; None: of a node in no mesh. The map's writer is the leader, its number what is committed.

    now_s: Unix seconds.
    """
    if told is None:
        return {"status": "disabled"}
    writer, number = told.desired.writer, told.map_number
    behind = sum(one.is_here and (one.map_number or 0) < number for one in told.members)
    failed = {one.peer: one.failed_count for one in told.links if one.node == told.node and not one.is_up}
    return {
        "status": "enabled",
        "peer_id": peer_id(told.node),
        "peers": {str(peer_id(one.name)): {"uri": one.address} for one in told.members if one.is_member},
        "raft_info": {
            "term": number,
            "commit": number,
            "pending_operations": behind,
            "leader": peer_id(writer),
            "role": "Leader" if writer == told.node else "Follower",
            "is_voter": False,
        },
        "consensus_thread_status": {
            "consensus_thread_status": "working",
            "last_update": datetime.fromtimestamp(now_s, UTC).isoformat(),
        },
        "message_send_failures": {
            str(peer_id(peer)): {"count": count, "latest_error": f"node `{peer}` does not answer"}
            for peer, count in sorted(failed.items())
        },
    }


def cluster_of(told: MeshTold, name: str) -> Json:
    """Of `GET /collections/{c}/cluster`. Raises UnavailableError while the map has no place for it."""
    if (found := told.collections.get(name)) is None:
        raise UnavailableError(f"collection `{name}` has no place on the nodes yet", hint="try again")
    local, remote = _replicas(found, told.node)
    moves = [one for one in told.moves if one.collection == name and one.sources]
    return _info(told.node, len(found.shards), local, remote, [row for one in moves for row in _transfers(one)])


def cluster_of_one(node: str, count: int) -> Json:
    """Of a collection of so many points that lies on this node alone."""
    return _info(node, 1, [{"shard_id": 0, "points_count": count, "state": "Active"}], [], [])


def _info(node: str, count: int, local: list[Json], remote: list[Json], transfers: list[Json]) -> Json:
    return {
        "peer_id": peer_id(node),
        "shard_count": count,
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": transfers,
    }


def _replicas(told: CollectionTold, here: str) -> tuple[list[Json], list[Json]]:
    local: list[Json] = []
    remote: list[Json] = []
    for shard in told.shards:
        for holder in shard.holders:
            state: Json = {"shard_id": shard.shard, "state": _state(holder)}
            if holder.node == here:
                local.append({**state, "points_count": holder.points or 0})
            else:
                remote.append({**state, "peer_id": peer_id(holder.node)})
    return local, remote


def _state(holder: HolderTold) -> str:
    if holder.state != "here":
        return "Dead"
    if holder.epoch is None:
        return "Initializing"
    return "Recovery" if holder.lag_entries else "Active"


def _transfers(move: MoveTold) -> list[Json]:
    """Each shard to come, from a node whose points it takes to those that are to hold it."""
    comment = move.what if move.share is None else f"{move.what}, {move.stage}, {move.share:.0%}"
    said = {"from": peer_id(min(move.sources)), "sync": True, "method": "stream_records", "comment": comment}
    return [{**said, "shard_id": shard, "to": peer_id(target)} for shard in move.shards for target in move.targets]
