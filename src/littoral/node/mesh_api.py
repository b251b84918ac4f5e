"""`/api/mesh`: the nodes of the site as this one sees them, what each holds, and how they reach each other."""

from typing import Any

from littoral.mesh.membership import MemberState
from littoral.node.federation.federation import Federation
from littoral.node.node import Node
from littoral.telemetry import Reading
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["mesh_protocol", "mesh_readings"]


def mesh_protocol(node: Node) -> Protocol:
    """JSON for the page, for `littoral mesh members`, and for people with curl."""

    async def told(_: Request) -> Answer:
        return json_answer({"site": None} if node.federation is None else _told(node.federation))

    return Protocol((), [Route("GET", "/api/mesh", told)])


def _told(federation: Federation) -> dict[str, Any]:
    facts = federation.facts.all()
    links = {name: known.fact.links_ms for name, known in facts.items() if known.fact.links_ms}
    links[federation.name] = dict(federation.asking.links.medians_ms())
    return {
        "site": federation.site,
        "node": federation.name,
        "map_number": federation.map.number,
        "members": [_member(member) for member in federation.members()],
        "links_ms": links,
        "collections": {name: _collection(federation, name) for name in sorted(federation.map.spreads)},
        "lacking": federation.lacking(),
    }


def _member(member: MemberState) -> dict[str, Any]:
    return member._asdict() | {"shards": {name: list(held) for name, held in member.shards.items()}}


def _collection(federation: Federation, name: str) -> dict[str, Any]:
    spread = federation.map.spreads[name]
    points = {node: known.fact.points.get(name, {}) for node, known in federation.facts.all().items()}
    shards = [
        {"shard": shard, "nodes": nodes, "points": {node: points.get(node, {}).get(shard) for node in nodes}}
        for shard, nodes in sorted(spread.places.items())
    ]
    return {"strategy": spread.strategy, "model": spread.model, "epoch": spread.epoch, "shards": shards}


def mesh_readings(federation: Federation) -> list[Reading]:
    """For the metrics."""
    counts, states = federation.asking.counts, federation.members()
    found = [
        Reading("littoral_mesh_members", (), sum(state.is_member for state in states)),
        Reading("littoral_mesh_members_here", (), sum(state.is_member and state.is_here for state in states)),
        Reading("littoral_mesh_map_number", (), federation.map.number),
        Reading("littoral_federated_reads_total", (), counts.reads),
        Reading("littoral_federated_writes_total", (), counts.writes),
        Reading("littoral_federated_asks_total", (), counts.remote_asks),
        Reading("littoral_federated_again_total", (), counts.again),
        Reading("littoral_federated_incomplete_total", (), counts.incomplete),
        Reading("littoral_federated_behind_total", (), federation.replicas.behind_count),
        Reading("littoral_federated_refused_total", (), counts.refused),
    ]
    if (below := getattr(federation.transport, "readings", None)) is not None:
        found += below()
    for peer, count in counts.failures_by_peer.items():
        found.append(Reading("littoral_federated_failures_total", (peer,), count))
    for peer, link_ms in federation.asking.links.medians_ms().items():
        found.append(Reading("littoral_mesh_link_seconds", (peer,), link_ms / 1000))
    return [*found, *federation.traffic_readings(), *federation.replicas.readings()]
