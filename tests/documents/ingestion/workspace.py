"""What people see of ingestions in one workspace, and the parsers that work for them."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import CollectorRegistry

from plinth.documents.v1 import document_pb2, document_service_pb2, ingestion_pb2
from plinth.documents.v1 import ingestion_service_pb2 as pb
from plinth.search.v1 import hit_pb2, index_pb2, index_service_pb2, search_service_pb2
from services.documents.service import StageReport
from services.wiring import Mesh
from tests.documents.shelf import Shelf
from tests.support.parsers import parsers_of
from tests.support.people import Person
from tests.support.waiting import NEVER, until

State = ingestion_pb2.IngestionState
Reason = ingestion_pb2.IngestionReason
_ENDED = (
    State.INGESTION_STATE_INDEXED,
    State.INGESTION_STATE_COMPLETED_WITH_WARNINGS,
    State.INGESTION_STATE_DEAD,
    State.INGESTION_STATE_CANCELLED,
)


def long_file(pages: int = 1_000) -> bytes:
    """What a parser is at for seconds, so that it is met: a PDF of many pages, each of which says little at length."""
    blank = b"BT /F 9 Tf " + b"( ) Tj " * 4_000 + b"ET"
    word = b"BT /F 9 Tf 50 700 Td (%s) Tj ET" % secrets.token_hex(8).encode()
    kids = b" ".join(b"%d 0 R" % number for number in range(6, 6 + pages))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /MediaBox [0 0 600 800] /Kids [%s] >>" % (pages, kids),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content) for content in (blank, word)),
        *(
            b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % contents
            for contents in (5, *[4] * (pages - 1))
        ),
    ]
    # Readers find the objects without a table of them.
    objects = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, part) for number, part in enumerate(parts, 1))
    return b"%PDF-1.4\n" + objects + b"trailer << /Root 1 0 R >>\n%%EOF\n"


@dataclass
class IngestionWorkspace:
    """What people do in one workspace, each in a line. Without anybody named, it is the owner."""

    shelf: Shelf
    mesh: Mesh

    def get(self, ingestion: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
        """The ingestion as it is now."""
        stubs = (person or self.shelf.owner).stubs.ingestions
        return stubs.GetIngestion(pb.GetIngestionRequest(name=ingestion)).ingestion

    def listed(self, filter: str = "", person: Person | None = None) -> list[ingestion_pb2.Ingestion]:
        """All pages, two ingestions a page."""
        found: list[ingestion_pb2.Ingestion] = []
        token = ""
        while True:
            request = pb.ListIngestionsRequest(
                parent=self.shelf.workspace, page_size=2, page_token=token, filter=filter
            )
            answer = (person or self.shelf.owner).stubs.ingestions.ListIngestions(request)
            found += answer.ingestions
            token = answer.next_page_token
            if not token:
                return found

    def retry(self, ingestion: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
        """Begin it again."""
        stubs = (person or self.shelf.owner).stubs.ingestions
        return stubs.RetryIngestion(pb.RetryIngestionRequest(name=ingestion)).ingestion

    def retry_dead(self, *reasons: Reason.ValueType, since: float | None = None) -> tuple[int, bool]:
        """Begin all dead ones again that died for these reasons, since then (seconds of POSIX time)."""
        request = pb.RetryDeadIngestionsRequest(parent=self.shelf.workspace, reasons=reasons)
        if since is not None:
            request.since.FromMicroseconds(int(since * 1e6))
        answer = self.shelf.owner.stubs.ingestions.RetryDeadIngestions(request)
        return answer.count, answer.more

    def reprocess(self, document: document_pb2.Document) -> ingestion_pb2.Ingestion:
        """Process a document again from the start."""
        request = document_service_pb2.ReprocessDocumentRequest(name=document.name)
        return self.shelf.owner.stubs.documents.ReprocessDocument(request).ingestion

    def cancel(self, ingestion: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
        """Cancel it."""
        stubs = (person or self.shelf.owner).stubs.ingestions
        return stubs.CancelIngestion(pb.CancelIngestionRequest(name=ingestion)).ingestion

    def ended(self, document: document_pb2.Document) -> ingestion_pb2.Ingestion:
        """The document's newest ingestion, as soon as it has ended."""
        name = self.shelf.get(document).ingestion
        until(lambda: self.get(name).state in _ENDED, f"the end of {document.display_name}")
        return self.get(name)

    def attempts(self, document: document_pb2.Document) -> int:
        """How many its newest ingestion has had, with the one under way."""
        find = "select jsonb_array_length(attempts) from documents.ingestions where ingestion_id = %s"
        [(count,)] = self.shelf.team.database.execute(find, [document.ingestion.rpartition("/")[2]])
        return int(count)

    def running(self, document: document_pb2.Document) -> bool:
        """Whether a worker is at the job of its newest ingestion."""
        find = "select from jobs.jobs where subject = %s and state = 'running'"
        return self.shelf.team.database.execute(find, [document.ingestion]).rowcount > 0

    def wait_until_idle(self) -> None:
        """Return when no worker is at a job of this workspace, and no place at the parsers of this mesh is taken."""
        until(lambda: not self._is_at_work(), "the end of what was under way")

    def _is_at_work(self) -> bool:
        find = "select from jobs.jobs where workspace_id = %s and queue = 'ingest' and state = 'running'"
        if self.shelf.team.database.execute(find, [self.shelf.workspace_id]).rowcount:
            return True
        registry = CollectorRegistry()
        for collector in self.mesh.collectors:
            if isinstance(collector, StageReport):
                registry.register(collector)
        return bool(registry.get_sample_value("plinth_parsers_busy"))

    def index(self) -> index_pb2.Index:
        """What search has of the workspace."""
        request = index_service_pb2.GetIndexRequest(name=f"{self.shelf.workspace}/index")
        return self.shelf.owner.stubs.index.GetIndex(request).index

    def first_hit(self, query: str, mode: hit_pb2.SearchMode.ValueType) -> str:
        """The name of the document that a search finds first; empty where it finds none."""
        hits = self.hits(query, mode, most=1)
        return hits[0].display_name if hits else ""

    def hits(
        self, query: str, mode: hit_pb2.SearchMode.ValueType = hit_pb2.SEARCH_MODE_LEXICAL, *, most: int = 10
    ) -> Sequence[hit_pb2.Hit]:
        """What a search finds first."""
        request = search_service_pb2.SearchRequest(parent=self.shelf.workspace, query=query, mode=mode, page_size=most)
        found = self.shelf.owner.stubs.search.Search(request)
        assert found.mode == mode
        return found.hits

    def staged(self) -> int:
        """How many passages search keeps that are not published."""
        [(count,)] = self.shelf.team.database.execute(
            "select count(*) from search.staged_chunks where workspace_id = %s", [self.shelf.workspace_id]
        )
        return int(count)


