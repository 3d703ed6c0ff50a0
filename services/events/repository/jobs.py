"""Jobs, as the kernel keeps them, with the errors of this domain."""

from datetime import datetime

from psycopg.errors import UniqueViolation

from services.events.errors import JobUniqueKeyTaken
from services.events.model.jobs import job_name
from services.kernel.jobs import repository
from services.kernel.jobs.model import Job


class JobRepository(repository.JobRepository):
    """Jobs of the session's workspace."""

    def requeue(self, job: Job, now: datetime) -> None:
        """Put a locked dead or cancelled job back. Raises JobUniqueKeyTaken."""
        try:
            super().requeue(job, now)
        except UniqueViolation:
            raise JobUniqueKeyTaken(job_name(job.workspace_id, job.id)) from None
