"""The stages of an ingestion, one function each. Each commits what it made, so another attempt goes on behind it."""

import hashlib
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast
from uuid import UUID

from plinth.search.v1 import index_service_pb2 as search_pb
from plinth.search.v1 import index_service_pb2_grpc
from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.model.chunking import Chunk, chunk
from services.documents.model.documents import DocumentVersion
from services.documents.model.ingestions import Ingestion, IngestionState
from services.documents.model.parsed import NotParsed, Parsed
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.media_types import READABLE
from services.documents.parsing.pool import ParserPool
from services.documents.parsing.sniff import sniff
from services.documents.service import news, search_messages
from services.documents.service.slots import Slot
from services.documents.service.stage_report import StageReport
from services.documents.service.storage import Storage, keep
from services.documents.service.tenure import Superseded, Tenure
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits
from services.kernel.names import WORKSPACE

# As many passages as search takes at once, and as long as its methods may take.
_BATCH = 200
_STAGE_SECONDS = 60.0
_EMBED_SECONDS = 300.0
_PUBLISH_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Outline:
    """What later stages need to know of a document's text."""

    language: str
    page_count: int
    chunk_count: int


class Pipeline:
    """Brings what an attempt holds to its end.

    No more than `parsers` documents are fetched and parsed at once. A stage may raise ParseFailed, whatever search, the
    blob store and the database say, and what the tenure raises.
    """

    def __init__(
        self,
        units: DocumentsUnits,
        storage: Storage,
        index: index_service_pb2_grpc.IndexServiceStub,
        pool: ParserPool,
        parsers: int,
        report: StageReport,
    ) -> None:
        self._units = units
        self._storage = storage
        self._index = index
        self._pool = pool
        self._slots = threading.Semaphore(parsers)
        self._report = report

    def slot(self) -> Slot:
        """A place at the parsers, to be taken."""
        return Slot(self._slots)

    def run(self, tenure: Tenure, slot: Slot) -> None:
        """Go through the stages that lie ahead; the place at the parsers is free as soon as it is not needed."""
        outline = self._outline(tenure, slot)
        if tenure.ingestion.stage is IngestionState.CHUNKED:
            self._embed(tenure, outline.chunk_count)
        self._publish(tenure, outline)

    def _outline(self, tenure: Tenure, slot: Slot) -> _Outline:
        """The document parsed and its chunks staged, as far as an earlier attempt has not seen to it."""
        with slot:
            parsed = self._parsed(tenure, slot)
        chunks = chunk(parsed, tenure.ingestion.document_id)
        if tenure.ingestion.stage is IngestionState.PARSED:
            self._stage(tenure, chunks, parsed.language)
        return _Outline(parsed.language, parsed.page_count, len(chunks))

    def _parsed(self, tenure: Tenure, slot: Slot) -> Parsed:
        kept = self._kept(tenure)
        if kept is not None:
            return kept
        slot.take(tenure.check)
        with self._fetched(tenure) as file:
            if tenure.ingestion.stage is IngestionState.RECEIVED:
                self._scan(tenure, file)
            return self._parse(tenure, file)

    def _kept(self, tenure: Tenure) -> Parsed | None:
        """What an earlier attempt has parsed; None where there is nothing, or nothing that this release can read."""
        blob_id = tenure.ingestion.parsed_blob_id
        if blob_id is None:
            return None
        try:
            stored = b"".join(self._storage.read(tenure.ingestion.workspace_id, blob_id))
            return Parsed.from_json(zlib.decompress(stored))
        except (BlobMissing, BlobCorrupt, zlib.error, NotParsed):
            return None

    def _scan(self, tenure: Tenure, file: BinaryIO) -> None:
        """SCANNED: the bytes are those that arrived, and can be read."""
        with self._report.stage(IngestionState.SCANNED):
            media_type = sniff(file, tenure.document.display_name)
            if media_type not in READABLE:
                raise ParseFailed(Reason.UNSUPPORTED, f"Files of the type {media_type} cannot be read.")
            tenure.advance(lambda _, before, now: before.passed(IngestionState.SCANNED, now))

    def _parse(self, tenure: Tenure, file: BinaryIO) -> Parsed:
        """PARSED: the text is known, and kept for later attempts."""
        with self._report.stage(IngestionState.PARSED):
            name = tenure.document.display_name
            # The file has no name: whatever becomes of this process, nothing of it stays on the disk.
            path = Path(f"/proc/self/fd/{file.fileno()}")
            parsed = self._pool.parse(path, sniff(file, name), name=name, check=tenure.check, progress=tenure.tell)
            workspace_id = tenure.ingestion.workspace_id
            stored = self._storage.write(workspace_id, [zlib.compress(parsed.to_json())])

            def kept(uow: DocumentsUnitOfWork, before: Ingestion, now: datetime) -> Ingestion:
                keep(uow, workspace_id, stored)
                _doom_parsed(uow, before)
                return before.parsed(stored.blob_id, parsed.warnings, now)

            tenure.advance(kept)
        return parsed

    def _stage(self, tenure: Tenure, chunks: Sequence[Chunk], language: str) -> None:
        """CHUNKED: search has every passage, and shows none yet."""
        with self._report.stage(IngestionState.CHUNKED):
            ingestion = tenure.ingestion
            for first in range(0, len(chunks), _BATCH):
                tenure.tell(first, len(chunks))
                self._index.StageChunks(
                    search_pb.StageChunksRequest(
                        parent=WORKSPACE.format(workspace=ingestion.workspace_id),
                        document=ingestion.document_name,
                        version=ingestion.document_version,
                        language=language,
                        passages=map(search_messages.passage, chunks[first : first + _BATCH]),
                    ),
                    timeout=_STAGE_SECONDS,
                )
            tenure.advance(lambda _, before, now: before.passed(IngestionState.CHUNKED, now))

    def _embed(self, tenure: Tenure, count: int) -> None:
        """EMBEDDED: every passage has the vector that it will have."""
        with self._report.stage(IngestionState.EMBEDDED):
            ingestion = tenure.ingestion
            request = search_pb.EmbedChunksRequest(
                parent=WORKSPACE.format(workspace=ingestion.workspace_id),
                document=ingestion.document_name,
                version=ingestion.document_version,
            )
            while remaining := self._index.EmbedChunks(request, timeout=_EMBED_SECONDS).remaining:
                tenure.tell(max(count - remaining, 0), count)
            tenure.advance(lambda _, before, now: before.passed(IngestionState.EMBEDDED, now))

    def _publish(self, tenure: Tenure, outline: _Outline) -> None:
        """INDEXED: it is found, in the place of the version before."""
        with self._report.stage(IngestionState.INDEXED):
            version = self._version(tenure)
            facts = search_messages.facts(tenure.document, version, outline.language, outline.page_count)
            self._index.PublishDocument(
                search_pb.PublishDocumentRequest(
                    parent=WORKSPACE.format(workspace=version.workspace_id),
                    facts=facts,
                    passage_count=outline.chunk_count,
                ),
                timeout=_PUBLISH_SECONDS,
            )

            def indexed(uow: DocumentsUnitOfWork, before: Ingestion, now: datetime) -> Ingestion:
                after = before.indexed(now)
                _doom_parsed(uow, before)
                uow.repo.documents.indexed(after, outline.language, outline.page_count)
                uow.emit(after.document_name, news.indexed(after, version, outline.page_count, outline.chunk_count))
                return after

            try:
                tenure.advance(indexed)
            except Superseded:
                # Somebody wanted it no more when search had it already; what can be found is told as it is.
                with self._units() as uow:
                    uow.repo.documents.indexed(tenure.ingestion, outline.language, outline.page_count)
                    uow.commit()
                raise

    @contextmanager
    def _fetched(self, tenure: Tenure) -> Iterator[BinaryIO]:
        """The file on this machine. Raises ParseFailed where its bytes are not those that arrived."""
        version = self._version(tenure)
        with TemporaryFile() as file:
            digest = hashlib.sha256()
            for data in self._storage.read(version.workspace_id, version.blob_id):
                tenure.check()
                digest.update(data)
                file.write(data)
            if digest.hexdigest() != version.sha256:
                raise ParseFailed(Reason.CORRUPT, "The stored bytes are not those that arrived.")
            file.flush()
            yield cast(BinaryIO, file)  # which typeshed does not say

    def _version(self, tenure: Tenure) -> DocumentVersion:
        ingestion = tenure.ingestion
        with self._units() as uow:
            found = uow.repo.versions.get(ingestion.workspace_id, ingestion.document_id, ingestion.document_version)
        if found is None:
            raise Superseded
        return found


def _doom_parsed(uow: DocumentsUnitOfWork, before: Ingestion) -> None:
    doomed: list[UUID] = [before.parsed_blob_id] if before.parsed_blob_id is not None else []
    uow.repo.blobs.doom(before.workspace_id, doomed)
