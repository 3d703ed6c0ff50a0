"""Durable work, as the people of a workspace see and manage it."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from plinth.events.v1 import delivery_pb2, job_pb2
from plinth.events.v1 import job_service_pb2 as jobs
from plinth.events.v1 import webhook_service_pb2 as webhooks
from services.kernel.wire import timestamp
from tests.events.office import Office
from tests.support.errors import refused
from tests.support.people import Person

CODE = grpc.StatusCode


def requeue(office: Office, name: str) -> job_pb2.Job:
    return office.owner.stubs.jobs.RequeueJob(jobs.RequeueJobRequest(name=name)).job


def requeue_many(office: Office, *names: str, since: datetime | None = None) -> jobs.RequeueJobsResponse:
    request = jobs.RequeueJobsRequest(parent=office.workspace, names=names, since=timestamp(since))
    return office.owner.stubs.jobs.RequeueJobs(request)


def cancel(office: Office, name: str) -> job_pb2.Job:
    return office.owner.stubs.jobs.CancelJob(jobs.CancelJobRequest(name=name)).job


def discard(office: Office, name: str) -> job_pb2.Job:
    return office.owner.stubs.jobs.DiscardJob(jobs.DiscardJobRequest(name=name)).job


def dead(office: Office) -> list[str]:
    answer = office.owner.stubs.jobs.ListDeadJobs(jobs.ListDeadJobsRequest(parent=office.workspace))
    return [job.name for job in answer.jobs]


class TestListing:
    def test_a_job_tells_what_it_does_about_what(self, office: Office) -> None:
        endpoint = office.endpoint()
        tested = office.owner.stubs.webhooks.TestEndpoint(webhooks.TestEndpointRequest(name=endpoint.name))
        [job] = office.jobs()
        assert job.subject == tested.delivery.name
        assert job.queue == "webhooks"
        assert job.state == job_pb2.Job.STATE_QUEUED
        assert job.attempt_count == 0
        assert office.owner.stubs.jobs.GetJob(jobs.GetJobRequest(name=job.name)).job == job

    def test_state_queue_and_kind_restrict(self, office: Office) -> None:
        name, given_up = office.job(), office.dead_job()
        queued = office.jobs(state=job_pb2.Job.STATE_QUEUED)
        assert [job.name for job in queued] == [name]
        assert [job.name for job in office.jobs(state=job_pb2.Job.STATE_DEAD)] == [given_up]
        assert len(office.jobs(queue="webhooks", kind=queued[0].kind)) == 2
        assert office.jobs(queue="ingest") == []
        assert office.jobs(kind="events.nothing") == []

    def test_dead_letters_have_a_list_of_their_own(self, office: Office) -> None:
        office.job()
        first, second = office.dead_job(), office.dead_job()
        assert dead(office) == [second, first]

    def test_another_workspaces_jobs_are_not_there(self, office: Office, other_office: Office) -> None:
        theirs = other_office.job()
        assert office.jobs() == []
        hidden = theirs.replace(other_office.workspace, office.workspace)
        for act in (requeue, cancel, discard):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                act(office, hidden)


class TestRestricted:
    """A job of what not everybody may know of is there for owners alone."""

    @pytest.fixture
    def hidden(self, office: Office) -> str:
        """A dead one, older than a dead one for all."""
        name = office.dead_job()
        office.database.execute("update jobs.jobs set restricted = true where id = %s", [name.rpartition("/")[2]])
        return name

    @pytest.fixture
    def shown(self, office: Office, hidden: str) -> str:
        """The other one."""
        return office.dead_job()

    @pytest.fixture
    def admin(self, office: Office) -> Person:
        """Who may manage jobs."""
        return office.people.member(office.owner, office.workspace, "admin")

    def test_lists_of_others_are_full_without_it(self, office: Office, admin: Person, hidden: str, shown: str) -> None:
        office.database.execute("update jobs.jobs set restricted = true where id = %s", [shown.rpartition("/")[2]])
        latest = office.dead_job()
        for request, expected in (
            (jobs.ListJobsRequest(parent=office.workspace, page_size=1), [latest]),
            (jobs.ListJobsRequest(parent=office.workspace, state=job_pb2.Job.STATE_DEAD), [latest]),
        ):
            answer = admin.stubs.jobs.ListJobs(request)
            assert ([job.name for job in answer.jobs], answer.next_page_token) == (expected, "")
        letters = admin.stubs.jobs.ListDeadJobs(jobs.ListDeadJobsRequest(parent=office.workspace))
        assert [job.name for job in letters.jobs] == [latest]
        assert dead(office) == [latest, shown, hidden]

    def test_others_do_not_find_it(self, office: Office, admin: Person, hidden: str) -> None:
        stub = admin.stubs.jobs
        for call in (
            lambda: stub.GetJob(jobs.GetJobRequest(name=hidden)),
            lambda: stub.RequeueJob(jobs.RequeueJobRequest(name=hidden)),
            lambda: stub.DiscardJob(jobs.DiscardJobRequest(name=hidden)),
            lambda: stub.CancelJob(jobs.CancelJobRequest(name=hidden)),
        ):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                call()

    def test_many_are_put_back_without_it(self, office: Office, admin: Person, hidden: str, shown: str) -> None:
        since = timestamp(datetime.now(UTC) - timedelta(hours=1))
        by_name = jobs.RequeueJobsRequest(parent=office.workspace, names=[hidden])
        assert admin.stubs.jobs.RequeueJobs(by_name).requeued_count == 0
        assert admin.stubs.jobs.RequeueJobs(jobs.RequeueJobsRequest(parent=office.workspace, since=since)) == (
            jobs.RequeueJobsResponse(requeued_count=1)
        )
        assert dead(office) == [hidden]
        assert requeue_many(office, hidden).requeued_count == 1

    def test_what_an_owner_does_with_it_is_told_to_nobody(self, office: Office, hidden: str) -> None:
        requeue(office, hidden)
        cancel(office, hidden)
        office.set_job(hidden, "dead")
        discard(office, hidden)
        found = office.database.execute(
            "select action, restricted from kernel.audit where resource = %s order by id", [hidden]
        )
        done = [(action.rpartition(".job.")[2], restricted) for action, restricted in found]
        assert done == [("requeued.v1", True), ("cancelled.v1", True), ("discarded.v1", True)]


class TestRequeue:
    def test_a_dead_job_is_queued_with_all_its_attempts_before_it(self, office: Office) -> None:
        name = office.dead_job()
        job = requeue(office, name)
        assert (job.state, job.attempt_count, job.dead_reason) == (job_pb2.Job.STATE_QUEUED, 0, "")
        assert not job.HasField("end_time")
        assert dead(office) == []
        assert "job.requeued" in office.actions()

    def test_a_queued_job_stays_so_and_nobody_is_told(self, office: Office) -> None:
        assert requeue(office, office.job()).state == job_pb2.Job.STATE_QUEUED
        assert "job.requeued" not in office.actions()

    def test_a_cancelled_job_comes_back(self, office: Office) -> None:
        name = office.job()
        cancel(office, name)
        assert requeue(office, name).state == job_pb2.Job.STATE_QUEUED

    @pytest.mark.parametrize("state", ["running", "succeeded", "discarded"])
    def test_no_other_job_does(self, office: Office, state: str) -> None:
        name = office.job()
        office.set_job(name, state)
        with refused(CODE.FAILED_PRECONDITION, "JOB_STATE_CONFLICT") as refusal:
            requeue(office, name)
        assert refusal.metadata == {"job": name, "state": f"STATE_{state.upper()}"}

    def test_a_key_that_another_job_holds_keeps_it_dead(self, office: Office) -> None:
        first = office.dead_job()
        second = office.job()
        for name in (first, second):
            office.database.execute(
                "update jobs.jobs set unique_key = 'the only one' where id = %s", [name.rpartition("/")[2]]
            )
        with refused(CODE.ALREADY_EXISTS, "JOB_UNIQUE_KEY_TAKEN") as refusal:
            requeue(office, first)
        assert refusal.metadata == {"job": first}
        assert requeue_many(office, first).requeued_count == 0
        assert dead(office) == [first]


class TestRequeueMany:
    def test_by_name(self, office: Office) -> None:
        first, second = office.dead_job(), office.dead_job()
        answer = requeue_many(office, first)
        assert (answer.requeued_count, answer.more) == (1, False)
        assert dead(office) == [second]
        assert "jobs.requeued" in office.actions()

    def test_since_a_moment(self, office: Office) -> None:
        long_ago, lately = office.dead_job(), office.dead_job()
        office.database.execute(
            "update jobs.jobs set end_time = now() - interval '1 day' where id = %s", [long_ago.rpartition("/")[2]]
        )
        since = datetime.now(UTC) - timedelta(hours=1)
        assert requeue_many(office, since=since).requeued_count == 1
        assert dead(office) == [long_ago]
        assert requeue_many(office, long_ago, lately, since=since).requeued_count == 0

    def test_without_either_nothing_is_meant(self, office: Office) -> None:
        office.dead_job()
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            requeue_many(office)
        assert refusal.fields == ["names"]

    def test_another_workspaces_job_is_not_found(self, office: Office, other_office: Office) -> None:
        theirs = other_office.dead_job()
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            requeue_many(office, theirs)
        assert requeue_many(office, theirs.replace(other_office.workspace, office.workspace)).requeued_count == 0
        assert dead(other_office) == [theirs]


class TestCancel:
    def test_a_queued_job_ends_at_once(self, office: Office) -> None:
        name = office.job()
        job = cancel(office, name)
        assert job.state == job_pb2.Job.STATE_CANCELLED
        assert job.HasField("end_time")
        assert "job.cancelled" in office.actions()

    def test_a_running_one_is_asked_to_stop(self, office: Office) -> None:
        name = office.job()
        office.set_job(name, "running")
        job = cancel(office, name)
        assert (job.state, job.cancel_requested) == (job_pb2.Job.STATE_RUNNING, True)
        assert cancel(office, name) == job

    def test_a_cancelled_one_stays_so(self, office: Office) -> None:
        name = office.job()
        assert cancel(office, name) == cancel(office, name)

    def test_one_that_has_ended_cannot_be_cancelled(self, office: Office) -> None:
        name = office.dead_job()
        with refused(CODE.FAILED_PRECONDITION, "JOB_STATE_CONFLICT"):
            cancel(office, name)


class TestOfADelivery:
    def test_what_is_cancelled_with_its_job_comes_back_with_it(self, office: Office) -> None:
        name = office.job()
        delivery = office.jobs()[0].subject
        cancel(office, name)
        cancelled = office.delivery(delivery)
        assert (cancelled.state, cancelled.last_error) == (
            delivery_pb2.Delivery.STATE_CANCELLED,
            "Its job was cancelled.",
        )
        assert cancelled.HasField("complete_time")
        assert not cancelled.HasField("next_attempt_time")
        requeue(office, name)
        pending = office.delivery(delivery)
        assert (pending.state, pending.last_error) == (delivery_pb2.Delivery.STATE_PENDING, "")
        assert not pending.HasField("complete_time")

    def test_one_that_runs_is_cancelled_at_once(self, office: Office) -> None:
        name = office.job()
        delivery = office.jobs()[0].subject
        office.set_job(name, "running")
        cancel(office, name)
        assert office.delivery(delivery).state == delivery_pb2.Delivery.STATE_CANCELLED

    def test_without_its_body_it_cannot_come_back(self, office: Office) -> None:
        name = office.job()
        delivery = office.jobs()[0].subject
        cancel(office, name)
        office.database.execute(
            "update events.webhook_deliveries set payload = null where delivery_id = %s", [delivery.rpartition("/")[2]]
        )
        with refused(CODE.FAILED_PRECONDITION, "DELIVERY_PAYLOAD_EXPIRED") as refusal:
            requeue(office, name)
        assert refusal.metadata == {"delivery": delivery}
        assert office.jobs()[0].state == job_pb2.Job.STATE_CANCELLED

    def test_one_that_was_sent_anew_meanwhile_stays_as_it_is(self, office: Office) -> None:
        name = office.job()
        delivery = office.jobs()[0].subject
        cancel(office, name)
        stubs = office.owner.stubs.webhooks
        retried = stubs.RetryDelivery(webhooks.RetryDeliveryRequest(name=delivery)).delivery
        assert retried.state == delivery_pb2.Delivery.STATE_PENDING
        cancel(office, requeue(office, name).name)
        assert office.delivery(delivery).state == delivery_pb2.Delivery.STATE_PENDING
        assert "delivery.retried" in office.actions()


class TestDiscard:
    def test_a_dead_job_leaves_the_list(self, office: Office) -> None:
        name = office.dead_job()
        assert discard(office, name).state == job_pb2.Job.STATE_DISCARDED
        assert dead(office) == []
        assert "job.discarded" in office.actions()
        assert discard(office, name).state == job_pb2.Job.STATE_DISCARDED

    def test_one_that_waits_cannot_be_discarded(self, office: Office) -> None:
        name = office.job()
        with refused(CODE.FAILED_PRECONDITION, "JOB_STATE_CONFLICT"):
            discard(office, name)
