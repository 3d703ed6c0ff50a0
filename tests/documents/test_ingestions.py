"""Ingestions as people see and steer them; nobody works on them here, but for the attempts that a test makes."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from structlog.testing import capture_logs

from plinth.documents.v1 import ingestion_pb2
from plinth.documents.v1 import ingestion_service_pb2 as pb
from services.documents.model.ingestions import MOST_TRIES, Failure, Ingestion, IngestionReason
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
from services.kernel.deadline import reset_deadline, seconds_left, set_deadline
from services.kernel.errors import CallDeadlineExceeded, DependencyUnavailable
from services.kernel.jobs import AttemptTimedOut, JobCancelled, LeaseLost, RetryableError
from services.runtime import Runtime
from tests.documents.attempts import BACKOFF, BROKEN, Attempts, FailingPipeline, attempt_at
from tests.documents.shelf import Shelf
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.people import Person

CODE = grpc.StatusCode
State = ingestion_pb2.IngestionState
Reason = ingestion_pb2.IngestionReason
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


@pytest.fixture
def attempts(services: DocumentsServices, runtime: Runtime) -> Attempts:
    return Attempts(services, runtime)


class TestList:
    def test_tells_the_newest_first_and_by_what_is_asked(self, shelf: Shelf, attempts: Attempts) -> None:
        first = shelf.create(name="one.txt").ingestion
        second = shelf.create(name="one.txt").ingestion
        dead = attempts.kill(shelf)
        assert listed(shelf) == [dead.ingestion, second, first]
        assert listed(shelf, f'document = "{dead.name}"') == [dead.ingestion]
        assert listed(shelf, "state = INGESTION_STATE_CANCELLED") == [first]
        assert listed(shelf, "reason = INGESTION_REASON_CORRUPT") == [dead.ingestion]
        assert listed(shelf, "update_time > 2100-01-01T00:00:00Z") == []

    def test_who_may_not_see_the_document_finds_nothing_of_it(self, shelf: Shelf, attempts: Attempts) -> None:
        member, admin = shelf.team.member, shelf.team.admin
        hidden = shelf.create(person=member, visibility=shelf.visible(member))
        attempts.fail(attempts.begin(hidden.ingestion, 1), BROKEN)
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

    def test_an_attempt_that_is_at_it_learns_so_and_changes_nothing(self, shelf: Shelf, attempts: Attempts) -> None:
        document = shelf.create()
        held = attempts.begin(document.ingestion, 1)
        assert held is not None
        attempts.check(held)
        cancel(shelf, document.ingestion)
        with pytest.raises(Superseded):
            attempts.check(held)
        with pytest.raises(Superseded):
            attempts.fail(held, BROKEN)
        found = get(shelf, document.ingestion)
        assert found.state == State.INGESTION_STATE_CANCELLED
        assert [one.message for one in found.attempts] == ["It was cancelled."]

    @pytest.mark.parametrize(("wanted", "faults"), [(True, ["ingestion.failed"]), (False, [])])
    def test_what_befalls_it_when_nobody_wants_it_any_more_is_no_fault(
        self, shelf: Shelf, services: DocumentsServices, runtime: Runtime, wanted: bool, faults: list[str]
    ) -> None:
        class Overtaken(FailingPipeline):
            def run(self, tenure: Tenure, slot: Slot) -> None:
                if not wanted:
                    shelf.delete(document)
                super().run(tenure, slot)

        document = shelf.create()
        pipeline: Any = Overtaken(ValueError("refused"))
        one = Ingester(services.units, runtime.clock, pipeline, BACKOFF)
        outcome = pytest.raises(RetryableError) if wanted else nullcontext()
        with acting(Caller(service="documents", workspace_id=shelf.workspace_id)), capture_logs() as logs, outcome:
            one.ingest(attempt_at(document.ingestion, 1))
        assert [line["event"] for line in logs if line["log_level"] == "error"] == faults


class TestRetry:
    def test_begins_a_dead_one_again_with_a_job_of_its_own(self, shelf: Shelf, attempts: Attempts) -> None:
        document = attempts.kill(shelf)
        again = retry(shelf, document.ingestion)
        assert (again.state, again.reason) == (State.INGESTION_STATE_RECEIVED, Reason.INGESTION_REASON_UNSPECIFIED)
        assert not again.HasField("end_time")
        assert [one.reason for one in again.attempts] == [Reason.INGESTION_REASON_CORRUPT]
        assert jobs(shelf, document.ingestion) == [(b"0", 0), (b"1", 0)]
        assert attempts.begin(document.ingestion, 2, run=0) is None
        assert attempts.begin(document.ingestion, 2, run=1) is not None

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
        self, shelf: Shelf, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingestions, "_MOST_AT_ONCE", 2)
        dead = [attempts.kill(shelf).ingestion for _ in range(3)]
        attempts.kill(shelf, CRASHED, name="crashed.txt")
        outdated = attempts.kill(shelf, name="same.txt").ingestion
        shelf.create(name="same.txt")
        asked = (Reason.INGESTION_REASON_CORRUPT, Reason.INGESTION_REASON_TIMEOUT)
        assert retry_dead(shelf, *asked) == (2, True)
        assert listed(shelf, "state = INGESTION_STATE_DEAD") == [outdated, dead[2]]
        assert retry_dead(shelf, *asked) == (1, False)
        assert retry_dead(shelf, *asked) == (0, False)
        # Behind what people wait for.
        assert jobs(shelf, dead[0]) == [(b"0", 0), (b"1", 1)]


class TestAttempts:
    def test_a_later_one_takes_over_and_the_earlier_one_changes_nothing(self, shelf: Shelf, attempts: Attempts) -> None:
        document = shelf.create()
        first = attempts.begin(document.ingestion, 7)
        assert attempts.begin(document.ingestion, 7) is None
        second = attempts.begin(document.ingestion, 8)
        with pytest.raises(Superseded):
            attempts.fail(first, BROKEN)
        attempts.fail(second, CRASHED)
        found = get(shelf, document.ingestion)
        assert found.state == State.INGESTION_STATE_FAILED_RETRYING
        assert found.HasField("retry_time")
        assert [(one.number, one.reason) for one in found.attempts] == [
            (1, Reason.INGESTION_REASON_INTERNAL),
            (2, Reason.INGESTION_REASON_PARSER_CRASHED),
        ]

    def test_one_that_failed_comes_back_when_its_job_does(self, shelf: Shelf, attempts: Attempts) -> None:
        document = shelf.create()
        with pytest.raises(RetryableError, match="DEPENDENCY_UNAVAILABLE: ") as raised:
            attempts.run(document.ingestion, 1, DependencyUnavailable("blob store"))
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
    def test_whatever_ends_one_is_told(self, shelf: Shelf, attempts: Attempts, error: Exception, reason: int) -> None:
        document = shelf.create()
        with pytest.raises(RetryableError):
            attempts.run(document.ingestion, 1, error)
        assert [one.reason for one in get(shelf, document.ingestion).attempts] == [reason]

    def test_one_has_all_of_its_time_from_the_moment_that_it_is_its_turn(
        self, shelf: Shelf, services: DocumentsServices, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        had_its_turn, left = list[float](), list[float]()

        class WatchedSlot(Slot):
            def take(self, check: Callable[[], None]) -> None:
                super().take(check)
                had_its_turn.append(time.monotonic())

        class WatchingPipeline(FailingPipeline):
            def slot(self, workspace_id: UUID) -> Slot:
                return WatchedSlot(Slots(1), workspace_id)

            def run(self, tenure: Tenure, slot: Slot) -> None:
                left.append(seconds_left(math.inf) + time.monotonic())

        pipeline: Any = WatchingPipeline(ZeroDivisionError())
        one = Ingester(services.units, runtime.clock, pipeline, BACKOFF)
        with acting(Caller(service="documents", workspace_id=shelf.workspace_id)):
            one.ingest(attempt_at(shelf.create().ingestion, 1))
        assert left[0] - had_its_turn[0] >= 3600
        # The job lasts for as long as that may take.
        assert one.handler(at_once=1, per_workspace=1).timeout > timedelta(hours=2)

    def test_one_whose_time_is_over_says_so_whatever_it_was_at(
        self, shelf: Shelf, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingester, "_TIMEOUT", timedelta(0))
        monkeypatch.setattr(ingester, "begin", without_deadline(tenure.begin))
        document = shelf.create()
        with pytest.raises(RetryableError):
            attempts.run(document.ingestion, 1, CallDeadlineExceeded())
        assert [one.reason for one in get(shelf, document.ingestion).attempts] == [Reason.INGESTION_REASON_TIMEOUT]

    def test_one_that_cannot_help_ends_the_job(self, shelf: Shelf, attempts: Attempts) -> None:
        document = shelf.create()
        attempts.run(document.ingestion, 1, ParseFailed(ParserReason.ENCRYPTED, "It opens with a password only."))
        found = get(shelf, document.ingestion)
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_ENCRYPTED)
        assert found.message == "It opens with a password only."

    def test_one_whose_database_is_away_as_it_ends_says_so_later(
        self, shelf: Shelf, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
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
            attempts.run(document.ingestion, 1, ParseFailed(ParserReason.TIMEOUT, "It took too long."))
        assert away == []
        assert [one.reason for one in get(shelf, document.ingestion).attempts] == [Reason.INGESTION_REASON_TIMEOUT]

    def test_one_whose_last_answer_was_lost_has_its_job_come_back(
        self, shelf: Shelf, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        advance = Tenure.advance

        def advance_unheard(held: Tenure, change: tenure.Change) -> Ingestion:
            advance(held, change)
            raise DependencyUnavailable("database")

        monkeypatch.setattr(Tenure, "advance", advance_unheard)
        monkeypatch.setattr(ingester, "_PAUSE_SECONDS", 0.0)
        with pytest.raises(DependencyUnavailable):
            attempts.run(shelf.create().ingestion, 1, ParseFailed(ParserReason.TIMEOUT, "It took too long."))

    @pytest.mark.parametrize("error", [LeaseLost(), JobCancelled()], ids=lambda value: type(value).__name__)
    def test_one_that_is_given_back_does_not_count(self, shelf: Shelf, attempts: Attempts, error: Exception) -> None:
        document = shelf.create()
        with pytest.raises(type(error)):
            attempts.run(document.ingestion, 1, error)
        found = get(shelf, document.ingestion)
        assert (found.state, list(found.attempts)) == (State.INGESTION_STATE_RECEIVED, [])
        assert attempts.begin(document.ingestion, 2) is not None

    def test_one_whose_workers_always_end_is_dead(self, shelf: Shelf, attempts: Attempts) -> None:
        document = shelf.create()
        for fence in range(MOST_TRIES):
            assert attempts.begin(document.ingestion, fence) is not None
        assert attempts.begin(document.ingestion, MOST_TRIES) is None
        found = get(shelf, document.ingestion)
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_INTERNAL)
        assert found.message == "The worker ended before the attempt did."
        assert shelf.get(document).ingestion_state == State.INGESTION_STATE_DEAD

    def test_one_that_lost_its_job_is_brought_to_the_workers_again(
        self, shelf: Shelf, attempts: Attempts, services: DocumentsServices
    ) -> None:
        kept, lost, tried = (shelf.create().ingestion for _ in range(3))
        for fence in range(MOST_TRIES):
            attempts.begin(tried, fence)
        let_time_pass(shelf)
        lose_jobs(shelf, lost, tried)
        services.ingestions.revive()
        assert jobs(shelf, kept) == jobs(shelf, lost) == [(b"0", 0)]
        assert get(shelf, tried).state == State.INGESTION_STATE_DEAD
        services.ingestions.revive()
        assert jobs(shelf, lost) == [(b"0", 0)]


def without_deadline(function: Callable[..., Tenure | None]) -> Callable[..., Tenure | None]:
    """The same function, however late it is."""

    def called(*args: Any) -> Tenure | None:
        token = set_deadline(None)
        try:
            return function(*args)
        finally:
            reset_deadline(token)

    return called


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
