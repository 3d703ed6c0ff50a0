"""What projects does about events, its own and those of others, and its jobs."""

from uuid import UUID

from plinth.projects.v1 import events_pb2
from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.kernel.events import Event
from services.kernel.jobs import Attempt, JobHandler, NewJob, RetryableError
from services.kernel.outbox import event_type
from services.kernel.subscriptions import Subscription
from services.projects.convert.activity import EVENT_TYPES, activity_of
from services.projects.convert.approvals import approval_in
from services.projects.model.approvals import OPEN_FOR
from services.projects.repository import ProjectsRepositories
from services.projects.service import ProjectsServices
from services.projects.service.units import ProjectsUnitOfWork

QUEUE = "projects"
EXPIRE_APPROVAL = "projects.expire_approval"

_PROJECT_PURGED = event_type(events_pb2.ProjectPurged.DESCRIPTOR)
_APPROVAL_REQUESTED = event_type(events_pb2.ApprovalRequested.DESCRIPTOR)
_WORKSPACE_PURGED = event_type(tenancy_pb2.WorkspacePurged.DESCRIPTOR)


def subscriptions(services: ProjectsServices) -> list[Subscription[ProjectsRepositories]]:
    """What is done about which events."""

    def record(uow: ProjectsUnitOfWork, event: Event) -> None:
        if event.type == _WORKSPACE_PURGED:
            # By this subscriber, which has recorded all that came before: another one might be ahead of it.
            services.housekeeping.forget_workspace(uow, _workspace_of(event))
            return
        done = activity_of(event)
        if event.type == _PROJECT_PURGED and done.project_id is not None:
            services.activity.forget_project(uow, done.workspace_id, done.project_id)
        services.activity.record(uow, done)

    def set_expiry(uow: ProjectsUnitOfWork, event: Event) -> None:
        uow.enqueue(
            NewJob(
                QUEUE,
                EXPIRE_APPROVAL,
                run_at=event.time + OPEN_FOR,
                unique_key=event.subject,
                subject=event.subject,
            )
        )

    return [
        Subscription("projects.activity", EVENT_TYPES | {_WORKSPACE_PURGED}, record, services.units),
        Subscription("projects.approval_expiry", frozenset({_APPROVAL_REQUESTED}), set_expiry, services.units),
    ]


def job_handlers(services: ProjectsServices) -> list[JobHandler]:
    """Who does the jobs of projects."""

    def expire(attempt: Attempt) -> None:
        left = services.approvals.expire(*approval_in(attempt.subject))
        if left is not None:
            # Somebody has requeued the job, or this worker's clock is behind that of whom the move was asked of.
            raise RetryableError("it can still be decided", retry_after=left)

    return [JobHandler(EXPIRE_APPROVAL, QUEUE, expire)]


def _workspace_of(event: Event) -> UUID:
    if event.workspace_id is None:
        raise ValueError(f"{event.type} belongs to a workspace")
    return event.workspace_id
