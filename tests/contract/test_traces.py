"""Traces of a real node, told to a real collector: what is recorded, under whose span, and what never waits."""

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from littoral.clock import SYSTEM
from littoral.errors import SettingError
from littoral.telemetry import (
    Kind,
    Spans,
    current_trace,
    incoming_trace,
    record_span,
    recorded_trace,
    span,
    traceparent,
)
from littoral.telemetry.exporting import Exporter, parse_endpoint
from littoral.telemetry.otlp import encoded
from littoral.telemetry.spans import SPANS_OF_A_REQUEST_MAX, Span, root_span
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from otlp_receiver import Receiver, Seen, receiver
from page_pictures import draw, jpeg
from ports import free_port
from raw_http import Reply, send
from supervised import short_folder
from waiting import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
PICTURE = jpeg(draw(0, 0))
TABLE = """
[telemetry.traces]
endpoint = "{url}"
ratio = 0.0
"""

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(scope="module")
def served(collector: Receiver) -> Iterator[Served]:
    with short_folder() as folder:
        site = write_site(folder, SITE + DOUBLE + TABLE.format(url=collector.url))
        with node_in_thread(folder, site=site) as found:
            yield found


def asked(served: Served, path: str, body: bytes, number: str, **headers: str) -> Reply:
    said = {"traceparent": f"00-{number}-{SPAN}-01", "Content-Type": "application/octet-stream"} | headers
    return send(served.address, "POST", path, body, {key.replace("_", "-"): value for key, value in said.items()})


def number_of_a_trace() -> str:
    return f"{next(numbers):032x}"


def one(spans: list[Seen], name: str) -> Seen:
    (found,) = [found for found in spans if found.name == name]
    return found


def test_a_request_is_one_trace_from_its_caller_to_the_shard(served: Served, collector: Receiver) -> None:
    number = number_of_a_trace()
    reply = asked(served, "/pipelines/similar", PICTURE, number, X_Request_Id="order-7")
    assert reply.status == 200
    names = [f"{kind} {name}" for kind in ("step", "run") for name in ("decode", "embedder")]
    spans = collector.trace(number, "POST /pipelines/{name}", *names, "step normalize", "step search", "shard search")
    root = one(spans, "POST /pipelines/{name}")
    assert (root.parent, root.kind, root.node) == (SPAN, Kind.SERVER, "store-12")
    assert reply.headers["traceparent"] == f"00-{number}-{root.id}-01"
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/pipelines/{name}",
        "http.response.status_code": 200,
        "littoral.request_id": "order-7",
    }
    assert root.resource["service.name"] == "littoral"
    for step, inner in (("decode", "run decode"), ("embedder", "run embedder"), ("search", "shard search")):
        outer = one(spans, f"step {step}")
        assert outer.parent == root.id
        found = one(spans, inner)
        assert found.parent == outer.id
        assert root.began_s <= outer.began_s <= found.began_s <= found.ended_s <= outer.ended_s <= root.ended_s
    assert one(spans, "shard search").attributes["littoral.collection"] == "frames"
    assert one(spans, "step normalize").parent == root.id


def test_a_failure_is_told_by_its_kind_and_not_by_what_was_sent(served: Served, collector: Receiver) -> None:
    number = number_of_a_trace()
    assert asked(served, "/pipelines/similar", b"canary-of-a-picture", number).status == 422
    spans = collector.trace(number, "POST /pipelines/{name}", "step decode")
    assert one(spans, "step decode").failure == "AgentError"
    assert one(spans, "POST /pipelines/{name}").failure == ""
    assert not any(b"canary" in body for body in collector.bodies)


def test_requests_that_meet_are_each_in_their_own_trace(served: Served, collector: Receiver) -> None:
    mine = [number_of_a_trace() for _ in range(8)]
    body = b'{"inputs": {"x": [[1, 2, 3]]}}'
    threads = [threading.Thread(target=asked, args=(served, "/pipelines/double", body, number)) for number in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in mine:
        spans = collector.trace(number, "POST /pipelines/{name}", "step plain", "run plain")
        assert one(spans, "run plain").parent == one(spans, "step plain").id


def test_who_is_not_sampled_is_not_recorded(served: Served, collector: Receiver) -> None:
    unsampled, sampled = number_of_a_trace(), number_of_a_trace()
    reply = asked(served, "/pipelines/double", b"{}", unsampled, traceparent=f"00-{unsampled}-{SPAN}-00")
    assert reply.headers["traceparent"].startswith(f"00-{unsampled}-")
    assert "traceparent" not in send(served.address, "GET", "/healthz").headers
    asked(served, "/pipelines/double", b"{}", sampled)
    collector.trace(sampled, "POST /pipelines/{name}")
    assert not [seen for seen in collector.spans if seen.trace == unsampled]


def test_spans_are_counted(served: Served) -> None:
    def told(name: str) -> float:
        lines = send(served.address, "GET", "/metrics").body.decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"littoral_trace_{name}")).rpartition(" ")[2])

    assert asked(served, "/pipelines/double", b"{}", number_of_a_trace()).status == 400
    until(lambda: told("spans_exported_total") == told("spans_total") > 0)
    assert told("spans_waiting") == told("export_failures_total") == 0


# --- what is recorded ---


def recorded(spans: Spans) -> list[Span]:
    return spans.take(10_000)


