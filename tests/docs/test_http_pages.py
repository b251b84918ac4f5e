"""`docs/reference/http.md` and `metrics.md` list what is there: routes, limits, metrics."""

import re
from pathlib import Path

from littoral.node.http import application
from littoral.node.node import Node
from littoral.node.qdrant_api import LACKING
from littoral.node.qdrant_collections import VECTOR_COUNT_MAX
from littoral.node.qdrant_reads import QUERY_COUNT_MAX as SEARCH_COUNT_MAX
from littoral.node.qdrant_writes import OPERATION_COUNT_MAX
from littoral.node.request_options import DEADLINE_MS, DEADLINE_MS_MAX
from littoral.node.request_statistics import ROW_COUNT_MAX
from littoral.telemetry import METRICS
from littoral.telemetry.metrics import SERIES_COUNT_MAX
from littoral.testing import SimulatedClock
from littoral.vectors.collections import Collections
from littoral.vectors.queries import PREFETCH_COUNT_MAX, PREFETCH_DEPTH_MAX
from littoral.vectors.snapshots import SNAPSHOT_COUNT_MAX
from littoral.web import Limits
from littoral.web.events import LISTENER_COUNT_MAX, QUEUE_COUNT_MAX
from littoral.web.messages import QUERY_FIELDS_MAX
from littoral.web.router import PATH_CHARACTERS_MAX, REQUEST_COUNT_MAX
from tracked import texts

HTTP = texts()["docs/reference/http.md"]
QDRANT = texts()["docs/reference/qdrant.md"]
METRICS_PAGE = texts()["docs/reference/metrics.md"]


class NoHosts:
    async def want(self, _: object) -> None:
        raise AssertionError("no collection is made here")

    def restart_count(self, _: str) -> int:
        return 0

    def state_of(self, _: str) -> str:
        raise AssertionError("no collection is made here")


def test_every_route_is_listed_and_no_other(tmp_path: Path) -> None:
    clock = SimulatedClock()
    node = Node("n", "127.0.0.1:0", tmp_path, Collections(tmp_path, NoHosts(), clock), clock=clock)
    lacking = set(LACKING)
    served = {(route.method, route.label or route.pattern) for route in application(node).routes} - lacking
    shown, refused = QDRANT.split("answered with 501")
    told = routes_in(HTTP.partition("## Status")[0]) | routes_in(shown)
    assert told == served
    assert routes_in(refused) == lacking


def routes_in(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"`(GET|PUT|POST|PATCH|DELETE) (/[^`?]*)`", text))


def test_limits_are_those_of_the_code() -> None:
    limits = Limits()
    for text in (
        f"| one body | {limits.body_bytes_max >> 20} MiB |",
        f"| all bodies at one time | {limits.bodies_bytes_max >> 20} MiB |",
        f"| time of a body | {limits.body_s:g} s |",
        f"| head of a request | {limits.header_bytes_max >> 10} KiB, 100 headers |",
        f"| time of a head, and pause on an open connection | {limits.header_s:g} s |",
        f"| connections | {limits.connection_count_max} |",
        f"| requests at one time | {REQUEST_COUNT_MAX} |",
        f"| path, query | {PATH_CHARACTERS_MAX} characters, {QUERY_FIELDS_MAX} fields |",
        f"| listeners of events | {LISTENER_COUNT_MAX}, {QUEUE_COUNT_MAX} events each |",
        f"(1 … {DEADLINE_MS_MAX}, default {DEADLINE_MS})",
        f"of the latest {ROW_COUNT_MAX}",
    ):
        assert text in HTTP
    for text in (
        f'`{{"searches": […]}}`, at most {SEARCH_COUNT_MAX}',
        f'{{"delete": …}}]}}`, at most {OPERATION_COUNT_MAX}',
        f"nested at most {PREFETCH_DEPTH_MAX} deep, {PREFETCH_COUNT_MAX} in all",
        f"those that are there, at most {SNAPSHOT_COUNT_MAX}",
        f"At most {VECTOR_COUNT_MAX} vectors",
    ):
        assert text in QDRANT


def test_every_metric_is_listed_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", METRICS_PAGE, re.MULTILINE)
    assert rows == [
        (
            spec.name,
            spec.kind.removeprefix("read_"),
            ", ".join(f"`{label}`" for label in spec.labels) or "–",
            spec.sentence,
        )
        for spec in METRICS.values()
    ]
    assert f"At most {SERIES_COUNT_MAX} series" in METRICS_PAGE
