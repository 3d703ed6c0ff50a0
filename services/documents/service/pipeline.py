"""The stages of an ingestion, one function each. Each commits what it made, so another attempt goes on behind it."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TypeVar, cast
from uuid import UUID

import grpc

from plinth.search.v1 import index_service_pb2 as search_pb
from plinth.search.v1 import index_service_pb2_grpc
from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.model.chunking import chunk
from services.documents.model.documents import Document, DocumentVersion
from services.documents.model.ingestions import Ingestion, IngestionState
from services.documents.model.media_types import READABLE
from services.documents.model.parsed import NotParsed, Parsed
from services.documents.parsing.failures import ParseFailed, Reason, unsupported
from services.documents.parsing.limits import Limits
from services.documents.parsing.pool import ParserPool
from services.documents.service import news, search_messages
from services.documents.service.failures import TooMuch, is_answer, may_be_too_much
from services.documents.service.slots import Slot, Slots
from services.documents.service.stage_report import StageReport
from services.documents.service.storage import Storage
from services.documents.service.tenure import Superseded, Tenure
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits
from services.kernel.names import WORKSPACE

# As many passages as search takes at once, and as long as its methods may take.
_BATCH = 200
_STAGE_SECONDS = 60.0
_EMBED_SECONDS = 300.0
_PUBLISH_SECONDS = 120.0
# As long as search takes to start anew.
_BACK_SECONDS = 20.0

T = TypeVar("T")


class Pipeline:
    """Brings what an attempt holds to its end.

    No more documents are in memory at once than there are slots: fetched, parsed, cut, staged. A file is fetched to the
    disk, or, if it is to lie nowhere in plain text (`in_memory`), into memory. A stage may raise ParseFailed, TooMuch,
    whatever search, the blob store and the database say, and what the tenure raises.
    """

    def __init__(
        self,
        units: DocumentsUnits,
        storage: Storage,
        index: index_service_pb2_grpc.IndexServiceStub,
        pool: ParserPool,
        slots: Slots,
        limits: Limits,
        report: StageReport,
        *,
        in_memory: bool = False,
    ) -> None:
        self._units = units
        self._storage = storage
        self._index = index
        self._pool = pool
        self._slots = slots
        self._limits = limits
        self._report = report
        self._in_memory = in_memory

    def slot(self, workspace_id: UUID) -> Slot:
        """A place at the parsers, to be taken."""
        return self._slots.of(workspace_id)

    def run(self, tenure: Tenure, slot: Slot) -> None:
        """Go through the stages that lie ahead; the place at the parsers is free as soon as it is not needed."""
        with slot:
            if tenure.ingestion.is_to_be_read:
                slot.take(tenure.check)
                self._stage(tenure, self._parsed(tenure))
        if tenure.ingestion.stage is IngestionState.CHUNKED:
            self._embed(tenure)
        self._publish(tenure)

    def settle(self, ingestion: Ingestion) -> None:
        """Of one that ended otherwise than well when search may have had it already, tell what can be found as it is.

        Raises whatever search and the database say.
        """
        workspace_id, document_id = ingestion.workspace_id, ingestion.document_id
        with self._units() as uow:
            document = uow.repo.documents.get(workspace_id, document_id)
            version = uow.repo.versions.get(workspace_id, document_id, ingestion.document_version)
        if document is None or version is None or document.indexed_version >= version.version:
            return
        try:
            published = self._published(ingestion)
        except grpc.RpcError as error:
            if is_answer(error):
                # A newer version can be found, or nothing of the document any more.
                return
            raise
        if published == version.version:
            with self._units() as uow:
                document = uow.repo.documents.lock(workspace_id, document_id)
                if document is not None and document.indexed_version < published:
                    _tell_indexed(uow, document, ingestion, version)
                    uow.commit()

    def _parsed(self, tenure: Tenure) -> Parsed:
        """The document as text: as an earlier attempt has kept it, else parsed now."""
        kept = self._kept(tenure)
        if kept is not None:
            return kept
        with self._fetched(tenure) as file:
            if tenure.ingestion.stage is IngestionState.RECEIVED:
                self._scan(tenure)
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

    def _scan(self, tenure: Tenure) -> None:
        """SCANNED: the bytes are those that arrived, and can be read."""
        with self._report.stage(IngestionState.SCANNED):
            media_type = self._version(tenure).media_type
            if media_type not in READABLE:
                raise unsupported(media_type)
            tenure.advance(lambda _, before, now: before.passed(IngestionState.SCANNED, now))

    def _parse(self, tenure: Tenure, file: BinaryIO) -> Parsed:
        """PARSED: the text is known, and kept for later attempts."""
        with self._report.stage(IngestionState.PARSED):
            parsed = self._pool.parse(
                # The file has no name: whatever becomes of this process, nothing of it stays on the disk.
                Path(f"/proc/self/fd/{file.fileno()}"),
                self._version(tenure).media_type,
                self._limits,
                check=tenure.check,
                progress=tenure.tell,
            )
            workspace_id = tenure.ingestion.workspace_id
            stored = self._storage.write(workspace_id, [zlib.compress(parsed.to_json())])

            def kept(uow: DocumentsUnitOfWork, before: Ingestion, now: datetime) -> Ingestion:
                uow.repo.blobs.keep(workspace_id, stored.blob_id)
                _doom_parsed(uow, before)
                return before.parsed(
                    stored.blob_id,
                    now,
                    language=parsed.language,
                    page_count=parsed.page_count,
                    warnings=parsed.warnings,
                )

            tenure.advance(kept)
        return parsed

    def _stage(self, tenure: Tenure, parsed: Parsed) -> None:
        """CHUNKED: search has every passage, and shows none yet."""
        with self._report.stage(IngestionState.CHUNKED):
            ingestion = tenure.ingestion
            chunks = chunk(parsed, ingestion.document_id, tenure.check)
            for first in range(0, len(chunks), _BATCH):
                tenure.tell(first, len(chunks))
                request = search_messages.passages_of(ingestion, chunks[first : first + _BATCH])
                self._ask(ingestion, partial(self._index.StageChunks, request, timeout=_STAGE_SECONDS))
            tenure.advance(lambda _, before, now: before.chunked(len(chunks), now))

    def _embed(self, tenure: Tenure) -> None:
        """EMBEDDED: every passage has the vector that it will have."""
        with self._report.stage(IngestionState.EMBEDDED):
            ingestion = tenure.ingestion
            count = ingestion.chunk_count
            request = search_pb.EmbedChunksRequest(
                parent=WORKSPACE.format(workspace=ingestion.workspace_id),
                document=ingestion.document_name,
                version=ingestion.document_version,
            )
            embed = partial(self._index.EmbedChunks, request, timeout=_EMBED_SECONDS)
            while remaining := self._ask(ingestion, embed).remaining:
                tenure.tell(max(count - remaining, 0), count)
            tenure.advance(lambda _, before, now: before.passed(IngestionState.EMBEDDED, now))

    def _publish(self, tenure: Tenure) -> None:
        """INDEXED: it is found, in the place of the version before."""
        with self._report.stage(IngestionState.INDEXED):
            version, ingestion = self._version(tenure), tenure.ingestion
            request = search_pb.PublishDocumentRequest(
                parent=WORKSPACE.format(workspace=version.workspace_id),
                facts=search_messages.facts(tenure.document, version, ingestion.language),
                passage_count=ingestion.chunk_count,
            )
            self._ask(ingestion, partial(self._index.PublishDocument, request, timeout=_PUBLISH_SECONDS))

            def indexed(uow: DocumentsUnitOfWork, before: Ingestion, now: datetime) -> Ingestion:
                _doom_parsed(uow, before)
                _tell_indexed(uow, tenure.document, before, version)
                return before.indexed(now)

            tenure.advance(indexed)
            self._report.indexed(ingestion.page_count, version.size_bytes)

    def _ask(self, ingestion: Ingestion, call: Callable[[], T]) -> T:
        """What search answers. Raises TooMuch where it is there, and only this call is too much for it."""
        try:
            return call()
        except grpc.RpcError as error:
            if may_be_too_much(error) and self._is_there(ingestion):
                raise TooMuch(in_time=error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED) from error
            raise

    def _is_there(self, ingestion: Ingestion) -> bool:
        """Whether search answers, at the latest when it has started anew."""
        try:
            self._published(ingestion)
        except grpc.RpcError as error:
            return is_answer(error)
        return True

    def _published(self, ingestion: Ingestion) -> int:
        """The version of the document that can be found."""
        request = search_messages.passages_of(ingestion, ())
        return self._index.StageChunks(request, timeout=_BACK_SECONDS, wait_for_ready=True).published_version

    @contextmanager
    def _fetched(self, tenure: Tenure) -> Iterator[BinaryIO]:
        """The file on this machine. Raises ParseFailed where its bytes are not those that arrived."""
        version = self._version(tenure)
        with _nameless_file(in_memory=self._in_memory) as file:
            digest = hashlib.sha256()
            for data in self._storage.read(version.workspace_id, version.blob_id):
                tenure.check()
                digest.update(data)
                file.write(data)
            if digest.hexdigest() != version.sha256:
                raise ParseFailed(Reason.CORRUPT, "The stored bytes are not those that arrived.")
            file.flush()
            yield file

    def _version(self, tenure: Tenure) -> DocumentVersion:
        ingestion = tenure.ingestion
        with self._units() as uow:
            found = uow.repo.versions.get(ingestion.workspace_id, ingestion.document_id, ingestion.document_version)
        if found is None:
            raise Superseded
        return found


def _nameless_file(*, in_memory: bool) -> BinaryIO:
    """A file that is gone when it is closed, by whomever."""
    if in_memory:
        return os.fdopen(os.memfd_create("document"), "w+b")
    return cast(BinaryIO, TemporaryFile())  # which typeshed does not say


def _tell_indexed(uow: DocumentsUnitOfWork, document: Document, ingestion: Ingestion, version: DocumentVersion) -> None:
    """Write down and tell that a version of a document, which is locked, can be found."""
    uow.repo.documents.indexed(ingestion, ingestion.language, ingestion.page_count)
    told = news.indexed(document, ingestion, version)
    uow.emit(document.name, told, restricted=document.hidden, audited=False)


def _doom_parsed(uow: DocumentsUnitOfWork, before: Ingestion) -> None:
    doomed: list[UUID] = [before.parsed_blob_id] if before.parsed_blob_id is not None else []
    uow.repo.blobs.doom(before.workspace_id, doomed)
