"""What documents does about events of others, and its jobs."""

from datetime import timedelta

from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.documents.repository import DocumentsRepositories
from services.documents.service import DocumentsServices, Ingester, Resealing
from services.documents.service.housekeeping import COLLECT, QUEUE
from services.documents.service.resealing import RESEAL
from services.documents.service.units import DocumentsUnitOfWork
from services.kernel.config import Settings
from services.kernel.events import Event
from services.kernel.jobs import Attempt, Backoff, JobHandler
from services.kernel.outbox import event_type
from services.kernel.subscriptions import Subscription

# A store takes its time for millions of blobs.
_LONG = timedelta(hours=12)
_BACKOFF = Backoff(timedelta(seconds=30), timedelta(minutes=10))
_WORKSPACE_PURGED = event_type(tenancy_pb2.WorkspacePurged.DESCRIPTOR)


def subscriptions(services: DocumentsServices) -> list[Subscription[DocumentsRepositories]]:
    """What is done about which events."""

    def forget(uow: DocumentsUnitOfWork, event: Event) -> None:
        if event.workspace_id is None:
            raise ValueError(f"{event.type} belongs to a workspace")
        services.housekeeping.forget_workspace(uow, event.workspace_id)

    return [Subscription("documents.workspaces", frozenset({_WORKSPACE_PURGED}), forget, services.units)]


def job_handlers(
    services: DocumentsServices, ingester: Ingester, resealing: Resealing, settings: Settings
) -> list[JobHandler]:
    """Who does the jobs of documents."""

    def collect(attempt: Attempt) -> None:
        services.housekeeping.sweep(attempt.check)

    def reseal(attempt: Attempt) -> None:
        resealing.reseal(attempt.check)

    return [
        ingester.handler(at_once=settings.ingest_at_once, per_workspace=settings.ingest_per_workspace),
        JobHandler(COLLECT, QUEUE, collect, backoff=_BACKOFF, timeout=_LONG),
        JobHandler(RESEAL, QUEUE, reseal, backoff=_BACKOFF, timeout=_LONG),
    ]
