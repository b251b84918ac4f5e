"""What is read of models at each scrape: requests, versions, sequences."""

from collections.abc import Iterator

from littoral.node.node import Node, ServedModel
from littoral.telemetry import Reading

__all__ = ["model_readings"]


def model_readings(node: Node) -> Iterator[Reading]:
    """Of every model, also one that is unloaded."""
    for model in node.models.values():
        swaps, refused = (0, 0) if node.repository is None else node.repository.counts(model.name)
        for metric, value in _values(model).items():
            yield Reading(metric, (model.name,), value)
        yield Reading("littoral_model_swaps_total", (model.name,), swaps)
        yield Reading("littoral_model_refused_total", (model.name,), refused)


def _values(model: ServedModel) -> dict[str, float]:
    found, sequences = model.statistics, model.sequences.statistics()
    return {
        "littoral_model_version": model.serving.number if model.is_loaded else 0,
        "littoral_model_requests_total": found.success_count + found.fail_count,
        "littoral_model_failures_total": found.fail_count,
        "littoral_model_queue_seconds_total": found.spent.queue,
        "littoral_model_compute_seconds_total": found.spent.compute_infer,
        "littoral_model_sequences": sequences.open,
        "littoral_model_sequences_expired_total": sequences.expired,
    }
