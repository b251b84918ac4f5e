"""The one door to OpenTelemetry's messages: spans as OTLP, protobuf (extra `littoral[otel]`)."""

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from littoral.telemetry.spans import Span, Value

__all__ = ["encoded"]


def encoded(spans: Sequence[Span], resource: Mapping[str, Value], version: str) -> bytes:
    """A body for `POST /v1/traces`. resource: what the node is called, as OpenTelemetry names it."""
    scope = ScopeSpans(scope=InstrumentationScope(name="littoral", version=version), spans=map(_message, spans))
    whole = ResourceSpans(resource=Resource(attributes=_attributes(resource)), scope_spans=[scope])
    body: bytes = ExportTraceServiceRequest(resource_spans=[whole]).SerializeToString()
    return body


def _message(span: Span) -> Message:
    status = Status(code=Status.STATUS_CODE_ERROR, message=span.failure) if span.failure else None
    return Message(
        trace_id=bytes.fromhex(span.trace),
        span_id=bytes.fromhex(span.span),
        parent_span_id=bytes.fromhex(span.parent),
        trace_state=span.state,
        name=span.name,
        kind=int(span.kind),  # type: ignore[arg-type]
        start_time_unix_nano=round(span.began_s * 1e9),
        end_time_unix_nano=round(span.ended_s * 1e9),
        attributes=_attributes(span.attributes),
        status=status,
    )


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
