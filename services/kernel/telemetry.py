"""Logs, traces and metrics of a process: JSON lines, OpenTelemetry spans, Prometheus counters.

Logging is set up once, before any asyncio gRPC object exists (grpc#43421). No line holds a secret: values of fields
that are named like one are dropped, and exceptions are logged without the values of their frames.
"""

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import MutableMapping
from typing import Any, BinaryIO

import orjson
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from services.kernel.config import Settings

_SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key", "cookie")
_FLUSH_SECONDS = 0.1
_MAX_WAITING_LINES = 100_000


def configure_logging(level: str, stream: BinaryIO | None = None) -> None:
    """Structured JSON lines to `stream` (stderr), from our own loggers and from libraries'."""
    target = stream or sys.stderr.buffer
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _describe_exception,
            _drop_secrets,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.BytesLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = _LibraryHandler()
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _LibraryHandler(logging.Handler):
    """Gives what libraries log the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, "library", message=record.getMessage(), logger=record.name, error=error)


def describe(error: BaseException) -> dict[str, Any]:
    """An exception for the log: its type, the first line of its message, and its frames without their values.

    Further lines of a database error's message quote rows, so they are left out.
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = str(error).splitlines()
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "message": lines[0] if lines else "",
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _describe_exception(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.pop("exc_info", False):
        event["error"] = sys.exc_info()[1]
    error = event.get("error")
    if isinstance(error, BaseException):
        event["error"] = describe(error)
    return event


def _drop_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "[redacted]"
    return event


def _to_json(event: object, **_: object) -> bytes:
    return orjson.dumps(event, default=str)


def _to_line(fields: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        # One line that cannot be written must not keep the others back.
        lost = {"level": "error", "event": "log.line_lost", "error": str(error)}
        return orjson.dumps(lost, option=orjson.OPT_APPEND_NEWLINE)


class LineWriter:
    """Writes JSON lines in batches, from a thread of its own: a call only appends to a queue.

    The JSON is made there as well: line after line it costs a fraction of what it costs in the middle of a call.
    A crash loses the lines of the last _FLUSH_SECONDS at most; while nobody reads the stream, the oldest are dropped.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stderr.buffer
        self._lines: deque[dict[str, object]] = deque(maxlen=_MAX_WAITING_LINES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-access-log", daemon=True)
        self._thread.start()

    def write(self, line: dict[str, object]) -> None:
        """Queue one line, which nobody changes any more."""
        self._lines.append(line)

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            try:
                self._stream.write(b"".join(map(_to_line, lines)))
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._stopping.set()


def tracer_provider(settings: Settings, process: str, *processors: SpanProcessor) -> TracerProvider:
    """Spans, exported by OTLP where an endpoint is set. A parent's decision is honoured.

    Whoever begins a trace draws by `trace_ratio` whether to record it, before there is a span: an unrecorded one costs
    almost as much as a recorded one.
    """
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource.create({"service.name": f"plinth-{process}"}),
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=True)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    for processor in processors:
        provider.add_span_processor(processor)
    return provider
