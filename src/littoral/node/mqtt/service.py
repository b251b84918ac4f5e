"""All MQTT routes of a node, beside its HTTP interface, and what is told of them."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from littoral.errors import SetupError
from littoral.node.mqtt.queue import REASONS, Bounds
from littoral.node.mqtt_tables import RouteTable, route_names
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.shown.mqtt import told_mqtt
from littoral.node.site import Site
from littoral.tables.broker import broker_of
from littoral.telemetry import Reading

if TYPE_CHECKING:
    from littoral.mqtt.link import LinkState
    from littoral.node.mqtt.route import Plan, Route

__all__ = ["mqtt_routes"]

PUBLISHER = "publisher"
FOLDER = "mqtt"
"""Below the node's data."""


@contextlib.asynccontextmanager
async def mqtt_routes(site: Site, node: Node, observed: Observed) -> AsyncIterator[Sequence["Route"]]:
    """The routes of the site file, until the block ends. Raises SetupError without the extra `mqtt`.

    A broker that is away keeps nobody from starting: it is asked again and again, and metrics say so.
    """
    if site.mqtt is None or not site.mqtt.routes:
        yield ()
        return
    try:
        from littoral.mqtt.connection import Session
        from littoral.mqtt.link import Link
        from littoral.node.mqtt.route import Route
    except ModuleNotFoundError as error:
        raise SetupError("`mqtt` needs paho-mqtt", hint="pip install 'littoral[mqtt]'") from error
    table, broker = site.mqtt, broker_of(site.mqtt, site.path_of)
    rng = random.Random()  # noqa: S311  pauses are no secret
    prefix = table.client_id or node.name
    publisher = Link(broker, Session(f"{prefix}.{PUBLISHER}"), rng=rng, clock=node.clock)
    routes = []
    for name, entry in zip(route_names(table), table.routes, strict=True):
        session = Session(
            f"{prefix}.{name}.{_short_digest(entry)}",
            table.session_s if entry.qos else 0,
            entry.queue.max + entry.parallel if entry.qos else 0,
            table.payload_bytes_max,
        )
        tenant = None if entry.tenant is None else node.tenants[entry.tenant]
        served = (node if tenant is None else tenant.node).pipelines[entry.pipeline]
        plan = _plan(name, entry, [other.topic for other in table.routes if other.tenant != entry.tenant])
        done = node.data / FOLDER / f"{quote(name, safe='')}.done" if entry.qos else None
        routes.append(
            Route(
                plan,
                served,
                broker,
                session,
                publisher,
                observed if tenant is None else tenant.observed,
                done_file=done,
                rate=None if tenant is None else tenant.rate,
                rng=rng,
                clock=node.clock,
            )
        )
    observed.sources.append(lambda: _readings(publisher.state, routes))
    node.mqtt = lambda: told_mqtt(broker, publisher.state, zip(table.routes, routes, strict=True))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(route.run()) for route in routes] + [group.create_task(publisher.stay())]
        try:
            yield routes
        finally:
            for task in tasks:
                task.cancel()


def _plan(name: str, entry: RouteTable, barred: Sequence[str]) -> "Plan":
    from littoral.node.mqtt.route import Plan

    queue = entry.queue
    age_s = None if queue.age_ms is None else queue.age_ms / 1000
    return Plan(
        name=name,
        topic=entry.topic,
        publish=entry.publish,
        errors=entry.errors,
        qos=entry.qos,
        share=entry.share,
        is_retained=entry.retain,
        parallel=entry.parallel,
        deadline_ms=entry.deadline_ms,
        # of QoS 1 the broker may send so many before a worker has taken the first
        bounds=Bounds(queue.max + entry.parallel * entry.qos, queue.bytes_max, age_s, queue.keep == "latest"),
        tenant=entry.tenant or "",
        barred=barred,
    )


def _short_digest(entry: RouteTable) -> str:
    """Another topic is another session: the broker would go on with the old one's subscription."""
    owner = "" if entry.tenant is None else f"\n{entry.tenant}"
    return hashlib.sha256(f"{entry.share}\n{entry.topic}\n{entry.qos}{owner}".encode()).hexdigest()[:8]


def _readings(publisher: "LinkState", routes: Iterable["Route"]) -> Iterator[Reading]:
    yield from _link_readings(PUBLISHER, publisher)
    for route in routes:
        name, found = route.plan.name, route.statistics()
        yield from _link_readings(name, found.link)
        values = {
            "littoral_mqtt_messages_total": found.messages,
            "littoral_mqtt_answered_total": found.answered,
            "littoral_mqtt_again_total": found.again,
            "littoral_mqtt_retries_total": found.retries,
            "littoral_mqtt_waiting": found.waiting,
            "littoral_mqtt_waiting_bytes": found.waiting_bytes,
            "littoral_mqtt_oldest_seconds": found.oldest_s,
            "littoral_mqtt_busy": found.busy,
        }
        yield from (Reading(metric, (name,), value) for metric, value in values.items())
        for reason in REASONS:
            yield Reading("littoral_mqtt_dropped_total", (name, reason), found.dropped.get(reason, 0))


def _link_readings(name: str, state: "LinkState") -> Iterator[Reading]:
    yield Reading("littoral_mqtt_connected", (name,), state.is_open)
    yield Reading("littoral_mqtt_connections_total", (name,), state.open_count)
    yield Reading("littoral_mqtt_connection_failures_total", (name,), state.failure_count)
