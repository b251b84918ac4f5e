"""`/api/mesh`: the nodes of the site as this one sees them, what each holds, and how they reach each other."""

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from littoral.node.federation.federation import Federation
from littoral.node.mesh_told import MeshTold, State, Weight
from littoral.node.mesh_view import view
from littoral.node.node import Node
from littoral.telemetry import Endured, Reading
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["mesh_protocol", "mesh_readings"]


def mesh_protocol(node: Node) -> Protocol:
    """JSON for the page, for `littoral mesh status`, and for people with curl."""

    async def told(_: Request) -> Answer:
        if node.federation is None:
            return json_answer({"site": None})
        return json_answer(view(node.federation, now_s=node.clock.wall()))

    return Protocol((), [Route("GET", "/api/mesh", told)])


def mesh_readings(federation: Federation, *, now_s: float) -> list[Reading]:
    """For the metrics. now_s: Unix seconds."""
    counts, states = federation.asking.counts, federation.members()
    found = [
        Reading("littoral_mesh_members", (), sum(state.is_member for state in states)),
        Reading("littoral_mesh_members_here", (), sum(state.is_member and state.is_here for state in states)),
        Reading("littoral_mesh_map_number", (), federation.map.number),
        Reading("littoral_federated_reads_total", (), counts.reads),
        Reading("littoral_federated_writes_total", (), counts.writes),
        Reading("littoral_federated_asks_total", (), counts.remote_asks),
        Reading("littoral_federated_again_total", (), counts.again),
        Reading("littoral_federated_searches_total", ("certified",), counts.certified),
        Reading("littoral_federated_searches_total", ("estimated",), counts.estimated),
        Reading("littoral_federated_searches_total", ("uncertain",), counts.uncertain),
        Reading("littoral_federated_audited_total", (), federation.routing.audited_count),
        Reading("littoral_federated_alarms_total", (), federation.routing.alarm_count),
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
    found += _seen(view(federation, now_s=now_s))
    found += [*federation.replicas.readings(), *federation.seeding.readings()]
    return [
        *found,
        *federation.traffic_readings(),
        *federation.moving.readings(),
        *federation.homing.readings(),
        *Endured.readings(),
    ]


def _seen(told: MeshTold) -> Iterator[Reading]:
    """Counts of what is shown."""
    states = Counter(member.state for member in told.members)
    weights = Counter(problem.weight for problem in told.problems)
    shards = [shard for collection in told.collections.values() for shard in collection.shards]
    for state in get_args(State):
        yield Reading("littoral_mesh_members_by_state", (state,), states[state])
    for weight in get_args(Weight):
        yield Reading("littoral_mesh_problems", (weight,), weights[weight])
    yield Reading("littoral_mesh_shards_short", (), sum(shard.actual < shard.wanted for shard in shards))
    yield Reading("littoral_mesh_shards_lost", (), sum(shard.actual == 0 for shard in shards))
