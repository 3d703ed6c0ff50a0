"""Logs and traces: one JSON line each, no secret, no row of the database."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sqlalchemy import text

from services.kernel.db import Database, Scope
from services.kernel.ids import new_id
from services.kernel.telemetry import LineWriter, configure_logging, describe, tracer_provider
from tests.support.acting import at_once
from tests.support.settings import settings_for_tests


class Log:
    def __init__(self) -> None:
        self.stream = io.BytesIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged during the test."""
    handlers, level, configuration = logging.root.handlers[:], logging.root.level, structlog.get_config()
    log = Log()
    configure_logging("INFO", log.stream)
    yield log
    structlog.configure(**configuration)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class TestLogging:
    def test_a_line_is_json_with_time_level_and_event(self, log: Log) -> None:
        structlog.get_logger("plinth").info("mail.sent", mail="1")
        (line,) = log.lines
        assert line.pop("time").endswith("Z")
        assert line == {"level": "info", "event": "mail.sent", "mail": "1"}

    @pytest.mark.parametrize(
        "field", ["password", "new_password", "access_token", "Authorization", "client_secret", "api_key", "cookie"]
    )
    def test_a_field_named_like_a_secret_is_never_written(self, log: Log, field: str) -> None:
        structlog.get_logger("plinth").warning("event", **{field: "hunter2"})
        assert log.lines[0][field] == "[redacted]"
        assert b"hunter2" not in log.stream.getvalue()

    def test_what_libraries_log_has_the_same_form(self, log: Log) -> None:
        logging.getLogger("grpc").error("a call %s", "failed")
        assert log.lines[0]["message"] == "a call failed"
        assert log.lines[0]["level"] == "error"

    def test_an_exception_shows_where_but_neither_locals_nor_the_values_of_a_row(
        self, log: Log, database: Database
    ) -> None:
        one = new_id()
        insert = text("insert into kernel.outbox values (default, :id, null, '', '', :s, now(), '', '', '', '')")
        try:
            with database.transaction(Scope("plinth_tenancy")) as session:
                session.run(insert, id=one, s="the secret subject")
                session.run(insert, id=one, s="the secret subject")
        except Exception as error:
            structlog.get_logger("plinth").error("failed", error=error)
            structlog.get_logger("plinth").exception("failed")
            logging.getLogger("library").exception("failed")
        assert len(log.lines) == 3
        for line in log.lines:
            assert line["error"]["type"] == "psycopg.errors.UniqueViolation"
            assert "duplicate key" in line["error"]["message"]
            assert any("test_telemetry.py" in frame for frame in line["error"]["frames"])
        assert b"the secret subject" not in log.stream.getvalue()
        assert str(one).encode() not in log.stream.getvalue()

    def test_an_exception_without_a_message_can_be_described(self) -> None:
        assert describe(KeyError())["message"] == ""


class TestLineWriter:
    def test_every_line_of_every_thread_is_written_once(self) -> None:
        stream = io.BytesIO()
        writer = LineWriter(stream)

        def write() -> None:
            for number in range(5000):
                writer.write({"number": number})

        at_once(8, write)
        writer.close()
        numbers = [orjson.loads(line)["number"] for line in stream.getvalue().splitlines()]
        assert sorted(numbers) == sorted(list(range(5000)) * 8)

    def test_a_line_that_cannot_be_written_keeps_no_other_back(self) -> None:
        stream = io.BytesIO()
        writer = LineWriter(stream)
        for value in (1, 1 << 70, 2):
            writer.write({"event": "counted", "number": value})
        writer.close()
        lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
        assert [line["event"] for line in lines] == ["counted", "log.line_lost", "counted"]

    def test_a_reader_that_has_gone_costs_neither_errors_nor_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.kernel.telemetry._MAX_WAITING_LINES", 10)

        class Gone(io.BytesIO):
            def write(self, *_: object) -> int:
                raise BrokenPipeError

        writer = LineWriter(Gone())
        writer.write({"number": 0})
        writer.close()
        for number in range(100):
            writer.write({"number": number})
        assert len(writer._lines) == 10


class TestTracing:
    def test_the_parents_decision_is_honoured(self) -> None:
        exporter = InMemorySpanExporter()
        provider = tracer_provider(settings_for_tests(""), "test", SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for name, flags in (("sampled", TraceFlags.SAMPLED), ("not sampled", TraceFlags.DEFAULT)):
            parent = SpanContext(trace_id=1, span_id=1, is_remote=True, trace_flags=TraceFlags(flags))
            tracer.start_span(name, context=trace.set_span_in_context(NonRecordingSpan(parent))).end()
        provider.shutdown()
        assert [span.name for span in exporter.get_finished_spans()] == ["sampled"]
