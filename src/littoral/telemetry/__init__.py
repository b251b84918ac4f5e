"""What a node tells of itself in numbers."""

from littoral.telemetry.metrics import METRICS, TEXT_TYPE, Metrics, MetricSpec, Reading

__all__ = ["METRICS", "TEXT_TYPE", "MetricSpec", "Metrics", "Reading"]
