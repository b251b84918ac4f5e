"""What a node tells of itself in numbers, and which request a line of its log belongs to."""

from littoral.telemetry.metrics import METRICS, TEXT_TYPE, Metrics, MetricSpec, Reading
from littoral.telemetry.trace_context import Trace, TraceLines, current_trace, incoming_trace, tracing

__all__ = [
    "METRICS",
    "TEXT_TYPE",
    "MetricSpec",
    "Metrics",
    "Reading",
    "Trace",
    "TraceLines",
    "current_trace",
    "incoming_trace",
    "tracing",
]
