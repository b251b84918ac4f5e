"""How a node bears its load, at each scrape: batches, admission, memory, guests in quarantine."""

from collections.abc import Iterator

from littoral.node.node import Node
from littoral.telemetry import Reading

__all__ = ["pipeline_readings", "quarantined"]


def quarantined(node: Node) -> list[str]:
    """A sentence for each model and agent that is set apart, with the reason."""
    found = [model.pool.quarantine for model in node.models.values()]
    found += [agent.pool.quarantine for agent in node.agents.values()]
    states = [quarantine.state for quarantine in found if quarantine is not None]
    return [f"{state}; tried again in {state.retry_s:.3g} s" for state in states if state is not None]


def pipeline_readings(node: Node) -> Iterator[Reading]:
    yield Reading("littoral_instances_memory_bytes", (), node.budget.taken)
    for name, served in node.pipelines.items():
        admission = served.pipeline.admission.statistics()
        yield Reading("littoral_pipeline_busy", (name,), admission.busy)
        yield Reading("littoral_pipeline_limit", (name,), admission.limit)
        yield Reading("littoral_pipeline_refused_total", (name,), admission.refused)
    for name, model in node.models.items():
        if (batcher := node.batchers.get(model.pool)) is None:
            continue
        found = batcher.statistics()
        yield Reading("littoral_batch_runs_total", (name,), found.batches)
        yield Reading("littoral_batch_requests_total", (name,), found.requests)
        yield Reading("littoral_batch_size_max", (name,), found.largest)
        yield Reading("littoral_batch_waiting", (name,), found.waiting)
        yield Reading("littoral_batch_gap_seconds", (name,), (found.gap_ms or 0) / 1000)
        yield Reading("littoral_batch_refused_total", (name,), found.refused)
