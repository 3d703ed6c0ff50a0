"""The use cases of documents, one module a group of them, and how they are put together."""

from dataclasses import dataclass
from datetime import timedelta

from plinth.search.v1 import index_service_pb2_grpc
from services.documents.blobs.port import BlobStore
from services.documents.blobs.sealed import Sealed
from services.documents.model.allowance import Allowance
from services.documents.parsing.limits import Limits
from services.documents.parsing.pool import ParserPool
from services.documents.repository import DocumentsRepositories
from services.documents.service.admission import Admission
from services.documents.service.allowances import Allowances, SameForAll
from services.documents.service.documents import DocumentService
from services.documents.service.gauges import DocumentsGauges
from services.documents.service.housekeeping import Housekeeping
from services.documents.service.ingester import Ingester
from services.documents.service.ingestions import IngestionService
from services.documents.service.pipeline import Pipeline
from services.documents.service.resealing import Resealing
from services.documents.service.slots import Slots
from services.documents.service.stage_report import StageReport
from services.documents.service.storage import Storage
from services.documents.service.units import DocumentsUnits
from services.documents.service.uploads import UploadService
from services.kernel.clock import Clock
from services.kernel.config import Settings
from services.kernel.jobs import Backoff
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units

__all__ = [
    "DocumentService",
    "DocumentsGauges",
    "DocumentsServices",
    "Housekeeping",
    "Ingester",
    "IngestionService",
    "Resealing",
    "Slots",
    "StageReport",
    "UploadService",
    "allowance_of",
    "build_documents",
    "build_ingester",
    "build_resealing",
]

# However long a part is away, its return is noticed this soon.
_LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class DocumentsServices:
    """Every use case of documents, and the parts that they share with what workers do."""

    documents: DocumentService
    uploads: UploadService
    ingestions: IngestionService
    housekeeping: Housekeeping
    units: DocumentsUnits
    storage: Storage


def build_documents(
    resources: Resources, settings: Settings, pager: Pager, store: BlobStore, allowances: Allowances | None = None
) -> DocumentsServices:
    """Put the use cases together. Without `allowances` every workspace may store what the settings say."""
    clock = resources.clock
    units = Units(resources, "documents", DocumentsRepositories)
    storage = Storage(units, clock, store)
    allowances = allowances or SameForAll(allowance_of(settings))
    admission = Admission(units, clock, storage, allowances)
    return DocumentsServices(
        documents=DocumentService(units, clock, pager, storage, allowances, admission),
        uploads=UploadService(units, clock, storage, admission),
        ingestions=IngestionService(units, clock, pager),
        housekeeping=Housekeeping(units, clock, storage),
        units=units,
        storage=storage,
    )


def allowance_of(settings: Settings) -> Allowance:
    """What a workspace may store where nobody sells more."""
    return Allowance(
        file_bytes=settings.max_upload_bytes,
        packed_bytes=settings.max_packed_upload_bytes,
        documents=settings.max_documents,
        versions=settings.max_document_versions,
        total_bytes=settings.max_stored_bytes,
    )


def build_ingester(
    services: DocumentsServices,
    clock: Clock,
    settings: Settings,
    index: index_service_pb2_grpc.IndexServiceStub,
    slots: Slots,
    report: StageReport,
) -> Ingester:
    """What a worker ingests with; `index` is the stub of search, `slots` are the places at its parsers."""
    pipeline = Pipeline(
        services.units,
        services.storage,
        index,
        ParserPool(idle=settings.ingest_parsers),
        slots,
        # Whatever could be uploaded may be parsed.
        Limits(file_bytes=settings.max_upload_bytes),
        report,
        in_memory=settings.blob_encrypt,
    )
    backoff = Backoff(timedelta(seconds=settings.ingest_retry_seconds), _LONGEST_WAIT)
    return Ingester(services.units, clock, pipeline, backoff)


def build_resealing(services: DocumentsServices, clock: Clock, keyring: Keyring, store: BlobStore) -> Resealing:
    """What follows a change of the master key."""
    sealed = store if isinstance(store, Sealed) else None
    return Resealing(services.units, clock, keyring, services.storage, sealed)
