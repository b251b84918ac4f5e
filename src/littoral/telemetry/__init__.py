"""What a node tells of itself: numbers, traces, lines of its log."""

from littoral.telemetry.endured import Endured
from littoral.telemetry.log import Log, LogOptions
from littoral.telemetry.log_limit import Limit
from littoral.telemetry.metrics import METRICS, TEXT_TYPE, Metrics, MetricSpec, Reading
from littoral.telemetry.spans import NOTHING, Kind, Recording, Span, Spans, record_span, recorded_trace, root_span, span
from littoral.telemetry.spread import Spread
from littoral.telemetry.trace_context import Trace, current_trace, incoming_trace, traceparent, tracing

__all__ = [
    "METRICS",
    "NOTHING",
    "TEXT_TYPE",
    "Endured",
    "Kind",
    "Limit",
    "Log",
    "LogOptions",
    "MetricSpec",
    "Metrics",
    "Reading",
    "Recording",
    "Span",
    "Spans",
    "Spread",
    "Trace",
    "current_trace",
    "incoming_trace",
    "record_span",
    "recorded_trace",
    "root_span",
    "span",
    "traceparent",
    "tracing",
]
