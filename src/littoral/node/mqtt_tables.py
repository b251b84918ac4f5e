"""The table `mqtt` of a site file: the broker, and which topics go through which pipeline to which topic."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.errors import InputError
from littoral.node.mqtt_topics import check_filter, check_template, shared
from littoral.node.site_problems import NAME_PATTERN, Place, nearest_hint
from littoral.tables.broker import BrokerTable, check_broker

__all__ = ["MqttTable", "QueueTable", "RouteTable", "check_mqtt", "route_names"]

ROUTES_MAX = 64
PLACES = ("id",)

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_Milliseconds = Annotated[float, Meta(gt=0, le=86_400_000)]
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of the tables: an unknown key is an error."""


class QueueTable(_Table, frozen=True):
    """What waits in front of a pipeline."""

    keep: Annotated[
        Literal["all", "latest"], Meta(description="`all` in order, or the `latest` of each topic alone")
    ] = "all"
    max: Annotated[int, Meta(ge=1, le=10_000, description="Messages that wait; with `latest`: topics")] = 100
    bytes_max: Annotated[int, Meta(ge=1 << 16, le=1 << 30, description="Bytes of all that wait")] = 64 << 20
    age_ms: Annotated[_Milliseconds | None, Meta(description="What waits longer is dropped")] = None


class RouteTable(_Table, frozen=True):
    """From a topic through a pipeline."""

    topic: Annotated[_Text, Meta(description="Topic filter: `+` is one level, `#` all that follow")]
    pipeline: Annotated[str, Meta(description="A pipeline of this file")]
    tenant: Annotated[_Name | None, Meta(description="Whose: its pipelines, collections and quotas count")] = None
    name: Annotated[_Name | None, Meta(description="In metrics and logs; default: the pipeline's")] = None
    publish: Annotated[
        _Text | None, Meta(description="Topic of the answers; `{1}`: what the first wildcard caught, `{id}`")
    ] = None
    errors: Annotated[_Text | None, Meta(description="Topic for what is said of messages that fail")] = None
    qos: Annotated[Literal[0, 1], Meta(description="1: acknowledged when the answer is published or durable")] = 1
    share: Annotated[_Text | None, Meta(description="Group of nodes that share the messages")] = None
    retain: Annotated[bool, Meta(description="The broker keeps the last answer of a topic")] = False
    parallel: Annotated[int, Meta(ge=1, le=64, description="Messages at a time; 1 keeps answers in order")] = 4
    deadline_ms: Annotated[int, Meta(ge=1, le=300_000, description="Of one run of the pipeline")] = 30_000
    queue: Annotated[QueueTable, Meta(description="What waits")] = QueueTable()


class MqttTable(BrokerTable, frozen=True):
    """The broker, and the routes."""

    session_s: Annotated[
        int, Meta(ge=1, le=4_294_967_294, description="How long the broker keeps QoS 1 while the node is away (MQTT 5)")
    ] = 86_400
    payload_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 27, description="Larger messages are dropped")] = 16 << 20
    routes: Annotated[list[RouteTable], Meta(max_length=ROUTES_MAX, description="In order")] = []  # noqa: RUF012 (a struct copies it)


def check_mqtt(
    table: MqttTable, pipelines: Mapping[str, object], place: Place, tenants: Mapping[str, Collection[str]]
) -> None:
    """What can be known from the file alone. tenants: the pipelines of each. Raises SettingError naming the key."""
    check_broker(table, place)
    names = route_names(table)
    for index, route in enumerate(table.routes):
        here = place / "routes" / index
        if names.count(names[index]) > 1:
            raise (here / "name").wrong(names[index], "another than that of every other route")
        if route.tenant is not None and route.tenant not in tenants:
            raise (here / "tenant").wrong(
                route.tenant, "a tenant of this file", hint=nearest_hint(route.tenant, tenants)
            )
        known = pipelines if route.tenant is None else tenants[route.tenant]
        if route.pipeline not in known:
            whose = "a pipeline of this file" if route.tenant is None else f"a pipeline of tenant `{route.tenant}`"
            raise (here / "pipeline").wrong(route.pipeline, whose, hint=nearest_hint(route.pipeline, known))
        _check_topics(route, here)


def _check_topics(route: RouteTable, here: Place) -> None:
    key = "topic"
    try:
        check_filter(route.topic)
        key = "share"
        shared(route.topic, route.share)
        for key in ("publish", "errors"):
            if (template := getattr(route, key)) is not None:
                check_template(template, route.topic, PLACES)
    except InputError as error:
        raise (here / key).about(error.message, hint=error.hint) from error


def route_names(table: MqttTable) -> list[str]:
    """Of every route: as the file says, else its pipeline's, with a number where several have the same pipeline."""
    found: list[str] = []
    for route in table.routes:
        count = sum(other.pipeline == route.pipeline and other.name is None for other in table.routes[: len(found)])
        found.append(route.name or (route.pipeline if not count else f"{route.pipeline}-{count + 1}"))
    return found
