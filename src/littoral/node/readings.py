"""What is read of a node at each scrape: pools, collections, listeners."""

from collections.abc import Iterator

from littoral.making.builds import OUTCOMES
from littoral.node.collection_status import KnownStates
from littoral.node.load_readings import pipeline_readings
from littoral.node.mesh_api import mesh_readings
from littoral.node.migration.api import migration_readings
from littoral.node.model_readings import model_readings
from littoral.node.node import Node
from littoral.node.process_readings import process_readings
from littoral.runtime.agents import Agent
from littoral.runtime.instance import Session
from littoral.runtime.pool import Pool
from littoral.telemetry import Reading
from littoral.vectors.records import ShardInfo
from littoral.web import Events

__all__ = ["read_node"]


async def read_node(node: Node, states: KnownStates, events: Events, busy_count: int) -> list[Reading]:
    """A collection that does not answer within a second is told as such."""
    known = await states.read()
    found = [
        Reading("littoral_http_requests_busy", (), busy_count),
        Reading("littoral_node_ready", (), node.is_ready),
        Reading("littoral_node_uptime_seconds", (), node.uptime_s),
        Reading("littoral_events_listeners", (), events.listener_count),
        Reading("littoral_events_dropped_total", (), events.dropped_count + _dropped(node)),
    ]
    if node.builds is not None:
        found += [Reading("littoral_builds_total", (outcome,), node.builds.ended[outcome]) for outcome in OUTCOMES]
    found += process_readings(node.started_at)
    found += model_readings(node)
    for model in node.models.values():
        found += _pool("model", model.name, model.pool)
    for agent in node.agents.values():
        found += _pool("agent", agent.name, agent.pool)
        own = agent.pool.first.statistics()
        found.append(Reading("littoral_agent_log_lines_dropped_total", (agent.name,), own.log_lines_dropped))
        found.append(Reading("littoral_agent_memory_bytes", (agent.name,), own.memory_bytes))
        ends = agent.pool.ends.items()
        found += [Reading("littoral_agent_ends_total", (agent.name, reason), count) for reason, count in ends]
    found += pipeline_readings(node)
    for collection, state in known:
        found.append(Reading("littoral_collection_answers", (collection.name,), isinstance(state, ShardInfo)))
        if isinstance(state, ShardInfo):
            found.append(Reading("littoral_collection_points", (collection.name,), state.points_count))
            indexed = state.indexed_vectors_count
            found.append(Reading("littoral_collection_indexed_vectors", (collection.name,), indexed))
    times = node.collections.request_times()
    found += [Reading("littoral_shard_request_duration_seconds", (name, asked), took) for name, asked, took in times]
    found += node.caches.readings()
    if node.log is not None:
        found += node.log.readings()
    if node.traces is not None:
        found += node.traces.exporter.readings()
    found += migration_readings(node)
    if node.federation is not None:
        found += mesh_readings(node.federation, now_s=node.clock.wall())
    if node.audit is not None:
        found += node.audit.readings()
    if node.placement is not None:
        found += node.placement.readings()
    found += [Reading("littoral_collection_answers", (name,), 0) for name in node.collections.damaged]
    return found


def _dropped(node: Node) -> int:
    return 0 if node.builds is None else node.builds.events.dropped_count


def _pool(kind: str, name: str, pool: Pool[Session] | Pool[Agent]) -> Iterator[Reading]:
    found = pool.statistics()
    values = {
        "littoral_pool_instances": found.instances,
        "littoral_pool_busy": found.busy,
        "littoral_pool_waiting": found.waiting,
        "littoral_pool_runs_total": found.runs,
        "littoral_pool_failures_total": found.failures,
        "littoral_pool_refused_total": found.refused,
        "littoral_pool_timed_out_total": found.timed_out,
        "littoral_pool_work_seconds_total": found.worked_s,
        "littoral_pool_wait_seconds_total": found.waited_s,
    }
    if pool.quarantine is not None:
        values["littoral_pool_quarantined"] = pool.quarantine.state is not None
        values["littoral_pool_quarantines_total"] = pool.quarantine.entered
    return (Reading(metric, (kind, name), value) for metric, value in values.items())
