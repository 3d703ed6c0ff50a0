"""What happens to endpoints that fail: probed, disabled after five days, told of, and enabled again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from services.events.model.deliveries import DeliveryState, DeliveryTrigger
from services.events.model.health import DISABLED_AFTER, DisableReason, HealthState
from services.events.webhooks import jobs
from services.kernel.db import Scope
from services.kernel.mail import Mailbox
from tests.events.webhooks.conftest import Directory
from tests.events.webhooks.desk import Desk
from tests.events.webhooks.receivers import Receiver, answering
from tests.support.waiting import until

DAY = timedelta(days=1)


def told(desk: Desk) -> list[str]:
    """The types of the events that came of it, in order."""
    rows = desk.owner.execute(
        "select action from kernel.audit where workspace_id = %s order by id", [desk.workspace_id]
    ).fetchall()
    return [row[0] for row in rows]


def mails(desk: Desk, mailbox: Mailbox) -> list[str]:
    """What was written about the endpoints of this workspace."""
    with desk.units._resources.database.transaction(Scope("plinth_kernel")) as session:
        stored = mailbox.latest(session, 100, "owner@example.com")
    texts = [mailbox.text(mail) for mail in stored if mail.kind == "webhook_disabled"]
    return [text for text in texts if str(desk.workspace_id) in text]


class TestGone:
    def test_410_disables_at_once(self, desk: Desk, there: Receiver, mailbox: Mailbox) -> None:
        there.manner = answering("410 Gone")
        endpoint = desk.endpoint(there.url())
        desk.happen(*(desk.event() for _ in range(3)))
        desk.work()
        health = desk.now(endpoint).health
        assert (health.state, health.disable_reason) == (HealthState.DISABLED, DisableReason.GONE)
        assert len(there.received) == 1
        states = [delivery.state for delivery in desk.deliveries(endpoint)]
        assert sorted(states) == [DeliveryState.CANCELLED, DeliveryState.CANCELLED, DeliveryState.FAILED]
        assert told(desk) == ["plinth.events.webhook_endpoint.disabled.v1"]
        (letter,) = mails(desk, mailbox)
        assert "410 Gone" in letter
        assert endpoint.url in letter
        assert desk.jobs() == []

    def test_nothing_more_is_made_for_it(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("410 Gone")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        desk.happen()
        desk.work_for(10 * DAY)
        assert len(there.received) == len(desk.deliveries(endpoint)) == 1


class TestProbing:
    @pytest.fixture
    def down(self, desk: Desk, there: Receiver) -> Receiver:
        """A receiver that fails, with 30 events on the way to its endpoint, of which 20 are not sent."""
        there.manner = answering("503 Down")
        desk.endpoint(there.url())
        desk.happen(*(desk.event() for _ in range(30)))
        desk.work()
        return there

    def test_after_ten_failures_the_rest_waits_without_a_try(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        assert endpoint.health.state is HealthState.PROBING
        assert len(down.received) == 10
        waiting = desk.deliveries(endpoint, DeliveryState.WAITING)
        assert len(waiting) == 21
        assert [delivery.attempt_count for delivery in waiting].count(0) == 20

    def test_one_at_a_time_is_a_probe_ever_less_often(self, desk: Desk, down: Receiver) -> None:
        desk.work_for(timedelta(minutes=4))
        assert 4 <= len(down.received) - 10 <= 7
        # The one that has waited longest; the nine that failed before wait too, from their second turn on.
        assert len({request.headers["webhook-id"] for request in down.received[10:]}) <= 2
        assert len(desk.jobs(jobs.PROBE)) == 1

    def test_a_success_of_a_probe_sends_all_that_waited(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.work_for(2 * DAY)
        down.manner = answering("200 OK")
        desk.work_for(timedelta(hours=2))
        assert desk.now(endpoint).health.state is HealthState.ACTIVE
        assert len(desk.deliveries(endpoint, DeliveryState.DELIVERED)) == 30
        assert desk.jobs() == []
        assert told(desk) == []

    def test_goes_on_although_somebody_cancelled_its_job(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.owner.execute("delete from jobs.jobs where id = %s", [desk.jobs(jobs.PROBE)[0]["id"]])
        desk.happen(desk.event(), desk.event())
        desk.work()
        assert len(desk.jobs(jobs.PROBE)) == 1
        down.manner = answering("200 OK")
        desk.work_for(timedelta(hours=1))
        assert len(desk.deliveries(endpoint, DeliveryState.DELIVERED)) == 32

    def test_with_its_job_all_that_waited_for_it_is_cancelled(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.cancel(desk.jobs(jobs.PROBE)[0])
        assert desk.deliveries(endpoint, DeliveryState.WAITING) == []
        assert {delivery.last_error for delivery in desk.deliveries(endpoint, DeliveryState.CANCELLED)} == {
            "Its job was cancelled."
        }

    def test_who_cancels_its_job_and_who_sees_to_it_that_there_is_one_wait_in_one_order(
        self, desk: Desk, down: Receiver
    ) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        (row,) = desk.jobs(jobs.PROBE)
        waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        with ThreadPoolExecutor(1) as pool, desk.units(desk.workspace_id) as uow:
            uow.repo.endpoints.lock(desk.workspace_id, endpoint.endpoint_id)
            cancelling = pool.submit(desk.cancel, row)
            until(lambda: desk.owner.execute(waiting).fetchall(), "somebody who waits for the endpoint")
            assert endpoint.health.failing_since is not None
            uow.enqueue(jobs.probe(endpoint, endpoint.health.failing_since))
            uow.commit()
        cancelling.result(10)
        assert desk.jobs(jobs.PROBE) == []

    def test_the_job_of_a_former_row_of_failures_takes_nothing_with_it(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        (former,) = desk.jobs(jobs.PROBE)
        desk.clock.advance(timedelta(seconds=1))
        desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        desk.work()
        waiting = len(desk.deliveries(endpoint, DeliveryState.WAITING))
        assert waiting > 0
        desk.cancel(former)
        assert len(desk.deliveries(endpoint, DeliveryState.WAITING)) == waiting

    def test_who_enables_it_by_hand_need_not_wait_for_the_probe(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.work_for(2 * DAY)
        down.manner = answering("200 OK")
        desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        desk.work()
        assert len(desk.deliveries(endpoint, DeliveryState.DELIVERED)) == 30
        # The probe of the row of failures that is over does nothing.
        before = len(down.received)
        desk.work_for(DAY)
        assert len(down.received) == before
        assert desk.jobs() == []

    def test_each_row_of_failures_has_one_who_probes(self, desk: Desk, down: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.work_for(timedelta(hours=6))
        desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        desk.work()
        assert desk.now(endpoint).health.state is HealthState.PROBING
        assert len(desk.jobs(jobs.PROBE)) == 2
        desk.work_for(timedelta(hours=2))
        assert len(desk.jobs(jobs.PROBE)) == 1

    def test_more_than_one_batch_that_waited_is_sent(
        self, desk: Desk, down: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.events.webhooks.deliveries._RELEASED_AT_ONCE", 4)
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        down.manner = answering("200 OK")
        desk.work_for(timedelta(minutes=10))
        assert len(desk.deliveries(endpoint, DeliveryState.DELIVERED)) == 30

    def test_who_cancels_the_sending_of_what_waited_cancels_that(
        self, desk: Desk, down: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.events.webhooks.deliveries._RELEASED_AT_ONCE", 4)
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        waiting = len(desk.deliveries(endpoint, DeliveryState.WAITING))
        desk.cancel(desk.jobs(jobs.RELEASE)[0])
        assert desk.deliveries(endpoint, DeliveryState.WAITING) == []
        assert len(desk.deliveries(endpoint, DeliveryState.CANCELLED)) == waiting > 0

    def test_a_delivery_that_was_given_up_has_its_endpoint_probed_with_a_test(
        self, desk: Desk, there: Receiver
    ) -> None:
        there.manner = answering("500 Oops")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work_for(timedelta(hours=40))
        assert desk.now(endpoint).health.state is HealthState.PROBING
        event, test = desk.deliveries(endpoint)
        assert (event.state, test.state) == (DeliveryState.FAILED, DeliveryState.WAITING)
        assert (test.trigger, test.event_type) == (DeliveryTrigger.TEST, "plinth.events.webhook_endpoint.tested.v1")
        there.manner = answering("200 OK")
        desk.work_for(timedelta(hours=2))
        assert desk.now(endpoint).health.state is HealthState.ACTIVE
        assert [delivery.state for delivery in desk.deliveries(endpoint)] == [
            DeliveryState.FAILED,
            DeliveryState.DELIVERED,
        ]


class TestDisabledAfterFiveDays:
    @pytest.fixture
    def dead(self, desk: Desk, there: Receiver) -> Receiver:
        """A receiver that has failed for six days, with one event on the way to its endpoint each day."""
        there.manner = answering("500 Oops")
        desk.endpoint(there.url())
        for _ in range(6):
            desk.happen()
            desk.work_for(DAY)
        return there

    def test_with_notice_by_event_and_mail(self, desk: Desk, dead: Receiver, mailbox: Mailbox) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        health = endpoint.health
        assert (health.state, health.disable_reason) == (HealthState.DISABLED, DisableReason.FAILING)
        assert health.disable_time is not None
        assert health.failing_since is not None
        assert DISABLED_AFTER <= health.disable_time - health.failing_since <= DISABLED_AFTER + timedelta(hours=2)
        assert told(desk) == ["plinth.events.webhook_endpoint.disabled.v1"]
        (letter,) = mails(desk, mailbox)
        assert "five days" in letter
        assert f"since {health.failing_since:%Y-%m-%d %H:%M} UTC" in letter
        assert all(not delivery.state.open or delivery.trigger == "test" for delivery in desk.deliveries(endpoint))
        assert len(dead.received) > 8

    def test_it_is_probed_and_enabled_by_its_first_answer(self, desk: Desk, dead: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        before = len(dead.received)
        desk.work_for(3 * DAY)
        assert 4 <= len(dead.received) - before <= 6
        dead.manner = answering("200 OK")
        desk.work_for(DAY)
        assert desk.now(endpoint).health.state is HealthState.ACTIVE
        assert told(desk)[-1] == "plinth.events.webhook_endpoint.enabled.v1"
        desk.happen()
        desk.work()
        assert desk.deliveries(endpoint)[-1].state is DeliveryState.DELIVERED

    def test_by_hand_it_is_left_alone(self, desk: Desk, dead: Receiver) -> None:
        (endpoint,) = desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id))
        desk.set_health(endpoint, endpoint.health.disabled_by_hand(desk.clock.now()))
        before = len(dead.received)
        desk.work_for(10 * DAY)
        assert len(dead.received) == before
        assert desk.jobs() == []


class TestNotice:
    @pytest.mark.parametrize("why", ["left", "unverified", "nobody", "enabled"])
    def test_is_sent_to_nobody_whom_it_does_not_concern(
        self, desk: Desk, there: Receiver, mailbox: Mailbox, directory: Directory, why: str
    ) -> None:
        there.manner = answering("410 Gone")
        endpoint = desk.endpoint(there.url())
        if why == "nobody":
            desk.owner.execute(
                "update events.webhook_endpoints set creator_id = null where workspace_id = %s", [desk.workspace_id]
            )
        directory.permissions = [] if why == "left" else directory.permissions
        directory.email_verified = why != "unverified"
        desk.happen()
        (row,) = desk.jobs()
        desk.attempt(row)
        if why == "enabled":
            desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        desk.work()
        assert mails(desk, mailbox) == []
        assert desk.jobs() == []
