"""Attempts at ingestions as a worker makes them, one step at a time."""

import threading
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from plinth.documents.v1 import document_pb2
from services.documents.model.ingestions import Failure, IngestionReason
from services.documents.model.names import INGESTION
from services.documents.service import DocumentsServices, Ingester, tenure
from services.documents.service.slots import Slot, Slots
from services.documents.service.tenure import Tenure
from services.kernel.caller import Caller
from services.kernel.jobs import Attempt, Backoff
from services.kernel.jobs.attempt import Hold
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting

BROKEN = Failure(IngestionReason.CORRUPT, "It is damaged.", retryable=False)
BACKOFF = Backoff(timedelta(hours=1))


def attempt_at(name: str, fence: int, run: int = 0) -> Attempt:
    """What a worker holds the job of an ingestion by."""
    moment, forever = datetime.now(UTC), time.monotonic() + 3600
    return Attempt(
        job_id=uuid4(),
        kind="documents.ingest",
        queue="ingest",
        workspace_id=INGESTION.ids(name)[0],
        subject=name,
        payload=str(run).encode(),
        number=1,
        max_attempts=1,
        fence=fence,
        run_time=moment,
        create_time=moment,
        actor="",
        traceparent="",
        unique_key=None,
        hold=Hold(forever, forever, threading.Condition()),
    )


class FailingPipeline:
    """A pipeline in which something goes wrong."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def slot(self, workspace_id: UUID) -> Slot:
        return Slots(1).of(workspace_id)

    def run(self, tenure: Tenure, slot: Slot) -> None:
        raise self._error


class Attempts:
    """Attempts at ingestions, as a worker makes them."""

    def __init__(self, services: DocumentsServices, runtime: Runtime) -> None:
        self._services = services
        self._clock = runtime.clock

    def begin(self, name: str, fence: int, run: int = 0) -> Tenure | None:
        """Begin an attempt."""
        workspace_id, ingestion_id = INGESTION.ids(name)
        with self._acting(workspace_id):
            with self._services.units() as uow:
                found = uow.repo.ingestions.get(workspace_id, ingestion_id)
            assert found is not None
            return tenure.begin(self._services.units, self._clock, attempt_at(name, fence, run), found)

    def run(self, name: str, fence: int, error: Exception) -> None:
        """A whole attempt, in which this goes wrong. Raises what the job is to be settled by."""
        pipeline = FailingPipeline(error)
        ingester = Ingester(self._services.units, self._clock, pipeline, BACKOFF)  # type: ignore[arg-type]  # it does what is asked
        with self._acting(INGESTION.ids(name)[0]):
            ingester.ingest(attempt_at(name, fence))

    def fail(self, held: Tenure | None, failure: Failure) -> None:
        """End an attempt so."""
        assert held is not None
        with self._acting(held.ingestion.workspace_id):
            held.advance(lambda _, before, now: before.failed(failure, now, timedelta(0)))

    def kill(self, shelf: Shelf, failure: Failure = BROKEN, *, name: str = "") -> document_pb2.Document:
        """A document whose ingestion is dead."""
        document = shelf.create(name=name)
        self.fail(self.begin(document.ingestion, 1), failure)
        return document

    def check(self, held: Tenure) -> None:
        """Ask whether it is still wanted, whenever it was asked before."""
        held._lookout._look_at = 0
        with self._acting(held.ingestion.workspace_id):
            held.check()

    @staticmethod
    def _acting(workspace_id: UUID) -> AbstractContextManager[Caller]:
        return acting(Caller(service="documents", workspace_id=workspace_id))
