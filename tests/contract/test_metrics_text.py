"""The text for scrapers, read back by Prometheus' own client."""

import math

from prometheus_client.parser import text_string_to_metric_families

from littoral.telemetry import METRICS, Metrics, Reading, Spread
from littoral.telemetry.metrics import OTHER, SERIES_COUNT_MAX
from littoral.telemetry.spread import BUCKETS_S


def told(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_what_is_counted_and_read_is_read_back() -> None:
    odd = 'back\\slash "quote"\nline'
    spread = Spread()
    for value in (0.0005, 0.001, 0.2, 99):
        spread.observe(value)
    read = [
        Reading("littoral_node_ready", (), True),
        Reading("littoral_collection_points", (odd,), 12),
        Reading("littoral_mesh_link_seconds", ("a",), math.inf),
        Reading("littoral_batch_gap_seconds", ("a",), math.nan),
        Reading("littoral_shard_request_duration_seconds", ("frames", "search"), spread),
    ]
    metrics = Metrics(lambda: read)
    metrics.count("littoral_http_requests_total", "GET", "/", "200")
    metrics.count("littoral_http_requests_total", "GET", "/", "200", by=0.5)
    metrics.observe("littoral_http_request_duration_seconds", "/", value=0.004)
    for _ in range(2):
        found = told(metrics)
        assert found["littoral_node_ready", ()] == 1
        assert found["littoral_collection_points", (("collection", odd),)] == 12
        assert found["littoral_mesh_link_seconds", (("peer", "a"),)] == math.inf
        assert math.isnan(found["littoral_batch_gap_seconds", (("model", "a"),)])
        key = (("method", "GET"), ("route", "/"), ("status", "200"))
        assert found["littoral_http_requests_total", key] == 1.5
        assert found["littoral_http_request_duration_seconds_sum", (("route", "/"),)] == 0.004
        shard = {
            dict(labels)["le"]: value
            for (name, labels), value in found.items()
            if name == "littoral_shard_request_duration_seconds_bucket"
        }
        assert (shard["0.001"], shard["0.1"], shard["0.25"], shard["30.0"], shard["+Inf"]) == (2, 2, 3, 3, 4)
        assert len(shard) == len(BUCKETS_S) + 1
        labels = (("collection", "frames"), ("request", "search"))
        assert found["littoral_shard_request_duration_seconds_count", labels] == 4


def test_every_row_has_a_sentence_and_a_name_as_prometheus_wants_it() -> None:
    for spec in METRICS.values():
        is_counter = spec.kind.endswith("counter")
        assert spec.name.endswith("_total") == is_counter, spec.name
        assert spec.sentence


def test_series_are_bounded() -> None:
    metrics = Metrics(list)
    for i in range(SERIES_COUNT_MAX + 20):
        metrics.count("littoral_http_requests_total", "GET", f"/{i}", "200")
        metrics.observe("littoral_http_request_duration_seconds", f"/{i}", value=1)
    found = told(metrics)
    assert found["littoral_http_requests_total", (("method", OTHER), ("route", OTHER), ("status", OTHER))] == 20
    assert found["littoral_http_request_duration_seconds_count", (("route", OTHER),)] == 20