def parsers() -> list[int]:
    """The processes that parse a document at this moment: children of what waits for documents."""
    return parsers_of(os.getpid())


@contextmanager
def stopped_parser() -> Iterator[int]:
    """The next process that parses a document, which will never be done by itself."""
    with stopped_parsers(1) as [pid]:
        yield pid


@contextmanager
def stopped_parsers(count: int) -> Iterator[list[int]]:
    """The next so many, of documents that are parsed at the same time."""
    stopped: list[int] = []

    def stop() -> bool:
        for pid in parsers():
            if pid not in stopped and len(stopped) < count and _stop(pid):
                stopped.append(pid)
        return len(stopped) == count

    try:
        until(stop, f"{count} parsers at work")
        yield stopped
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _stop(pid: int) -> bool:
    """Whether it is stopped; one that was about to end has ended instead."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    until(lambda: _state(pid) in ("T", "Z", "X", ""), f"{pid} to stop")
    return _state(pid) == "T"


def _state(pid: int) -> str:
    """The letter that stands for what a process does, as ps has it; empty where there is none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def resume(pid: int) -> None:
    """Let a stopped process go on."""
    os.kill(pid, signal.SIGCONT)


@contextmanager
def killed_parsers(*, only: int = 1_000_000) -> Iterator[list[int]]:
    """Whoever parses meanwhile is killed at once, `only` so many; those who were."""
    ended = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not ended.is_set() and len(killed) < only:
            for pid in parsers():
                if pid not in killed:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
            NEVER.wait(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()
