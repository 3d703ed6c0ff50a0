"""How an ingestion begins, and how it is brought to the workers: in the commit that wants it."""

from datetime import datetime

from services.documents.model.documents import Document
from services.documents.model.ingestions import Ingestion
from services.documents.service import news
from services.documents.service.units import DocumentsUnitOfWork
from services.kernel.caller import current_caller
from services.kernel.feed import ResourceChanged
from services.kernel.ids import new_id
from services.kernel.jobs import NewJob

QUEUE = "ingest"
KIND = "documents.ingest"
# The ingestion counts its attempts itself, and ends by that; a job that is given back to the queue is none of them.
_MOST_JOB_ATTEMPTS = 1_000
# What somebody waits for goes before what is tried again in bulk.
_BULK = -1


def begin(uow: DocumentsUnitOfWork, document: Document, now: datetime) -> Ingestion:
    """Ingest the newest version of a document that is locked, or new; nothing comes of older ones any more."""
    workspace_id, document_id = document.workspace_id, document.document_id
    for unfinished in uow.repo.ingestions.lock_unfinished(workspace_id, document_id):
        cancelled = unfinished.cancelled(now)
        uow.repo.ingestions.save(cancelled)
        uow.emit(cancelled.name, news.ingestion_advanced(cancelled), restricted=document.hidden)
        uow.announce(ResourceChanged(cancelled.ingestion_id))
    uow.repo.blobs.doom(workspace_id, uow.repo.ingestions.forget_parsed(workspace_id, document_id))
    ingestion = Ingestion.received(workspace_id, document_id, document.current_version, now, ingestion_id=new_id())
    uow.repo.ingestions.add(ingestion)
    uow.repo.documents.follow(ingestion)
    uow.enqueue(job_of(ingestion))
    return ingestion


def job_of(ingestion: Ingestion, *, bulk: bool = False) -> NewJob:
    """What brings a run of an ingestion to its end: a job of a former run finds another one, and does nothing."""
    return NewJob(
        QUEUE,
        KIND,
        str(ingestion.run).encode(),
        workspace_id=ingestion.workspace_id,
        priority=_BULK if bulk else 0,
        unique_key=f"{ingestion.ingestion_id}/{ingestion.run}",
        max_attempts=_MOST_JOB_ATTEMPTS,
        subject=ingestion.name,
        # Always: who may see the document changes while it waits. The others look at IngestionService.
        restricted=True,
    )


def tell_watchers(uow: DocumentsUnitOfWork, document: Document) -> None:
    """Have whoever watches a document's ingestion ask again whether they may."""
    if document.ingestion_id is not None:
        uow.announce(ResourceChanged(document.ingestion_id))


def save(uow: DocumentsUnitOfWork, ingestion: Ingestion) -> None:
    """Write the newest ingestion of a document after it moved, and tell of it; both are locked."""
    uow.repo.ingestions.save(ingestion)
    for_everyone = uow.repo.documents.follow(ingestion)
    # The audit log is of what people do.
    by_itself = current_caller().service is not None
    uow.emit(ingestion.name, news.ingestion_advanced(ingestion), restricted=not for_everyone, audited=not by_itself)
    uow.announce(ResourceChanged(ingestion.ingestion_id))
