"""Jobs as their workspace sees them."""

from enum import StrEnum
from typing import Self
from uuid import UUID

from services.events.model.names import JOB
from services.kernel.jobs.model import QUEUED, JobState


class ShownState(StrEnum):
    """Where a job stands, for whoever does not care where in its queue it waits."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"

    @classmethod
    def of(cls, state: JobState) -> Self:
        """The state as it is shown."""
        return cls("queued" if state.queued else state.value)

    @property
    def states(self) -> frozenset[JobState]:
        """The states that are shown as this one."""
        return QUEUED if self is ShownState.QUEUED else frozenset({JobState(self.value)})


def job_name(workspace_id: UUID | None, job_id: UUID) -> str:
    """The resource name of the job of that id; only jobs of a workspace are ever named."""
    return JOB.format(workspace=str(workspace_id), job=job_id)
