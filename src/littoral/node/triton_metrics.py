"""The numbers of models under the names that Triton gives them, for boards and scalers made for it.

Source: Triton Inference Server, docs/user_guide/metrics.md.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from littoral.node.node import Node, ServedVersion
from littoral.telemetry.exposition import Exposition
from littoral.telemetry.metric_spec import MetricSpec

__all__ = ["triton_text"]

LABELS = ("model", "version")
US = 1_000_000


class _Row(NamedTuple):
    spec: MetricSpec
    value: Callable[[ServedVersion], float]


def _counter(name: str, sentence: str, value: Callable[[ServedVersion], float]) -> _Row:
    return _Row(MetricSpec(f"nv_inference_{name}", "read_counter", LABELS, sentence), value)


def _time(part: str, sentence: str, seconds: Callable[[ServedVersion], float]) -> _Row:
    return _counter(f"{part}_duration_us", sentence, lambda version: round(seconds(version) * US))


ROWS = (
    _counter("request_success", "Requests that succeeded", lambda v: v.statistics.success_count),
    _counter("request_failure", "Requests that failed", lambda v: v.statistics.fail_count),
    _counter("count", "Inferences; a batch is one for each item", lambda v: v.statistics.success_count),
    _counter("exec_count", "Runs of the model", lambda v: v.pool.statistics().runs),
    _Row(
        MetricSpec("nv_inference_pending_request_count", "gauge", LABELS, "Requests that wait for an instance"),
        lambda v: v.pool.statistics().waiting,
    ),
    _time("request", "Time of requests", lambda v: v.statistics.spent.total),
    _time("queue", "Time that requests waited for an instance", lambda v: v.statistics.spent.queue),
    _time("compute_input", "Time for reading inputs", lambda v: v.statistics.spent.compute_input),
    _time("compute_infer", "Time of the model", lambda v: v.statistics.spent.compute_infer),
    _time("compute_output", "Time for writing outputs", lambda v: v.statistics.spent.compute_output),
)


def triton_text(node: Node) -> bytes:
    """Of every version that is open, of requests by the Open Inference Protocol."""
    exposition = Exposition()
    return "".join(line for row in ROWS for line in exposition.family(row.spec, _series(node, row))).encode()


def _series(node: Node, row: _Row) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, model in node.models.items():
        for number, version in model.versions.items():
            yield (name, str(number)), row.value(version)
