"""Traces of an orchestrator, told to a real collector: under whose span, of whom, and what is lost while it is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral.errors import SettingError
from littoral.orchestrator.file import parse_file
from orchestrated import FILE, orchestrated
from otlp_receiver import Receiver, receiver
from ports import free_port
from waiting import until_async, until_true

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def traced(url: str) -> str:
    return f'{FILE}\n[traces]\nendpoint = "{url}"\nratio = 0.0\ntimeout_s = 30.0\n'


async def test_requests_are_told_under_the_span_of_who_asked(tmp_path: Path, collector: Receiver) -> None:
    collector.statuses = [503]
    async with orchestrated(tmp_path, traced(collector.url)) as kept:
        await kept.enrolled("gw-1")
        await kept.done("viewer", "GET", "/api/fleet")
        said = {"deployment": 0, "state": "idle"}
        assert (await kept.ask("gw-1", "POST", "/fleet/v1/checkin", said, **PARENT)).status == 200
        await until_async(lambda: bool(collector.spans))
        (span,) = collector.spans
        assert (span.trace, span.parent, span.node) == (TRACE, SPAN, "reef")
        assert span.name == "POST /fleet/v1/checkin"
        assert span.resource["service.name"] == "littoral-orchestrator"
        assert span.attributes["http.response.status_code"] == 200
        assert len(collector.bodies) == 2, "what was not taken is sent again"
        assert kept.tokens["gw-1"].encode() not in collector.bodies[0]
        assert (await kept.ask("viewer", "GET", "/api/fleet/nodes/nobody", **PARENT)).status == 404
        await until_async(lambda: len(collector.spans) == 2)
        assert collector.spans[1].attributes["http.response.status_code"] == 404

        async def is_counted() -> bool:
            metrics = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
            return "littoral_trace_spans_exported_total 2" in metrics

        await until_true(is_counted)


async def test_nothing_waits_for_a_collector_that_is_away(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, traced(f"http://127.0.0.1:{free_port()}")) as kept:
        for _ in range(5):
            assert (await kept.ask("viewer", "GET", "/api/fleet", **PARENT)).status == 200

        async def has_failed() -> bool:
            metrics = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
            return "littoral_trace_export_failures_total 0" not in metrics

        await until_true(has_failed)


def test_an_endpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"`traces\.endpoint`"):
        parse_file(traced("collector:4318").encode(), tmp_path / "orchestrator.toml")
