"""What operators see of ingestions: gauges, counters, and a trace."""

import secrets
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.registry import Collector, CollectorRegistry

from plinth.documents.v1 import document_pb2, document_service_pb2
from services.documents.repository import DocumentsRepositories
from services.documents.service import DocumentsGauges, StageReport
from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.workspace import IngestionWorkspace, Reason, State, long_file, stopped_parser
from tests.documents.shelf import text
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion")]

STAGES = ["scanned", "parsed", "chunked", "embedded", "indexed"]


@pytest.fixture
def told(runtime: Runtime, mesh: Mesh) -> Callable[..., float]:
    """The value of a metric now, with these labels."""
    [report] = [one for one in mesh.collectors if isinstance(one, StageReport)]
    units = Units(runtime.resources, "documents", DocumentsRepositories)

    def value(name: str, **labels: str) -> float:
        # One that has not been asked yet asks the database.
        gauges: list[Collector] = [report, DocumentsGauges(units, runtime.clock)]
        registry = CollectorRegistry()
        for collector in gauges:
            registry.register(collector)
        found = registry.get_sample_value(name, labels)
        return 0.0 if found is None else found

    return value


@pytest.fixture
def spans(runtime: Runtime) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The spans that have ended so far."""
    exporter = InMemorySpanExporter()
    runtime.provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield lambda: list(exporter.get_finished_spans())
    exporter.shutdown()


class TestMetrics:
    def test_what_waits_what_is_stored_and_what_became_findable_is_counted(
        self, works: IngestionWorkspace, told: Callable[..., float], runtime: Runtime, mesh: Mesh
    ) -> None:
        names = ("plinth_documents", "plinth_stored_bytes", "plinth_ingested_bytes_total")
        before = {name: told(name) for name in names}
        waiting = told("plinth_ingestions", state="received")
        doomed = told("plinth_blobs", state="doomed")
        content = text()
        document = works.shelf.create(content)
        assert told("plinth_ingestions", state="received") == waiting + 1
        assert told("plinth_documents") == before["plinth_documents"] + 1
        assert told("plinth_stored_bytes") == before["plinth_stored_bytes"] + len(content)
        with working(runtime, mesh, ["ingest"]):
            works.ended(document)
            until(lambda: told("plinth_ingested_bytes_total") > before["plinth_ingested_bytes_total"], "its bytes")
        assert told("plinth_ingested_bytes_total") == before["plinth_ingested_bytes_total"] + len(content)
        assert told("plinth_ingestions", state="received") == waiting
        assert told("plinth_ingestion_stages_total", stage="embedded", outcome="passed") >= 1
        assert told("plinth_ingestion_seconds_total", stage="parsed") > 0
        # What was parsed of it is of no use any more.
        assert told("plinth_blobs", state="doomed") == doomed + 1

    def test_parsers_at_work_and_files_that_were_given_up_are_counted(
        self, works: IngestionWorkspace, told: Callable[..., float], runtime: Runtime, mesh: Mesh
    ) -> None:
        dead = told("plinth_ingestions", state="dead")
        with working(runtime, mesh, ["ingest"]):
            document = works.shelf.create(long_file())
            with stopped_parser():
                assert told("plinth_parsers_busy") == 1
                assert told("plinth_ingestions", state="scanned") == 1
            assert works.ended(document).state == State.INGESTION_STATE_INDEXED
            odd = works.ended(works.shelf.create(bytes(range(256)) * 8, name="odd.bin"))
        assert odd.reason == Reason.INGESTION_REASON_UNSUPPORTED
        assert told("plinth_ingestions", state="dead") == dead + 1
        assert told("plinth_parsers_busy") == 0
        assert told("plinth_ingestion_stages_total", stage="scanned", outcome="unsupported") >= 1

    def test_bytes_that_nobody_keeps_grow_old(self, works: IngestionWorkspace, told: Callable[..., float]) -> None:
        works.shelf.team.database.execute(
            "insert into documents.blobs values (%s, gen_random_uuid(), 'writing', now() - interval '3 days')",
            [works.shelf.workspace_id],
        )
        assert told("plinth_blobs", state="writing") >= 1
        assert told("plinth_blobs_writing_oldest_seconds") >= 3 * 86_400


def test_an_ingestion_is_told_stage_by_stage_in_the_trace_of_its_upload(
    works: IngestionWorkspace, spans: Callable[[], list[ReadableSpan]], runtime: Runtime, mesh: Mesh
) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    request = document_service_pb2.CreateDocumentRequest(
        parent=works.shelf.workspace, document=document_pb2.Document(display_name="traced.txt", content=text())
    )
    create = works.shelf.owner.stubs.documents.CreateDocument
    document = create(request, metadata=(("traceparent", f"00-{trace}-{parent}-01"),)).document
    with working(runtime, mesh, ["ingest"]):
        works.ended(document)
        until(lambda: any(span.name == "job documents.ingest" for span in spans()), "the end of the job")
    found = {span.name: span for span in spans() if span.context and f"{span.context.trace_id:032x}" == trace}

    def above(name: str) -> str:
        parent = found[name].parent
        return next(
            other.name
            for other in found.values()
            if parent and other.context and other.context.span_id == parent.span_id
        )

    assert above("job documents.ingest") == "plinth.documents.v1.DocumentService/CreateDocument"
    assert [name for name in found if name.startswith("ingestion ")] == [f"ingestion {stage}" for stage in STAGES]
    assert {above(f"ingestion {stage}") for stage in STAGES} == {"job documents.ingest"}
    assert above("plinth.search.v1.IndexService/StageChunks") == "ingestion chunked"
    assert above("plinth.search.v1.IndexService/PublishDocument") == "ingestion indexed"
