"""Spans of OpenTelemetry below one that is known by its `traceparent` (W3C Trace Context)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.kernel.caller import current_caller, reset_caller, set_caller

_PROPAGATOR = TraceContextTextMapPropagator()
# A span that is not recorded costs almost as much as one that is.
_SAMPLED = "-01"


def is_recorded(traceparent: str) -> bool:
    """Whether the trace that it names is."""
    return traceparent.endswith(_SAMPLED)


def begin(
    tracer: Tracer, name: str, traceparent: str, kind: SpanKind, attributes: Mapping[str, str | int]
) -> tuple[Span, str]:
    """A span below the one named, to be ended, and its own `traceparent`."""
    parent = _PROPAGATOR.extract({"traceparent": traceparent})
    span = tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
    at = span.get_span_context()
    ids = f"{trace.format_trace_id(at.trace_id)}-{trace.format_span_id(at.span_id)}"
    return span, f"00-{ids}-{at.trace_flags:02x}"


@contextmanager
def child_span(tracer: Tracer | None, name: str) -> Iterator[None]:
    """A span around a part of the call or job under way, and above whatever that part calls.

    There is none where nobody records the trace.
    """
    caller = current_caller()
    if tracer is None or not is_recorded(caller.traceparent):
        yield
        return
    span, traceparent = begin(tracer, name, caller.traceparent, SpanKind.INTERNAL, {})
    token = set_caller(replace(caller, traceparent=traceparent))
    try:
        yield
    except BaseException:
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        reset_caller(token)
        span.end()
