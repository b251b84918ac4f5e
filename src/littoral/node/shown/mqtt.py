"""`/api/mqtt`: the broker, and for each route what came, what went, what waits and what went wrong last."""

from typing import TYPE_CHECKING, Any

import msgspec

from littoral.mqtt.broker import Broker
from littoral.node.mqtt_tables import RouteTable
from littoral.node.node import Node
from littoral.web import Answer, Request, Route, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from littoral.mqtt.link import LinkState
    from littoral.node.mqtt.route import Route as MqttRoute

__all__ = ["MqttTold", "mqtt_route", "told_mqtt"]


class LinkTold(msgspec.Struct, frozen=True):
    """One connection. last: why the one before ended, or why there is none."""

    is_open: bool
    connections: int
    failures: int
    last: str


class RouteTold(msgspec.Struct, frozen=True):
    """As the site file says, and counts since the start. waiting_max, waiting_bytes_max: of what waits."""

    name: str
    topic: str
    share: str | None
    pipeline: str
    publish: str | None
    errors: str | None
    qos: int
    keep: str
    parallel: int
    link: LinkTold
    messages: int
    answered: int
    again: int
    retries: int
    dropped: dict[str, int]
    waiting: int
    waiting_max: int
    waiting_bytes: int
    waiting_bytes_max: int
    oldest_s: float
    busy: int
    refused: dict[str, Any] | None


class MqttTold(msgspec.Struct, frozen=True):
    """publisher: the connection that answers go out by."""

    broker: str
    version: str
    is_secured: bool
    publisher: LinkTold
    routes: list[RouteTold]


def mqtt_route(node: Node) -> Route:
    """`{"broker": null}` for a node that speaks to none."""

    async def told(_: Request) -> Answer:
        return json_answer({"broker": None, "routes": []} if node.mqtt is None else node.mqtt())

    return Route("GET", "/api/mqtt", told)


def told_mqtt(broker: Broker, publisher: "LinkState", routes: "Iterable[tuple[RouteTable, MqttRoute]]") -> MqttTold:
    """Without user, password, or the names of certificates."""
    version = "5" if broker.version == 5 else "3.1.1"
    rows = [_route(table, route) for table, route in routes]
    return MqttTold(broker.address, version, broker.is_secured, _link(publisher), rows)


def _route(table: RouteTable, route: "MqttRoute") -> RouteTold:
    found, bounds = route.statistics(), route.plan.bounds
    return RouteTold(
        name=route.plan.name,
        topic=table.topic,
        share=table.share,
        pipeline=table.pipeline,
        publish=table.publish,
        errors=table.errors,
        qos=table.qos,
        keep=table.queue.keep,
        parallel=table.parallel,
        link=_link(found.link),
        messages=found.messages,
        answered=found.answered,
        again=found.again,
        retries=found.retries,
        dropped={str(reason): count for reason, count in found.dropped.items()},
        waiting=found.waiting,
        waiting_max=bounds.count_max,
        waiting_bytes=found.waiting_bytes,
        waiting_bytes_max=bounds.bytes_max,
        oldest_s=found.oldest_s,
        busy=found.busy,
        refused=None if found.refused is None else found.refused._asdict(),
    )


def _link(state: "LinkState") -> LinkTold:
    return LinkTold(state.is_open, state.open_count, state.failure_count, state.last)
