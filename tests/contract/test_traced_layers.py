"""Layers of a model in the trace of a recorded request: told in order, inside the run, with the same results."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.cli.model_source import random_feeds
from littoral.clock import SYSTEM
from littoral.errors import InputError
from littoral.runtime.layer_spans import TOLD_MAX, LayerSpans
from littoral.telemetry import Spans, incoming_trace
from littoral.telemetry.spans import root_span
from node_fixture import Served, node_in_thread
from onnx_models import NETWORKS
from otlp_receiver import Receiver, receiver
from raw_http import send
from supervised import short_folder

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"
[models.apart]
path = "apart.wasm"
[models.whole]
path = "whole.wasm"
[telemetry.traces]
endpoint = "{url}"
ratio = 0.0
layers = true
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(scope="module")
def served(collector: Receiver) -> Iterator[Served]:
    with short_folder() as folder:
        for name in ("apart", "whole"):
            littoral.compile(NETWORKS["residual"](), name=name, apart=name == "apart").save(folder / f"{name}.wasm")
        (folder / "site.toml").write_text(SITE.format(url=collector.url))
        with node_in_thread(folder, site=folder / "site.toml") as found:
            yield found


def infer(served: Served, model: str, trace: str, *, is_recorded: bool) -> object:
    feeds = random_feeds(littoral.compile(NETWORKS["residual"](), name="whole"), seed=1)
    inputs = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in feeds.items()
    ]
    head = {"traceparent": f"00-{trace}-{SPAN}-0{int(is_recorded)}", "Content-Type": "application/json"}
    body = json.dumps({"inputs": inputs}).encode()
    reply = send(served.address, "POST", f"/v2/models/{model}/infer", body, head)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["outputs"]


def test_a_recorded_request_tells_of_each_layer_and_answers_the_same(served: Served, collector: Receiver) -> None:
    layers = served.node.models["apart"].model.manifest.layers
    wanted = [f"layer {layer.name}" for layer in layers]
    number = f"{1:032x}"
    recorded = infer(served, "apart", number, is_recorded=True)
    assert recorded == infer(served, "apart", f"{2:032x}", is_recorded=False)
    assert recorded == infer(served, "whole", f"{3:032x}", is_recorded=True)
    spans = collector.trace(number, *wanted, "run apart")
    (run,) = [span for span in spans if span.name == "run apart"]
    told = sorted((span for span in spans if span.name.startswith("layer ")), key=lambda span: span.began_s)
    assert [span.name for span in told] == wanted
    assert [span.attributes for span in told] == [
        {"littoral.layer": at, "littoral.kernel": layer.kind} for at, layer in enumerate(layers)
    ]
    assert {span.parent for span in told} == {run.id}
    assert run.began_s <= told[0].began_s <= told[-1].ended_s <= run.ended_s
    assert not any(span.name.startswith("layer ") for span in collector.trace(f"{3:032x}", "run whole"))


def test_a_session_tells_of_layers_only_where_it_was_told_to_and_can(tmp_path: Path) -> None:
    path = tmp_path / "apart.wasm"
    model = littoral.compile(NETWORKS["residual"](), apart=True)
    model.save(path)
    feeds = random_feeds(model, seed=1)
    spans = Spans(1.0)
    with littoral.load(path) as session, littoral.load(littoral.compile(NETWORKS["residual"]())) as whole:
        assert not whole.tell_layers()
        plain = session.run(feeds)
        with root_span(spans.incoming(incoming_trace(None, None, None)), "quiet"):
            session.run(feeds)
        assert [span.name for span in spans.take(100)] == ["quiet"]
        assert session.tell_layers()
        with session.another() as other, root_span(spans.incoming(incoming_trace(None, None, None)), "told"):
            for name, array in other.run(feeds).items():
                assert np.array_equal(array, plain[name])
        assert len(spans.take(1000)) == len(model.manifest.layers) + 1


def test_of_many_layers_those_are_told_that_took_longest() -> None:
    spans = Spans(1.0)
    layers = LayerSpans("run", tuple((f"layer{at}", f"l{at}", "gemm") for at in range(1000)))

    class Guest:
        def __init__(self) -> None:
            self.called: list[str] = []

        def call(self, entry: str) -> None:
            until = SYSTEM.monotonic() + (0.0005 if int(entry[5:]) % 10 == 0 else 0)
            while SYSTEM.monotonic() < until:
                pass
            self.called.append(entry)

    guest, trace = Guest(), spans.incoming(incoming_trace(None, None, None))
    layers.call(guest, trace)
    assert guest.called == [entry for entry, _, _ in layers.layers]
    told = [int(str(span.attributes["littoral.layer"])) for span in spans.take(1000)]
    assert len(told) == TOLD_MAX
    assert told == sorted(told)
    assert set(range(0, 1000, 10)) <= set(told)


def test_layers_that_are_divided_cannot_be_apart() -> None:
    with pytest.raises(InputError, match="the model is for 2 threads"):
        littoral.compile(NETWORKS["residual"](), threads=2, apart=True)
