"""A node under load, over HTTP: who hangs up leaves the queue, deadlines and priorities are heard, the rest is told."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from littoral import settings
from littoral.errors import TrapError
from littoral.runtime.admission import Admission
from littoral.runtime.instance import Session
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from page_pictures import page_pictures
from raw_http import Reply, send
from supervised import short_folder
from waiting import until

X = json.dumps({"inputs": {"x": [[1, 2, 3]]}}).encode()
BOUNDED = SITE.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:0"\nmemory_mb = 512') + DOUBLE


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_site(Path(folder), BOUNDED)) as found,
    ):
        yield found


class Busy:
    """Keeps the one instance of model `plain` at work."""

    def __init__(self, served: Served) -> None:
        self._pool = served.node.models["plain"].pool
        self._begun, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._pool.run_sync, args=(self._hold,))

    def __enter__(self) -> "Busy":
        self._thread.start()
        assert self._begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._thread.join(60)

    def _hold(self, _: Session) -> None:
        self._begun.set()
        assert self._go.wait(120)


def double(served: Served, query: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(served.address, "POST", f"/pipelines/double{query}", X, named)


def test_who_hangs_up_leaves_the_queue(served: Served) -> None:
    pool, admission = served.node.models["plain"].pool, served.node.pipelines["double"].pipeline.admission
    host, port = served.address.split(":")
    with Busy(served):
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /pipelines/double HTTP/1.1\r\nhost: x\r\ncontent-length: {len(X)}\r\n\r\n"
            connection.sendall(head.encode() + X)
            until(lambda: pool.statistics().waiting == 1)
        until(lambda: pool.statistics().waiting == 0 and admission.statistics().busy == 0)
    assert double(served).status == 200


def test_deadlines_come_in_a_header_or_in_the_query(served: Served) -> None:
    with Busy(served):
        assert double(served, littoral_deadline_ms="20").status in (503, 504)
        assert double(served, "?timeout_ms=20").status in (503, 504)
    reply = double(served, "?timeout_ms=0")
    assert (reply.status, reply.json["status"]["error"]) == (400, "parameter `timeout_ms` is `0`, must be 1..300000")
    reply = double(served, littoral_priority="10")
    assert (reply.status, reply.json["status"]["error"]) == (400, "header `littoral-priority` is `10`, must be 0..9")
    assert double(served, "?priority=9&timeout_ms=5000").status == 200


def test_a_full_pipeline_answers_at_once_and_says_when_to_come_again(served: Served) -> None:
    pipeline = served.node.pipelines["double"].pipeline
    before, pipeline.admission = pipeline.admission, Admission("pipeline `double`", limit_min=1, limit_max=1)
    try:
        with Busy(served):
            waiting = threading.Thread(target=double, args=(served,))
            waiting.start()
            until(lambda: pipeline.admission.statistics().busy == 1)
            reply = double(served)
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert "pipeline `double` is full: 1 requests are being answered" in reply.json["status"]["error"]
        waiting.join(60)
        told = {p["name"]: p for p in send(served.address, "GET", "/api/pipelines").json}
        assert told["double"]["refused"] == 1
        metrics = send(served.address, "GET", "/metrics").body.decode()
        assert 'littoral_pipeline_refused_total{pipeline="double"} 1.0' in metrics
        assert 'littoral_pipeline_limit{pipeline="double"} 1.0' in metrics
    finally:
        pipeline.admission = before


def test_requests_that_meet_are_told_as_batches(served: Served) -> None:
    with Busy(served):
        threads = [threading.Thread(target=double, args=(served,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        batcher = served.node.batchers[served.node.models["plain"].pool]
        until(lambda: batcher.statistics().waiting == 5)
    for thread in threads:
        thread.join(60)
    metrics = send(served.address, "GET", "/metrics").body.decode()
    assert 'littoral_batch_size_max{model="plain"} 4.0' in metrics


def test_requests_of_the_inference_protocol_meet_too(served: Served) -> None:
    batcher = served.node.batchers[served.node.models["plain"].pool]
    before, replies = batcher.statistics().requests, []
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    body = json.dumps({"inputs": [tensor], "parameters": {"priority": 1}}).encode()

    def infer() -> None:
        replies.append(send(served.address, "POST", "/v2/models/plain/infer", body))

    with Busy(served):
        threads = [threading.Thread(target=infer) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: batcher.statistics().waiting == 5)
    for thread in threads:
        thread.join(60)
    assert [reply.status for reply in replies] == [200] * 6
    assert len({json.dumps(reply.json["outputs"]) for reply in replies}) == 1
    assert batcher.statistics().requests - before >= 4
    (told,) = send(served.address, "GET", "/v2/models/plain/stats").json["model_stats"]
    assert told["inference_stats"]["queue"]["ns"] > 0


def test_a_guest_in_quarantine_is_told_and_the_rest_goes_on(served: Served) -> None:
    quarantine = served.node.agents["decode"].pool.quarantine
    assert quarantine is not None
    for _ in range(5):
        quarantine.failed(TrapError("agent `decode`: out of bounds", code="out_of_bounds"))
    try:
        reply = send(served.address, "POST", "/pipelines/embed", page_pictures()[0].data)
        assert reply.status == 503
        assert (
            "agent `decode` is in quarantine after 5 failures, the latest: agent `decode`: out of"
            in reply.body.decode()
        )
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        (told,) = send(served.address, "GET", "/api/agents").json
        assert told["quarantine"]["reason"] == "agent `decode`: out of bounds"
        ready = send(served.address, "GET", "/readyz")
        assert (ready.status, len(ready.json["quarantined"])) == (200, 1)
        assert (
            'littoral_pool_quarantined{kind="agent",name="decode"} 1.0'
            in send(served.address, "GET", "/metrics").body.decode()
        )
        assert double(served).status == 200
    finally:
        quarantine.succeeded()
    assert send(served.address, "POST", "/pipelines/embed", page_pictures()[0].data).status == 200
    (told,) = send(served.address, "GET", "/api/agents").json
    assert told["quarantine"] is None


def test_memory_is_counted(served: Served) -> None:
    metrics = send(served.address, "GET", "/metrics").body.decode()
    line = next(line for line in metrics.splitlines() if line.startswith("littoral_instances_memory_bytes "))
    agent = served.node.agents["decode"].pool.first
    assert float(line.split()[1]) >= agent.memory_bytes_max
    assert np.isfinite(float(line.split()[1]))
