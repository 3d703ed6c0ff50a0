"""Does the jobs that bring ingestions to their ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from services.documents.model.ingestions import Failure, Ingestion, IngestionReason, IngestionState
from services.documents.model.names import INGESTION
from services.documents.service import ingestion_lifecycle
from services.documents.service.failures import TIMED_OUT, failure_of
from services.documents.service.pipeline import Pipeline
from services.documents.service.slots import Slot
from services.documents.service.tenure import Change, Lookout, Superseded, Tenure, begin
from services.documents.service.units import DocumentsUnits
from services.kernel.clock import Clock
from services.kernel.deadline import check_deadline, reset_deadline, set_deadline
from services.kernel.errors import CallDeadlineExceeded, Unavailable
from services.kernel.jobs import (
    Attempt,
    AttemptTimedOut,
    Backoff,
    JobCancelled,
    JobHandler,
    LeaseLost,
    RetryableError,
)

# What an attempt has from the moment on that it begins; its turn is waited for besides.
_TIMEOUT = timedelta(hours=1)
_LONGEST_TURN = timedelta(days=1)
# As long as a database takes to start anew.
_INSIST_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_log = structlog.get_logger("plinth.documents")


class Ingester:
    """One attempt after the other, until an ingestion is found or dead."""

    def __init__(self, units: DocumentsUnits, clock: Clock, pipeline: Pipeline, backoff: Backoff) -> None:
        self._units = units
        self._clock = clock
        self._pipeline = pipeline
        self._backoff = backoff

    def handler(self, *, at_once: int, per_workspace: int) -> JobHandler:
        """What a worker runs: so many jobs at once over all workers, and so many of one workspace."""
        return JobHandler(
            ingestion_lifecycle.KIND,
            ingestion_lifecycle.QUEUE,
            self.ingest,
            queue_limit=at_once,
            workspace_limit=per_workspace,
            backoff=self._backoff,
            timeout=_LONGEST_TURN + _TIMEOUT,
        )

    def ingest(self, attempt: Attempt) -> None:
        """One attempt; it ends quietly when the ingestion is no longer its own.

        Raises RetryableError where another one is to come, and whatever keeps it from saying how this one ended.
        """
        found = self._found(attempt)
        if found is not None and not found.state.ended:
            self._attempt(attempt, found)
            found = self._found(attempt)
        if found is not None and found.may_be_found:
            # Its worker may have been killed, or an answer lost, between the publish and the commit that tells of it.
            self._pipeline.settle(found)

    def _found(self, attempt: Attempt) -> Ingestion | None:
        with self._units() as uow:
            return uow.repo.ingestions.get(*INGESTION.ids(attempt.subject))

    def _attempt(self, attempt: Attempt, found: Ingestion) -> None:
        try:
            with self._pipeline.slot(found.workspace_id) as slot:
                if found.is_to_be_read:
                    # Who waits has not begun: if the worker ends meanwhile, it is not for the sake of this file.
                    slot.take(Lookout(self._units, attempt, found, lambda now: not now.state.ended).check)
                with _deadline(time.monotonic() + _TIMEOUT.total_seconds()):
                    tenure = begin(self._units, self._clock, attempt, found)
                    if tenure is not None:
                        self._run(tenure, slot)
        except Superseded:
            _log.info("ingestion.superseded", ingestion=attempt.subject)

    def _run(self, tenure: Tenure, slot: Slot) -> None:
        try:
            self._pipeline.run(tenure, slot)
        except Superseded:
            raise
        except (LeaseLost, JobCancelled):
            _advance(tenure, lambda _, before, now: before.let_go(now))
            raise
        except AttemptTimedOut:
            self._fail(tenure, TIMED_OUT)
        except Exception as error:  # noqa: BLE001  # whatever it was, people are told, and it may be tried again
            failure = failure_of(error)
            # What it waits for is cut off by its own deadline, and is not to be blamed for that.
            self._fail(tenure, TIMED_OUT if failure.outage and _is_late() else failure, error)

    def _fail(self, tenure: Tenure, failure: Failure, error: Exception | None = None) -> None:
        before = tenure.ingestion
        delay = self._backoff.delay(before.outages + 1 if failure.outage else before.tries + 1)
        after = _advance(tenure, lambda _, before, now: before.failed(failure, now, delay))
        if failure.reason is IngestionReason.INTERNAL:
            # Not before that commit: what befell one that nobody wants any more is no fault.
            _log.error("ingestion.failed", ingestion=after.name, error=error)
        if after.state is IngestionState.FAILED_RETRYING and after.retry_time is not None:
            # Both back at the same moment, the ingestion as people see it, and the job.
            raise RetryableError(
                f"{failure.reason.upper()}: {failure.message}", retry_after=after.retry_time - self._clock.now()
            )


def _advance(tenure: Tenure, change: Change) -> Ingestion:
    """Commit how an attempt ended, also one whose time is over.

    A database that is away is waited for: an attempt that cannot say how it ended counts as one that ended its worker.
    """
    give_up_at = time.monotonic() + _INSIST_SECONDS
    unsure: Unavailable | None = None
    with _deadline(None):
        while True:
            try:
                return tenure.advance(change)
            except Unavailable as error:
                if time.monotonic() > give_up_at:
                    raise
                unsure = error
                time.sleep(_PAUSE_SECONDS)
            except Superseded:
                # Perhaps by the very commit whose answer was lost: then its job has to come back.
                raise unsure or Superseded from None


@contextmanager
def _deadline(deadline: float | None) -> Iterator[None]:
    token = set_deadline(deadline)
    try:
        yield
    finally:
        reset_deadline(token)


def _is_late() -> bool:
    try:
        check_deadline()
    except CallDeadlineExceeded:
        return True
    return False