def test_the_ratio_decides_where_no_caller_does() -> None:
    for ratio, least, most in ((0.0, 0, 0), (1.0, 4000, 4000), (0.25, 800, 1200)):
        spans = Spans(ratio)
        taken = [spans.incoming(incoming_trace(None, None, None)) for _ in range(4000)]
        assert least <= sum(trace.recording is not None for trace in taken) <= most
        assert all(bool(trace.trace) == (trace.recording is not None) == (trace.flags == "01") for trace in taken)


def test_without_a_recording_nothing_is_kept_or_told() -> None:
    with root_span(incoming_trace(None, None, "order-7"), "root"), span("inner") as inner:
        inner.note("key", 1)
        assert recorded_trace() is None
        assert traceparent() == ""
        assert current_trace() is not None
    with span("alone"):
        assert current_trace() is None


def test_a_queue_is_bounded_and_what_it_drops_is_counted() -> None:
    spans = Spans(queue_max=64)
    for _ in range(100):
        with root_span(spans.incoming(incoming_trace(None, None, None)), "root"):
            pass
    assert spans.counts() == (64, 36, 64)
    assert len(spans.take(10)) == 10
    assert spans.counts().waiting == 54


def test_what_a_request_has_set_going_does_not_record_for_ever() -> None:
    spans = Spans()
    with root_span(spans.incoming(incoming_trace(PARENT, None, None)), "root"):
        assert traceparent().startswith(f"00-{TRACE}-")
        for _ in range(SPANS_OF_A_REQUEST_MAX + 10):
            with span("round"):
                pass
        assert recorded_trace() is None
        assert traceparent().endswith("-00")
    assert spans.counts().recorded == SPANS_OF_A_REQUEST_MAX


def test_times_are_of_the_wall_and_a_part_may_be_told_afterwards() -> None:
    spans, before = Spans(), time.time()
    with root_span(spans.incoming(incoming_trace(PARENT, "vendor=1", None)), "root"):
        trace, now_s = recorded_trace(), SYSTEM.monotonic()
        assert trace is not None
        record_span(trace, "wait", now_s - 1, now_s, {"littoral.pool": "p"})
    wait, root = recorded(spans)
    assert (wait.parent, root.parent, root.state) == (root.span, SPAN, "vendor=1")
    assert wait.ended_s - wait.began_s == pytest.approx(1)
    assert before - 0.1 <= root.began_s <= root.ended_s <= time.time() + 0.1


# --- what is exported ---


def filled(count: int, queue_max: int = 8192) -> Spans:
    spans = Spans(queue_max=queue_max)
    for i in range(count):
        with root_span(
            spans.incoming(incoming_trace(PARENT, None, None)), f"root {i}", attributes={"n": i, "x": 0.5, "is": True}
        ):
            pass
    return spans


def exporter(spans: Spans, url: str, **options: float) -> Exporter:
    def encode(some: object) -> bytes:
        return encoded(some, {"service.instance.id": "store-12"}, "0")  # type: ignore[arg-type]

    return Exporter(
        spans,
        parse_endpoint(url),
        encode,
        headers={"authorization": "Bearer canary-token"},
        period_s=0.01,
        pause_first_s=0.01,
        **options,
    )


def readings(found: Exporter) -> dict[str, float]:
    return {f"{one.name[15:]}{''.join(one.labels)}": one.value for one in found.readings()}


def test_a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    collector: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    collector.statuses = [503, 429, 200, 400]
    found = exporter(filled(600), collector.url)
    found.start()
    counts = ("export_failures_total", "spans_exported_total", "spans_dropped_totalrefused")
    until(lambda: [readings(found).get(name) for name in counts] == [3, 512, 88])
    found.stop()
    told = readings(found)
    assert (told["spans_exported_total"], told["spans_dropped_totalrefused"]) == (512, 88)
    assert collector.headers[-1]["authorization"] == "Bearer canary-token"
    assert "status 503" in next(one.getMessage() for one in caplog.records if one.name == "littoral.traces")
    assert "canary" not in caplog.text
    mine = [seen for seen in collector.spans if seen.name == "root 3"]
    assert mine[0].attributes == {"n": 3, "x": 0.5, "is": True}


def test_nobody_waits_for_a_collector_that_is_away(collector: Receiver) -> None:
    spans = filled(0, queue_max=128)
    with receiver(free_port()) as gone:
        url = gone.url
    found = exporter(spans, url)
    found.start()
    for _ in range(2):
        for _ in range(200):
            with root_span(spans.incoming(incoming_trace(PARENT, None, None)), "root"):
                pass
        until(lambda: readings(found)["export_failures_total"] >= 2)
    told = readings(found)
    assert told["spans_dropped_totalfull"] > 0
    assert told["spans_waiting"] <= 128
    with receiver(int(url.rpartition(":")[2])) as back:
        until(lambda: readings(found)["spans_waiting"] == 0 and len(back.spans) >= 128)
    found.stop()


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "ftp://collector",
        "http://user:canary@collector:4318",
        "http://",
        "http://a:port",
        "http://a?x=1",
    ],
)
def test_what_is_no_endpoint_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingError, match="must be like `http://HOST:4318`") as caught:
        parse_endpoint(url)
    assert "canary" not in str(caught.value)


def test_an_endpoint_has_the_usual_port_and_path() -> None:
    assert str(parse_endpoint("http://collector")) == "http://collector:4318/v1/traces"
    assert str(parse_endpoint("https://collector:443/otlp/v1/traces")) == "https://collector:443/otlp/v1/traces"
