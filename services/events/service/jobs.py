"""Use cases of JobService."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from plinth.events.v1 import events_pb2
from services.events.errors import JobStateConflict
from services.events.model.jobs import ShownState, job_name
from services.events.service.units import EventsUnitOfWork, EventsUnits
from services.events.webhooks.deliveries import Deliveries
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation, ResourceNotFound
from services.kernel.jobs import Job, JobState
from services.kernel.jobs.repository import JobFilter
from services.kernel.names import WORKSPACE
from services.kernel.paging import Pager
from services.kernel.wire import timestamp

_REQUEUED_AT_ONCE = 10_000


class JobService:
    """The durable work of a workspace. Who does not own it finds no job of what not everyone there may know of."""

    def __init__(self, units: EventsUnits, clock: Clock, pager: Pager, deliveries: Deliveries) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._deliveries = deliveries

    def list_jobs(
        self, workspace_id: UUID, wanted: JobFilter, page_size: int, page_token: str, *, method: str = "ListJobs"
    ) -> tuple[list[Job], str]:
        """A page of jobs, newest first, and the token of the next. Raises PageTokenInvalid."""
        query = (method, str(workspace_id), ",".join(sorted(wanted.states)), wanted.queue, wanted.kind)
        page = self._pager.page(page_token, page_size, *query)
        wanted = replace(wanted, restricted_too=_owner())
        with self._units() as uow:
            found = uow.repo.jobs.list_newest(workspace_id, wanted, page.after_id(), page.count)
        return self._pager.cut(page, found, lambda job: (job.id,))

    def list_dead(
        self, workspace_id: UUID, wanted: JobFilter, page_size: int, page_token: str
    ) -> tuple[list[Job], str]:
        """The same of the jobs that were given up; the filter's states do not matter."""
        dead = JobFilter(ShownState.DEAD.states, wanted.queue, wanted.kind)
        return self.list_jobs(workspace_id, dead, page_size, page_token, method="ListDeadJobs")

    def get(self, workspace_id: UUID, job_id: UUID) -> Job:
        """A job. Raises ResourceNotFound."""
        with self._units() as uow:
            return _shown(uow, workspace_id, job_id)

    def requeue(self, workspace_id: UUID, job_id: UUID) -> Job:
        """A dead or cancelled job, queued again, and with it the delivery that its cancellation cancelled.

        Raises ResourceNotFound, JobStateConflict, JobUniqueKeyTaken or DeliveryPayloadExpired.
        """
        with self._units() as uow:
            job = _locked(uow, workspace_id, job_id)
            if job.state.queued:
                uow.commit()
                return job
            if job.state not in (JobState.DEAD, JobState.CANCELLED):
                raise _conflict(job)
            name = job_name(workspace_id, job_id)
            if job.state is JobState.CANCELLED:
                self._deliveries.reopen_with(uow, workspace_id, job)
            uow.repo.jobs.requeue(job, self._clock.now())
            uow.emit(name, events_pb2.JobRequeued(job=name, kind=job.kind), restricted=job.restricted)
            after = _shown(uow, workspace_id, job_id)
            uow.commit()
        return after

    def requeue_many(
        self, workspace_id: UUID, named: Sequence[tuple[UUID, UUID]], since: datetime | None
    ) -> tuple[int, bool]:
        """Put dead jobs back: those named, those that died since, or, given both, those named that died since.

        `named` are pairs of a workspace and a job. How many, and whether there may be more. Raises FieldsInvalid where
        neither is given, and ResourceNotFound for another workspace's job.
        """
        if not named and since is None:
            raise FieldsInvalid(FieldViolation("names", "must list jobs, unless since is given"))
        for owner_id, job_id in named:
            if owner_id != workspace_id:
                raise ResourceNotFound(job_name(owner_id, job_id))
        job_ids = [job_id for _, job_id in named]
        with self._units() as uow:
            count, more = uow.repo.jobs.requeue_dead(
                workspace_id,
                self._clock.now(),
                job_ids=job_ids or None,
                since=since,
                restricted_too=_owner(),
                count=_REQUEUED_AT_ONCE,
            )
            if count:
                event = events_pb2.JobsRequeued(count=count, since=timestamp(since))
                uow.emit(WORKSPACE.format(workspace=workspace_id), event)
            uow.commit()
        return count, more

    def discard(self, workspace_id: UUID, job_id: UUID) -> Job:
        """A dead job, off the list. Raises ResourceNotFound or JobStateConflict."""
        with self._units() as uow:
            job = _locked(uow, workspace_id, job_id)
            if job.state is not JobState.DISCARDED:
                if job.state is not JobState.DEAD:
                    raise _conflict(job)
                uow.repo.jobs.discard(workspace_id, job_id, self._clock.now())
                name = job_name(workspace_id, job_id)
                uow.emit(name, events_pb2.JobDiscarded(job=name, kind=job.kind), restricted=job.restricted)
            after = _shown(uow, workspace_id, job_id)
            uow.commit()
        return after

    def cancel(self, workspace_id: UUID, job_id: UUID) -> Job:
        """A job that ends, or is asked to stop, and with it what it was to deliver.

        Raises ResourceNotFound or JobStateConflict.
        """
        with self._units() as uow:
            job = _locked(uow, workspace_id, job_id)
            after = job
            if not (job.state is JobState.CANCELLED or job.cancel_requested):
                if not job.state.live:
                    raise _conflict(job)
                # First, since it locks an endpoint: who holds that may wait for a job whose key is being given up.
                self._deliveries.cancel_with(uow, workspace_id, job)
                after = uow.repo.jobs.cancel(workspace_id, job_id, self._clock.now()) or job
                name = job_name(workspace_id, job_id)
                uow.emit(name, events_pb2.JobCancelled(job=name, kind=job.kind), restricted=job.restricted)
            uow.commit()
        return after


def _shown(uow: EventsUnitOfWork, workspace_id: UUID, job_id: UUID) -> Job:
    return _found(uow.repo.jobs.get(workspace_id, job_id), workspace_id, job_id)


def _locked(uow: EventsUnitOfWork, workspace_id: UUID, job_id: UUID) -> Job:
    return _found(uow.repo.jobs.lock(workspace_id, job_id), workspace_id, job_id)


def _found(job: Job | None, workspace_id: UUID, job_id: UUID) -> Job:
    """The job. Raises ResourceNotFound where there is none that the caller may see."""
    if job is None or (job.restricted and not _owner()):
        raise ResourceNotFound(job_name(workspace_id, job_id))
    return job


def _owner() -> bool:
    return current_caller().require_grant().owner


def _conflict(job: Job) -> JobStateConflict:
    return JobStateConflict(job_name(job.workspace_id, job.id), ShownState.of(job.state))
