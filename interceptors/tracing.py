"""Stage `tracing`: a span per call, under the trace that the client began (W3C Trace Context)."""

import random

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from interceptors.call import Call
from interceptors.stages import Stage

_PROPAGATOR = TraceContextTextMapPropagator()
_MAX_REQUEST_ID = 128
# Faults of the server; every other code is an answer (OpenTelemetry semantic conventions for gRPC).
_FAULTS = frozenset({2, 4, 12, 13, 14, 15})


class Tracing(Stage):
    """Begins and ends the span, and names the call by trace and request id."""

    def __init__(self, provider: TracerProvider, ratio: float) -> None:
        self._tracer = provider.get_tracer("plinth")
        self._ratio = ratio

    def enter(self, call: Call) -> None:
        """Begin the span, or the trace alone where it is not to be recorded."""
        if "traceparent" in call.metadata or random.random() < self._ratio:  # noqa: S311  # a draw, no secret
            self._begin_span(call)
        else:
            # Unlike any other, but no secret: the system's own random bytes would cost each call a system call.
            call.trace_id = f"{random.getrandbits(128):032x}"
            call.traceparent = f"00-{call.trace_id}-{random.getrandbits(64):016x}-00"
        given = call.metadata.get("x-request-id", "")
        # The edge gives every call an id; one that comes without is known by its trace.
        call.request_id = given if 0 < len(given) <= _MAX_REQUEST_ID and given.isprintable() else call.trace_id

    def _begin_span(self, call: Call) -> None:
        policy = call.policy
        span = self._tracer.start_span(
            policy.path[1:],
            context=_PROPAGATOR.extract(call.metadata) if "traceparent" in call.metadata else None,
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": policy.service, "rpc.method": policy.method},
        )
        context = span.get_span_context()
        call.trace_id = trace.format_trace_id(context.trace_id)
        call.traceparent = f"00-{call.trace_id}-{trace.format_span_id(context.span_id)}-{context.trace_flags:02x}"
        call.extras["span"] = span

    def leave(self, call: Call) -> None:
        """End the span, with the call's code."""
        span = call.extras.get("span")
        if span is None:
            return
        if span.is_recording():
            span.set_attribute("rpc.grpc.status_code", call.code)
            span.set_attribute("plinth.request_id", call.request_id)
            if call.workspace_id is not None:
                span.set_attribute("plinth.workspace", str(call.workspace_id))
            if call.code in _FAULTS:
                span.set_status(StatusCode.ERROR)
        span.end()
