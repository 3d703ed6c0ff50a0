"""Ingestions as people see and steer them; nobody works on them here, but for the attempts that a test makes."""

import threading
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
import pytest

from plinth.documents.v1 import document_pb2, ingestion_pb2
from plinth.documents.v1 import ingestion_service_pb2 as pb
from services.documents.model.ingestions import MOST_TRIES, Failure, Ingestion, IngestionReason
from services.documents.model.names import INGESTION
from services.documents.parsing.failures import ParseFailed
from services.documents.parsing.failures import Reason as ParserReason
from services.documents.service import (
    DocumentsServices,
    Ingester,
    ingester,
    ingestions,
    tenure,
)
from services.documents.service.slots import Slot, Slots
from services.documents.service.tenure import Superseded, Tenure
from services.kernel.caller import Caller
from services.kernel.errors import DependencyUnavailable
from services.kernel.jobs import Attempt, AttemptTimedOut, Backoff, JobCancelled, LeaseLost, RetryableError
from services.kernel.jobs.attempt import Hold
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.people import Person

CODE = grpc.StatusCode
State = ingestion_pb2.IngestionState
Reason = ingestion_pb2.IngestionReason
BROKEN = Failure(IngestionReason.CORRUPT, "It is damaged.", retryable=False)
BACKOFF = Backoff(timedelta(hours=1))
CRASHED = Failure(IngestionReason.PARSER_CRASHED, "The parser crashed.")


