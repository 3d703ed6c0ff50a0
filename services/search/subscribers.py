"""What search does about events of others, and its jobs."""

from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from plinth.documents.v1 import events_pb2 as documents_pb2
from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.kernel.events import Event
from services.kernel.jobs import Attempt, JobHandler, RetryableError
from services.kernel.names import WORKSPACE
from services.kernel.outbox import event_type
from services.kernel.subscriptions import Subscription
from services.search.convert.index import deleted_document, index_in, updated_document
from services.search.errors import EmbedderRefused, IndexPurged
from services.search.repository import SearchRepositories
from services.search.service import SearchServices
from services.search.service.housekeeping import SWEEP
from services.search.service.maintenance import MAINTAIN
from services.search.service.model_lifecycle import BUILD, DROP, PRUNE
from services.search.service.purging import FORGET_QUERIES, PURGE
from services.search.service.units import QUEUE, SearchUnitOfWork
from services.search.service.vocabulary import COUNT

_DOCUMENT_UPDATED = event_type(documents_pb2.DocumentUpdated.DESCRIPTOR)
_DOCUMENT_DELETED = event_type(documents_pb2.DocumentDeleted.DESCRIPTOR)
# For millions of passages a provider takes its time, and so does reading them anew.
_LONG = timedelta(hours=12)
_WORKSPACE_PURGED = event_type(tenancy_pb2.WorkspacePurged.DESCRIPTOR)


def subscriptions(services: SearchServices) -> list[Subscription[SearchRepositories]]:
    """What is done about which events. One subscriber, so that a purge comes after all that came before it."""

    def follow(uow: SearchUnitOfWork, event: Event) -> None:
        if event.type == _WORKSPACE_PURGED:
            (workspace_id,) = WORKSPACE.ids(tenancy_pb2.WorkspacePurged.FromString(event.data).workspace)
            services.purging.begin(uow, workspace_id)
        elif event.type == _DOCUMENT_UPDATED:
            services.publishing.follow(uow, *updated_document(event))
        else:
            services.publishing.follow(uow, *deleted_document(event))

    types = frozenset({_DOCUMENT_UPDATED, _DOCUMENT_DELETED, _WORKSPACE_PURGED})
    return [Subscription("search.documents", types, follow, services.units)]


def job_handlers(services: SearchServices) -> list[JobHandler]:
    """Who does the jobs of search."""

    def maintain(attempt: Attempt) -> None:
        with suppress(IndexPurged):
            services.maintenance.maintain(index_in(attempt.subject), attempt.check)

    def build(attempt: Attempt) -> None:
        workspace_id, model_id = index_in(attempt.subject), UUID(bytes=attempt.payload)
        try:
            services.vector_builds.build(workspace_id, model_id, attempt.check, attempt.wait)
        except EmbedderRefused as error:
            # Who mends the key, or the settings, tells nobody.
            raise RetryableError(f"{error} {error.problem}") from error

    def drop(attempt: Attempt) -> None:
        workspace_id, model_id = index_in(attempt.subject), UUID(bytes=attempt.payload)
        services.vector_builds.drop(workspace_id, model_id, attempt.check, attempt.wait)

    def prune(attempt: Attempt) -> None:
        workspace_id, model_id = index_in(attempt.subject), UUID(bytes=attempt.payload)
        with suppress(IndexPurged):
            services.vector_builds.prune(workspace_id, model_id, attempt.check)

    def count(attempt: Attempt) -> None:
        workspace_id, document_id = index_in(attempt.subject), UUID(bytes=attempt.payload)
        with suppress(IndexPurged):
            services.vocabulary.count(workspace_id, document_id, attempt.check)

    def purge(attempt: Attempt) -> None:
        services.purging.purge(index_in(attempt.subject), attempt.check, attempt.wait)

    def forget_queries(attempt: Attempt) -> None:
        services.purging.forget_queries(index_in(attempt.subject), attempt.check)

    def sweep(attempt: Attempt) -> None:
        services.housekeeping.sweep(attempt.check)

    return [
        JobHandler(SWEEP, QUEUE, sweep, timeout=_LONG),
        JobHandler(MAINTAIN, QUEUE, maintain, timeout=_LONG),
        JobHandler(BUILD, QUEUE, build, timeout=_LONG),
        JobHandler(DROP, QUEUE, drop),
        JobHandler(PRUNE, QUEUE, prune),
        JobHandler(COUNT, QUEUE, count),
        JobHandler(PURGE, QUEUE, purge, timeout=_LONG),
        JobHandler(FORGET_QUERIES, QUEUE, forget_queries),
    ]
