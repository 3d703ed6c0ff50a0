"""Where processes under test export their spans to, as to a collector."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


def _drop(_: Any) -> None:
    pass


class SpanSink(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans over OTLP, so that exporting costs what it costs, and hands over each batch."""

    def __init__(self, take: Callable[[Any], None] = _drop) -> None:  # Any: an ExportTraceServiceRequest
        self._take = take
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:
        """One batch."""
        self._take(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def close(self) -> None:
        """Take no more."""
        self._server.stop(0).wait()


class SpanBook:
    """The names of the spans of each trace, as they came in; a trace is named by its id in hex."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, str]] = []
        self._sink = SpanSink(self._note)
        self.address = self._sink.address

    def names(self, trace: str) -> list[str]:
        """The names of a trace's spans that are here by now."""
        return [name for found, name in list(self._spans) if found == trace]

    def close(self) -> None:
        """Take no more."""
        self._sink.close()

    def _note(self, request: Any) -> None:  # an ExportTraceServiceRequest
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self._spans.extend((span.trace_id.hex(), span.name) for span in scope.spans)
