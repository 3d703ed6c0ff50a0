"""Which deliveries are made, and which are opened again."""

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from plinth.events.v1 import events_pb2
from plinth.tenancy.v1 import events_pb2 as tenancy_events_pb2
from services.events.errors import DeliveryPayloadExpired
from services.events.model.deliveries import Delivery, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import WebhookEndpoint
from services.events.service.housekeeping import Housekeeping
from services.kernel.cloudevents import decode_json, event_of
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.outbox import event_type
from services.kernel.secrets import Keyring
from tests.events.webhooks.desk import EVENT_TYPE, Desk
from tests.events.webhooks.receivers import Receiver, answering
from tests.support.acting import at_once


def redelivered(desk: Desk, endpoint: WebhookEndpoint, *events: Event, missed_only: bool) -> int:
    """How many deliveries a replay of the events makes or opens again."""
    trigger = DeliveryTrigger.RECOVERY if missed_only else DeliveryTrigger.REPLAY
    made: int = desk.within(
        lambda uow: desk.webhooks.deliveries.redeliver(uow, endpoint, events, trigger=trigger, missed_only=missed_only)
    )
    return made


class TestFanOut:
    def test_to_every_endpoint_that_asked_for_it(self, desk: Desk, there: Receiver) -> None:
        asked = [desk.endpoint(there.url(), *types) for types in ([], [EVENT_TYPE], ["plinth.tenancy.*", "a.b"])]
        others = [desk.endpoint(there.url(), *types) for types in (["plinth.projects.*"], ["a.b"])]
        desk.happen()
        assert [len(desk.deliveries(endpoint)) for endpoint in (*asked, *others)] == [1, 1, 1, 0, 0]
        desk.work()
        assert len(there.received) == 3

    def test_to_nobody_in_another_workspace(self, desk: Desk, there: Receiver) -> None:
        mine = desk.endpoint(there.url())
        other = Desk(desk.units, desk.clock, desk.secrets, desk.webhooks, desk.owner)
        theirs = other.endpoint(there.url())
        desk.happen()
        assert len(desk.deliveries(mine)) == 1
        assert other.deliveries(theirs) == []

    def test_an_event_that_comes_twice_is_delivered_once(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        desk.happen(event, event)
        desk.work()
        desk.happen(event)
        desk.work()
        assert len(there.received) == len(desk.deliveries(endpoint)) == 1

    def test_also_when_it_comes_at_once_on_many_threads(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        at_once(6, lambda: desk.happen(event))
        assert len(desk.deliveries(endpoint)) == 1
        assert len(desk.jobs()) == 1

    def test_what_happened_before_an_endpoint_was_there_is_not_for_it(self, desk: Desk, there: Receiver) -> None:
        event = desk.event()
        desk.clock.advance(timedelta(seconds=1))
        endpoint = desk.endpoint(there.url())
        desk.happen(event)
        assert desk.deliveries(endpoint) == []

    def test_nothing_is_made_for_a_disabled_one(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.set_health(endpoint, endpoint.health.disabled_by_hand(desk.clock.now()))
        desk.happen()
        assert desk.deliveries(endpoint) == []

    def test_a_test_of_one_endpoint_is_no_news_to_the_others(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        tested = event_type(events_pb2.WebhookEndpointTested.DESCRIPTOR)
        desk.happen(replace(desk.event(), type=tested))
        assert desk.deliveries(endpoint) == []

    def test_what_belongs_to_no_workspace_goes_nowhere(self, desk: Desk) -> None:
        with desk.units.system() as uow:
            desk.webhooks.subscription.handle(uow, replace(desk.event(), workspace_id=None))

    def test_with_its_workspace_goes_an_endpoint_and_all_that_waits_for_it(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        purged = event_type(tenancy_events_pb2.WorkspacePurged.DESCRIPTOR)
        desk.happen()
        desk.happen(replace(desk.event(), type=purged), desk.event())
        assert desk.within(lambda uow: uow.repo.endpoints.list_all(desk.workspace_id)) == []
        assert desk.deliveries(endpoint) == []
        desk.work()
        assert there.received == []

    def test_a_commit_that_fails_leaves_neither_delivery_nor_job(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        with desk.units(desk.workspace_id) as uow:
            desk.webhooks.subscription.handle(uow, desk.event())
        assert desk.deliveries(endpoint) == []
        assert desk.jobs() == []


class TestRedeliver:
    def test_a_replay_sends_again_what_arrived_under_the_same_id(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        desk.happen(event)
        desk.work()
        assert redelivered(desk, endpoint, event, missed_only=False) == 1
        desk.work()
        assert [request.headers["webhook-id"] for request in there.received] == [str(event.id)] * 2
        (delivery,) = desk.deliveries(endpoint)
        assert (delivery.trigger, delivery.round, delivery.attempt_count) == (DeliveryTrigger.REPLAY, 2, 2)

    def test_a_recovery_sends_what_failed_and_what_was_missed_and_nothing_else(
        self, desk: Desk, there: Receiver
    ) -> None:
        endpoint = desk.endpoint(there.url())
        arrived, failed, missed, under_way = (desk.event() for _ in range(4))
        desk.happen(arrived)
        desk.work()
        there.manner = answering("410 Gone")
        desk.happen(failed)
        desk.work()
        enabled = desk.set_health(endpoint, desk.now(endpoint).health.enabled())
        there.manner = answering("200 OK")
        desk.happen(under_way)
        assert redelivered(desk, enabled, arrived, failed, missed, under_way, missed_only=True) == 2
        desk.work()
        ids = [request.headers["webhook-id"] for request in there.received]
        assert sorted(ids) == sorted(str(event.id) for event in (arrived, failed, failed, missed, under_way))
        assert all(delivery.state is DeliveryState.DELIVERED for delivery in desk.deliveries(endpoint))

    def test_what_is_on_its_way_is_not_sent_twice(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        desk.happen(event)
        assert redelivered(desk, endpoint, event, missed_only=False) == 0
        desk.work()
        assert len(there.received) == 1

    def test_a_job_of_a_former_round_does_nothing(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        desk.happen(event)
        (old,) = desk.jobs()
        desk.work()
        assert redelivered(desk, endpoint, event, missed_only=False) == 1
        desk.attempt(old)
        assert len(there.received) == 1
        desk.work()
        assert len(there.received) == 2

    def test_a_whole_row_of_attempts_lies_before_it(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        there.manner = answering("500 Oops")
        desk.happen(event)
        desk.work_for(timedelta(minutes=10))
        (before,) = desk.deliveries(endpoint)
        assert before.attempt_count == before.round_attempts == 3
        retried = desk.within(lambda uow: desk.webhooks.deliveries.retry(uow, endpoint, before))
        desk.work()
        (after,) = desk.deliveries(endpoint)
        assert (after.attempt_count, after.round_attempts, after.round) == (4, 1, retried.round)
        assert after.next_attempt_time is not None
        assert after.next_attempt_time - desk.clock.now() <= timedelta(seconds=6)


class TestRetry:
    def test_whatever_became_of_it(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        desk.within(lambda uow: desk.webhooks.deliveries.retry(uow, endpoint, delivery))
        desk.work()
        assert len(there.received) == 2
        assert there.received[0].body == there.received[1].body

    def test_but_not_without_its_body(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        desk.owner.execute(
            "update events.webhook_deliveries set payload = null where delivery_id = %s", [delivery.delivery_id]
        )
        with pytest.raises(DeliveryPayloadExpired):
            desk.within(lambda uow: desk.webhooks.deliveries.retry(uow, endpoint, delivery))


class TestTest:
    def send_test(self, desk: Desk, endpoint: WebhookEndpoint) -> Delivery:
        delivery: Delivery = desk.within(lambda uow: desk.webhooks.deliveries.test(uow, endpoint))
        return delivery

    def test_goes_the_same_way_whatever_the_filter_and_the_pace(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url(), "a.b", per_second=1)
        for _ in range(3):
            self.send_test(desk, endpoint)
        desk.work()
        assert len(there.received) == 3
        event = event_of(decode_json(there.received[0].body))
        assert event.type == "plinth.events.webhook_endpoint.tested.v1"
        assert event.subject == endpoint.name
        assert event.message() == events_pb2.WebhookEndpointTested(
            webhook_endpoint=endpoint.name, delivery=desk.deliveries(endpoint)[0].name
        )

    def test_is_sent_before_what_waits(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        delivery = self.send_test(desk, endpoint)
        desk.work()
        assert there.received[0].headers["webhook-id"] == str(delivery.event_id)

    def test_is_tried_once(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("500 Oops")
        endpoint = desk.endpoint(there.url())
        self.send_test(desk, endpoint)
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        assert (delivery.state, delivery.last_error) == (DeliveryState.FAILED, "The answer was 500.")
        assert desk.jobs() == desk.jobs(dead=True) == []


class TestKept:
    @pytest.fixture
    def kept(self, desk: Desk, keyring: Keyring) -> Housekeeping:
        """Who ends what is kept."""
        return Housekeeping(desk.units, desk.clock, keyring)

    def test_payloads_and_answers_go_when_their_time_is_over(
        self, desk: Desk, there: Receiver, kept: Housekeeping
    ) -> None:
        there.manner = answering("200 OK", body=b"thanks")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        desk.clock.advance(timedelta(days=endpoint.payload_retention_days) - timedelta(seconds=1))
        desk.happen()
        kept.sweep()
        assert [self.payload(desk, delivery) is None for delivery in desk.deliveries(endpoint)] == [False, False]
        desk.clock.advance(timedelta(seconds=1))
        kept.sweep()
        old, new = desk.deliveries(endpoint)
        assert self.payload(desk, old) is None
        assert self.payload(desk, new) is not None
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(old))
        assert (attempt.exchange.response_body, attempt.exchange.status) == (b"", 200)

    def test_deliveries_that_ended_long_ago_go_with_their_attempts(
        self, desk: Desk, there: Receiver, kept: Housekeeping
    ) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (old,) = desk.deliveries(endpoint)
        desk.clock.advance(timedelta(days=90))
        desk.happen()
        kept.sweep()
        (new,) = desk.deliveries(endpoint)
        assert new.delivery_id != old.delivery_id
        assert desk.within(lambda uow: uow.repo.deliveries.attempts(old)) == []

    def payload(self, desk: Desk, delivery: Delivery) -> bytes | None:
        found = desk.within(
            lambda uow: uow.repo.deliveries.get(desk.workspace_id, delivery.endpoint_id, delivery.delivery_id)
        )
        payload: bytes | None = found.payload
        return payload


class TestListed:
    def test_newest_first_by_state_and_event_and_without_bodies(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        events = [desk.event() for _ in range(5)]
        desk.happen(*events[:3])
        desk.work()
        desk.happen(*events[3:])

        def listed(
            state: DeliveryState | None = None, event: Event | None = None, after: Delivery | None = None
        ) -> list[Delivery]:
            with desk.units(desk.workspace_id) as uow:
                return uow.repo.deliveries.list_newest(
                    desk.workspace_id,
                    endpoint.endpoint_id,
                    state,
                    event.id if event is not None else None,
                    after.delivery_id if after is not None else None,
                    2,
                )

        first = listed()
        second = listed(after=first[-1])
        assert [delivery.event_id for delivery in (*first, *second)] == [event.id for event in events[:0:-1]]
        assert all(delivery.payload is None for delivery in first)
        assert [delivery.event_id for delivery in listed(DeliveryState.PENDING)] == [events[4].id, events[3].id]
        assert [delivery.event_id for delivery in listed(event=events[0])] == [events[0].id]
        assert listed(DeliveryState.PENDING, events[0]) == []


class TestWalls:
    def test_a_delivery_cannot_point_into_another_workspace(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        other = Desk(desk.units, desk.clock, desk.secrets, desk.webhooks, desk.owner)
        stray = replace(endpoint, workspace_id=other.workspace_id, endpoint_id=endpoint.endpoint_id)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            other.within(lambda uow: desk.webhooks.deliveries.test(uow, stray))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.within(lambda uow: desk.webhooks.deliveries.test(uow, endpoint))

    def test_nobody_sees_the_deliveries_of_another_workspace(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        (delivery,) = desk.deliveries(endpoint)
        with desk.units(new_id()) as uow:
            found = uow.repo.deliveries.get(desk.workspace_id, endpoint.endpoint_id, delivery.delivery_id)
            listed = uow.repo.deliveries.list_newest(desk.workspace_id, endpoint.endpoint_id, None, None, None, 10)
        assert (found, listed) == (None, [])
