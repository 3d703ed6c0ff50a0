"""The use cases of documents, one module a group of them, and how they are put together."""

from dataclasses import dataclass
from datetime import timedelta

from plinth.search.v1 import index_service_pb2_grpc
from services.documents.blobs.port import BlobStore
from services.documents.blobs.sealed import Sealed
from services.documents.model.limits import Allowance
from services.documents.parsing.pool import ParserPool
from services.documents.repository import DocumentsRepositories
from services.documents.service.arrivals import Arrivals
from services.documents.service.documents import DocumentService
from services.documents.service.housekeeping import Housekeeping
from services.documents.service.ingester import Ingester
from services.documents.service.ingestions import IngestionService
from services.documents.service.limits import SameForAll
from services.documents.service.pipeline import Pipeline
from services.documents.service.resealing import Resealing
from services.documents.service.stage_report import StageReport
from services.documents.service.storage import Storage
from services.documents.service.units import DocumentsUnits
from services.documents.service.uploads import UploadService
from services.kernel.config import Settings
from services.kernel.jobs import Backoff
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units

__all__ = [
    "DocumentService",
    "DocumentsServices",
    "Housekeeping",
    "Ingester",
    "IngestionService",
    "Resealing",
    "StageReport",
    "UploadService",
    "build_documents",
    "build_ingester",
    "build_resealing",
]


@dataclass(frozen=True, slots=True)
class DocumentsServices:
    """Every use case of documents."""

    documents: DocumentService
    uploads: UploadService
    ingestions: IngestionService
    housekeeping: Housekeeping
    units: DocumentsUnits


def build_documents(resources: Resources, settings: Settings, pager: Pager, store: BlobStore) -> DocumentsServices:
    """Put the use cases together."""
    clock = resources.clock
    units = Units(resources, "documents", DocumentsRepositories)
    storage = Storage(units, clock, store)
    allowance = Allowance(
        file_bytes=settings.max_upload_bytes,
        packed_bytes=settings.max_packed_upload_bytes,
        documents=settings.max_documents,
    )
    arrivals = Arrivals(units, clock, storage, SameForAll(allowance))
    return DocumentsServices(
        documents=DocumentService(units, clock, pager, storage, arrivals),
        uploads=UploadService(units, clock, storage, arrivals),
        ingestions=IngestionService(units, clock, pager),
        housekeeping=Housekeeping(units, clock, storage),
        units=units,
    )


def build_ingester(
    resources: Resources,
    settings: Settings,
    store: BlobStore,
    index: index_service_pb2_grpc.IndexServiceStub,
    report: StageReport,
) -> Ingester:
    """What a worker ingests with; `index` is the stub of search."""
    clock = resources.clock
    units = Units(resources, "documents", DocumentsRepositories)
    pool = ParserPool(idle=settings.ingest_parsers)
    pipeline = Pipeline(units, Storage(units, clock, store), index, pool, settings.ingest_parsers, report)
    return Ingester(units, clock, pipeline, Backoff(timedelta(seconds=settings.ingest_retry_seconds)))


def build_resealing(resources: Resources, keyring: Keyring, store: BlobStore) -> Resealing:
    """What follows a change of the master key."""
    clock = resources.clock
    units = Units(resources, "documents", DocumentsRepositories)
    sealed = store if isinstance(store, Sealed) else None
    return Resealing(units, clock, keyring, Storage(units, clock, store), sealed)