def get(shelf: Shelf, name: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
    stubs = (person or shelf.owner).stubs.ingestions
    return stubs.GetIngestion(pb.GetIngestionRequest(name=name)).ingestion


def listed(shelf: Shelf, filter: str = "", person: Person | None = None) -> list[str]:
    """The names on all pages, one a page."""
    names: list[str] = []
    token = ""
    while True:
        request = pb.ListIngestionsRequest(parent=shelf.workspace, page_size=1, page_token=token, filter=filter)
        answer = (person or shelf.owner).stubs.ingestions.ListIngestions(request)
        names += [one.name for one in answer.ingestions]
        token = answer.next_page_token
        if not token:
            return names


def retry(shelf: Shelf, name: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
    stubs = (person or shelf.owner).stubs.ingestions
    return stubs.RetryIngestion(pb.RetryIngestionRequest(name=name)).ingestion


def cancel(shelf: Shelf, name: str, person: Person | None = None) -> ingestion_pb2.Ingestion:
    stubs = (person or shelf.owner).stubs.ingestions
    return stubs.CancelIngestion(pb.CancelIngestionRequest(name=name)).ingestion


def retry_dead(shelf: Shelf, *reasons: Reason.ValueType, person: Person | None = None) -> tuple[int, bool]:
    request = pb.RetryDeadIngestionsRequest(parent=shelf.workspace, reasons=reasons)
    answer = (person or shelf.owner).stubs.ingestions.RetryDeadIngestions(request)
    return answer.count, answer.more


def jobs(shelf: Shelf, name: str) -> list[tuple[bytes, int]]:
    """Payload and rank of the jobs of an ingestion, oldest first."""
    find = "select payload, rank from jobs.jobs where workspace_id = %s and subject = %s order by id"
    return shelf.team.database.execute(find, [shelf.workspace_id, name]).fetchall()


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


class Going:
    """A pipeline in which something goes wrong."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def slot(self, workspace_id: UUID) -> Slot:
        return Slots(1).of(workspace_id)

    def run(self, held: Tenure, slot: Slot) -> None:
        raise self._error


class Hands:
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

    def go_through(self, name: str, fence: int, error: Exception) -> None:
        """A whole attempt, in which this goes wrong. Raises what the job is to be settled by."""
        pipeline = Going(error)
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


@pytest.fixture
def hands(services: DocumentsServices, runtime: Runtime) -> Hands:
    return Hands(services, runtime)


class TestList:
    def test_tells_the_newest_first_and_by_what_is_asked(self, shelf: Shelf, hands: Hands) -> None:
        first = shelf.create(name="one.txt").ingestion
        second = shelf.create(name="one.txt").ingestion
        dead = hands.kill(shelf)
        assert listed(shelf) == [dead.ingestion, second, first]
        assert listed(shelf, f'document = "{dead.name}"') == [dead.ingestion]
        assert listed(shelf, "state = INGESTION_STATE_CANCELLED") == [first]
        assert listed(shelf, "reason = INGESTION_REASON_CORRUPT") == [dead.ingestion]
        assert listed(shelf, "update_time > 2100-01-01T00:00:00Z") == []

    def test_who_may_not_see_the_document_finds_nothing_of_it(self, shelf: Shelf, hands: Hands) -> None:
        member, admin = shelf.team.member, shelf.team.admin
        hidden = shelf.create(person=member, visibility=shelf.visible(member))
        hands.fail(hands.begin(hidden.ingestion, 1), BROKEN)
        assert listed(shelf, person=member) == [hidden.ingestion]
        assert listed(shelf, person=admin) == []
        for way in (get, retry, cancel):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                way(shelf, hidden.ingestion, admin)
        assert retry_dead(shelf, person=admin) == (0, False)
        assert retry_dead(shelf, person=member) == (1, False)


class TestCancel:
    def test_holds_at_once_and_only_what_is_under_way(self, shelf: Shelf) -> None:
        document = shelf.create()
        cancelled = cancel(shelf, document.ingestion)
        assert cancelled.state == State.INGESTION_STATE_CANCELLED
        assert cancelled.HasField("end_time")
        assert shelf.get(document).ingestion_state == State.INGESTION_STATE_CANCELLED
        assert cancel(shelf, document.ingestion) == cancelled
        assert shelf.told() == ["document.created", "ingestion.advanced"]

    def test_an_attempt_that_is_at_it_learns_so_and_changes_nothing(self, shelf: Shelf, hands: Hands) -> None:
        document = shelf.create()
        held = hands.begin(document.ingestion, 1)
        assert held is not None
        hands.check(held)
        cancel(shelf, document.ingestion)
        with pytest.raises(Superseded):
            hands.check(held)
        with pytest.raises(Superseded):
            hands.fail(held, BROKEN)
        found = get(shelf, document.ingestion)
        assert found.state == State.INGESTION_STATE_CANCELLED
        assert [one.message for one in found.attempts] == ["It was cancelled."]


class TestRetry:
    def test_begins_a_dead_one_again_with_a_job_of_its_own(self, shelf: Shelf, hands: Hands) -> None:
        document = hands.kill(shelf)
        again = retry(shelf, document.ingestion)
        assert (again.state, again.reason) == (State.INGESTION_STATE_RECEIVED, Reason.INGESTION_REASON_UNSPECIFIED)
        assert not again.HasField("end_time")
        assert [one.reason for one in again.attempts] == [Reason.INGESTION_REASON_CORRUPT]
        assert jobs(shelf, document.ingestion) == [(b"0", 0), (b"1", 0)]
        assert hands.begin(document.ingestion, 2, run=0) is None
        assert hands.begin(document.ingestion, 2, run=1) is not None

    def test_leaves_one_alone_that_is_under_way(self, shelf: Shelf) -> None:
        document = shelf.create()
        assert retry(shelf, document.ingestion) == get(shelf, document.ingestion)
        assert len(jobs(shelf, document.ingestion)) == 1

    def test_is_refused_where_a_newer_one_has_begun(self, shelf: Shelf) -> None:
        old = shelf.create(name="same.txt")
        shelf.create(name="same.txt")
        with refused(CODE.FAILED_PRECONDITION, "INGESTION_STATE_CONFLICT"):
            retry(shelf, old.ingestion)

    def test_of_many_takes_the_oldest_first_and_says_that_there_are_more(
        self, shelf: Shelf, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingestions, "_MOST_AT_ONCE", 2)
        dead = [hands.kill(shelf).ingestion for _ in range(3)]
        hands.kill(shelf, CRASHED, name="crashed.txt")
        outdated = hands.kill(shelf, name="same.txt").ingestion
        shelf.create(name="same.txt")
        asked = (Reason.INGESTION_REASON_CORRUPT, Reason.INGESTION_REASON_TIMEOUT)
        assert retry_dead(shelf, *asked) == (2, True)
        assert listed(shelf, "state = INGESTION_STATE_DEAD") == [outdated, dead[2]]
        assert retry_dead(shelf, *asked) == (1, False)
        assert retry_dead(shelf, *asked) == (0, False)
        # Behind what people wait for.
        assert jobs(shelf, dead[0]) == [(b"0", 0), (b"1", 1)]


class TestAttempts:
    def test_a_later_one_takes_over_and_the_earlier_one_changes_nothing(self, shelf: Shelf, hands: Hands) -> None:
        document = shelf.create()
        first = hands.begin(document.ingestion, 7)
        assert hands.begin(document.ingestion, 7) is None
        second = hands.begin(document.ingestion, 8)
        with pytest.raises(Superseded):
            hands.fail(first, BROKEN)
        hands.fail(second, CRASHED)
        found = get(shelf, document.ingestion)
        assert found.state == State.INGESTION_STATE_FAILED_RETRYING
        assert found.HasField("retry_time")
        assert [(one.number, one.reason) for one in found.attempts] == [
            (1, Reason.INGESTION_REASON_INTERNAL),
            (2, Reason.INGESTION_REASON_PARSER_CRASHED),
        ]

    def test_one_that_failed_comes_back_when_its_job_does(self, shelf: Shelf, hands: Hands) -> None:
        document = shelf.create()
        with pytest.raises(RetryableError, match="DEPENDENCY_UNAVAILABLE: ") as raised:
            hands.go_through(document.ingestion, 1, DependencyUnavailable("blob store"))
        found = get(shelf, document.ingestion)
        assert found.reason == Reason.INGESTION_REASON_DEPENDENCY_UNAVAILABLE
        assert raised.value.retry_after is not None
        assert timedelta(0) < raised.value.retry_after <= BACKOFF.base
        assert found.retry_time.ToDatetime(UTC) - datetime.now(UTC) <= raised.value.retry_after

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (AttemptTimedOut(), Reason.INGESTION_REASON_TIMEOUT),
            (ParseFailed(ParserReason.TIMEOUT, "It took too long."), Reason.INGESTION_REASON_TIMEOUT),
            (ZeroDivisionError(), Reason.INGESTION_REASON_INTERNAL),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_whatever_ends_one_is_told(self, shelf: Shelf, hands: Hands, error: Exception, reason: int) -> None:
        document = shelf.create()
        with pytest.raises(RetryableError):
            hands.go_through(document.ingestion, 1, error)
        assert [one.reason for one in get(shelf, document.ingestion).attempts] == [reason]

    def test_one_that_cannot_help_ends_the_job(self, shelf: Shelf, hands: Hands) -> None:
        document = shelf.create()
        hands.go_through(document.ingestion, 1, ParseFailed(ParserReason.ENCRYPTED, "It opens with a password only."))
        found = get(shelf, document.ingestion)
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_ENCRYPTED)
        assert found.message == "It opens with a password only."

    def test_one_whose_database_is_away_as_it_ends_says_so_later(
        self, shelf: Shelf, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        advance, away = Tenure.advance, [DependencyUnavailable("database")] * 2

        def advance_later(held: Tenure, change: tenure.Change) -> Ingestion:
            if away:
                raise away.pop()
            return advance(held, change)

        monkeypatch.setattr(Tenure, "advance", advance_later)
        monkeypatch.setattr(ingester, "_PAUSE_SECONDS", 0.0)
        document = shelf.create()
        with pytest.raises(RetryableError):
            hands.go_through(document.ingestion, 1, ParseFailed(ParserReason.TIMEOUT, "It took too long."))
        assert away == []
        assert [one.reason for one in get(shelf, document.ingestion).attempts] == [Reason.INGESTION_REASON_TIMEOUT]

    def test_one_whose_last_answer_was_lost_has_its_job_come_back(
        self, shelf: Shelf, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        advance = Tenure.advance

        def advance_unheard(held: Tenure, change: tenure.Change) -> Ingestion:
            advance(held, change)
            raise DependencyUnavailable("database")

        monkeypatch.setattr(Tenure, "advance", advance_unheard)
        monkeypatch.setattr(ingester, "_PAUSE_SECONDS", 0.0)
        with pytest.raises(DependencyUnavailable):
            hands.go_through(shelf.create().ingestion, 1, ParseFailed(ParserReason.TIMEOUT, "It took too long."))

    @pytest.mark.parametrize("error", [LeaseLost(), JobCancelled()], ids=lambda value: type(value).__name__)
    def test_one_that_is_given_back_does_not_count(self, shelf: Shelf, hands: Hands, error: Exception) -> None:
        document = shelf.create()
        with pytest.raises(type(error)):
            hands.go_through(document.ingestion, 1, error)
        found = get(shelf, document.ingestion)
        assert (found.state, list(found.attempts)) == (State.INGESTION_STATE_RECEIVED, [])
        assert hands.begin(document.ingestion, 2) is not None

    def test_one_whose_workers_always_end_is_dead(self, shelf: Shelf, hands: Hands) -> None:
        document = shelf.create()
        for fence in range(MOST_TRIES):
            assert hands.begin(document.ingestion, fence) is not None
        assert hands.begin(document.ingestion, MOST_TRIES) is None
        found = get(shelf, document.ingestion)
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_INTERNAL)
        assert found.message == "The worker ended before the attempt did."
        assert shelf.get(document).ingestion_state == State.INGESTION_STATE_DEAD

    def test_one_that_lost_its_job_is_brought_to_the_workers_again(
        self, shelf: Shelf, hands: Hands, services: DocumentsServices
    ) -> None:
        kept, lost, tried = (shelf.create().ingestion for _ in range(3))
        for fence in range(MOST_TRIES):
            hands.begin(tried, fence)
        let_time_pass(shelf)
        lose_jobs(shelf, lost, tried)
        services.ingestions.revive()
        assert jobs(shelf, kept) == jobs(shelf, lost) == [(b"0", 0)]
        assert get(shelf, tried).state == State.INGESTION_STATE_DEAD
        services.ingestions.revive()
        assert jobs(shelf, lost) == [(b"0", 0)]


def let_time_pass(shelf: Shelf) -> None:
    """An hour, since the ingestions moved last."""
    shelf.team.database.execute(
        "update documents.ingestions set update_time = update_time - interval '1 hour' where workspace_id = %s",
        [shelf.workspace_id],
    )


def lose_jobs(shelf: Shelf, *names: str) -> None:
    """As somebody does who discards them."""
    shelf.team.database.execute(
        "delete from jobs.jobs where workspace_id = %s and subject = any(%s)", [shelf.workspace_id, list(names)]
    )
