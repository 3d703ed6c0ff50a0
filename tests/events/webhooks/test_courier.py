"""Deliveries: from the event to the receiver, and back into the log of deliveries."""

import socket
from datetime import timedelta
from itertools import pairwise

import pytest
from standardwebhooks import Webhook

from services.events.model.attempts import Failure
from services.events.model.deliveries import DeliveryState, DeliveryTrigger
from services.events.model.schedule import DELAYS, MAX_ATTEMPTS
from services.events.model.signing import signature
from services.events.webhooks import jobs
from services.kernel.cloudevents import decode_json, event_of
from tests.events.webhooks.desk import Desk
from tests.events.webhooks.receivers import Receiver, answering, dripping, flooding

HOUR = timedelta(hours=1)


def dues(desk: Desk) -> list[timedelta]:
    """In how long each delivery is due."""
    return [row["run_time"] - desk.clock.now() for row in desk.jobs(jobs.DELIVER)]


class TestDelivered:
    def test_an_event_arrives_once_signed_as_cloudevents_json(self, desk: Desk, there: Receiver) -> None:
        endpoint, event = desk.endpoint(there.url()), desk.event()
        desk.happen(event)
        desk.work()
        (request,) = there.received
        assert event_of(decode_json(request.body)) == event
        assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert request.headers["webhook-id"] == str(event.id)
        assert request.headers["webhook-timestamp"] == str(int(desk.clock.now().timestamp()))
        (key,) = desk.keys(endpoint)
        signed = Webhook(key).sign(str(event.id), desk.clock.now(), request.body.decode())
        assert request.headers["webhook-signature"] == signed
        (delivery,) = desk.deliveries(endpoint)
        assert (delivery.state, delivery.attempt_count) == (DeliveryState.DELIVERED, 1)
        assert desk.now(endpoint).last_success_time == desk.clock.now()
        assert desk.jobs() == []

    def test_while_secrets_rotate_each_of_them_signs(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url(), signed="ed25519")
        now = desk.clock.now()
        desk.within(
            lambda uow: uow.repo.secrets.retire(endpoint.workspace_id, endpoint.endpoint_id, now + HOUR),
        )
        desk.within(lambda uow: uow.repo.secrets.add(desk.secrets.make(endpoint, now).secret))
        keys = desk.keys(endpoint)
        assert len(keys) == 2
        for expected in (keys, keys[:1]):
            desk.happen()
            desk.work()
            request = there.received[-1]
            assert request.headers["webhook-signature"].split(" ") == [
                signature(key, request.headers["webhook-id"], desk.clock.now(), request.body) for key in expected
            ]
            desk.clock.advance(HOUR)

    def test_the_attempt_is_in_the_log_without_its_signature(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("202 Accepted", "X-Answer: yes", body=b"thanks")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert desk.within(
            lambda uow: uow.repo.deliveries.last_attempts(desk.workspace_id, endpoint.endpoint_id, [delivery])
        ) == [attempt]
        exchange = attempt.exchange
        assert (attempt.number, attempt.delivery_id) == (1, delivery.delivery_id)
        assert (exchange.status, exchange.failure, exchange.response_body) == (202, None, b"thanks")
        assert exchange.response_headers["x-answer"] == "yes"
        assert exchange.address == "127.0.0.1"
        assert "webhook-id" in exchange.request_headers
        assert "webhook-signature" not in exchange.request_headers

    def test_a_job_that_is_done_again_after_a_crash_sends_nothing(self, desk: Desk, there: Receiver) -> None:
        desk.endpoint(there.url())
        desk.happen()
        (row,) = desk.jobs()
        desk.attempt(row)
        desk.attempt(row)
        assert len(there.received) == 1

    def test_a_crash_before_the_answer_was_noted_sends_it_again_under_the_same_id(
        self, desk: Desk, there: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.endpoint(there.url())
        desk.happen()
        with monkeypatch.context() as broken:
            broken.setattr("services.events.webhooks.courier.Courier._record", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                desk.work()
        desk.work()
        first, second = (request.headers["webhook-id"] for request in there.received)
        assert first == second


class TestRetried:
    def test_after_svixs_schedule_and_then_given_up(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("500 Oops", body=b"sorry")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        for delay in DELAYS:
            desk.work()
            (due,) = dues(desk)
            assert delay <= due <= delay * 1.2
            (delivery,) = desk.deliveries(endpoint)
            assert delivery.state is DeliveryState.PENDING
            assert delivery.next_attempt_time == desk.clock.now() + due
            desk.clock.advance(due)
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        assert (delivery.state, delivery.attempt_count) == (DeliveryState.FAILED, MAX_ATTEMPTS)
        attempts = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert [attempt.number for attempt in attempts] == list(range(1, MAX_ATTEMPTS + 1))
        assert {attempt.exchange.response_body for attempt in attempts} == {b"sorry"}
        (dead,) = desk.jobs(dead=True)
        assert dead["last_error"] == "The answer was 500."
        assert len({request.headers["webhook-id"] for request in there.received}) == 1
        times = [int(request.headers["webhook-timestamp"]) for request in there.received]
        assert all(first < second for first, second in pairwise(times))

    def test_later_where_the_receiver_asks_for_it_and_so_are_all_others(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("429 Slow", "Retry-After: 600")
        desk.endpoint(there.url())
        desk.happen(desk.event())
        desk.work()
        (due,) = dues(desk)
        assert timedelta(seconds=600) <= due <= timedelta(seconds=720)
        desk.happen(desk.event())
        desk.work()
        assert len(there.received) == 1
        assert all(timedelta(seconds=595) <= due for due in dues(desk))
        there.manner = answering("200 OK")
        desk.work_for(HOUR)
        assert len(there.received) == 3

    def test_no_later_than_in_a_day_however_long_the_receiver_asks_for(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("429 Slow", "Retry-After: 99999999999999999999")
        desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (due,) = dues(desk)
        assert timedelta(hours=24) <= due <= timedelta(hours=24) * 1.2

    @pytest.mark.parametrize(
        ("manner", "failure"),
        [
            (answering("302 Found", "location: http://169.254.169.254/"), Failure.REDIRECT),
            (answering("404 No"), Failure.STATUS),
        ],
    )
    def test_whatever_went_wrong(self, desk: Desk, there: Receiver, manner: object, failure: Failure) -> None:
        there.manner = manner  # type: ignore[assignment]  # the parameter is one
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert attempt.exchange.failure is failure
        assert len(dues(desk)) == 1

    def test_an_address_inside_gets_no_packet_and_its_refusal_is_noted(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url("127.0.0.2"))
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert attempt.exchange.failure is Failure.ADDRESS_REFUSED
        assert attempt.exchange.address == ""
        assert delivery.last_error == "The URL leads to an address that is not public."

    def test_a_gigabyte_of_an_answer_is_a_delivery_that_keeps_its_first_bytes(
        self, desk: Desk, there: Receiver
    ) -> None:
        there.manner = flooding(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", b"a" * 65536, 2**30)
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        assert delivery.state is DeliveryState.DELIVERED
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert attempt.exchange.response_body == b"a" * 4096

    def test_who_drips_is_tried_again(self, desk: Desk, there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        there.manner = dripping(b"HTTP/1.1 200 OK\r\n")
        endpoint = desk.endpoint(there.url())
        courier = desk.webhooks.job_handlers[0].run.__self__  # type: ignore[attr-defined]  # a bound method
        monkeypatch.setattr(courier._sender, "_timeout", timedelta(milliseconds=300))
        desk.happen()
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        (attempt,) = desk.within(lambda uow: uow.repo.deliveries.attempts(delivery))
        assert attempt.exchange.failure is Failure.TIMEOUT
        assert len(dues(desk)) == 1


class TestRate:
    def test_no_endpoint_is_called_faster_than_it_takes(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url(), per_second=2)
        desk.happen(*(desk.event() for _ in range(8)))
        sent = []
        for _ in range(8):
            desk.work()
            sent.append(len(there.received))
            desk.clock.advance(timedelta(milliseconds=500))
        assert sent == [2, 3, 4, 5, 6, 7, 8, 8]
        assert len(desk.deliveries(endpoint, DeliveryState.DELIVERED)) == 8

    def test_who_waits_for_a_slot_waits_once(self, desk: Desk, there: Receiver) -> None:
        desk.endpoint(there.url(), per_second=1)
        desk.happen(*(desk.event() for _ in range(5)))
        assert desk.work() == 5
        desk.clock.advance(timedelta(seconds=5))
        assert desk.work() == 4
        assert len(there.received) == 5


class TestCancelled:
    def test_a_delivery_whose_job_is_cancelled_is_not_sent_and_says_why(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen(desk.event(), desk.event())
        first = desk.jobs()[0]
        desk.cancel(first)
        desk.work()
        cancelled, sent = desk.deliveries(endpoint)
        assert first["subject"] == cancelled.name
        assert (cancelled.state, cancelled.last_error) == (DeliveryState.CANCELLED, "Its job was cancelled.")
        assert cancelled.end_time == desk.clock.now()
        assert sent.state is DeliveryState.DELIVERED
        assert len(there.received) == 1

    @pytest.mark.parametrize(
        ("answer", "state", "why"),
        [
            ("500 Oops", DeliveryState.CANCELLED, "Its job was cancelled."),
            ("200 OK", DeliveryState.DELIVERED, ""),
        ],
    )
    def test_while_it_is_under_way_it_is_tried_no_more_but_may_have_arrived(
        self, desk: Desk, there: Receiver, answer: str, state: DeliveryState, why: str
    ) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        (row,) = desk.jobs()

        def cancel(connection: socket.socket, receiver: Receiver) -> None:
            desk.cancel(row)
            answering(answer)(connection, receiver)

        there.manner = cancel
        desk.attempt(row)
        (delivery,) = desk.deliveries(endpoint)
        assert (delivery.state, delivery.last_error, delivery.attempt_count) == (state, why, 1)
        kept = desk.owner.execute("select state from jobs.jobs where id = %s", [row["id"]]).fetchall()
        assert kept == ([("cancelled",)] if state is DeliveryState.CANCELLED else [])
        desk.work_for(HOUR)
        assert len(there.received) == 1

    def test_the_job_of_a_former_round_takes_nothing_with_it(self, desk: Desk, there: Receiver) -> None:
        endpoint = desk.endpoint(there.url())
        desk.happen()
        (old,) = desk.jobs()
        (delivery,) = desk.deliveries(endpoint)
        desk.within(lambda uow: desk.webhooks.deliveries.retry(uow, endpoint, delivery))
        desk.cancel(old)
        desk.work()
        (delivery,) = desk.deliveries(endpoint)
        assert delivery.state is DeliveryState.DELIVERED


class TestGivenUp:
    def test_a_job_that_is_requeued_begins_a_new_row_of_attempts(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("500 Oops")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        desk.work_for(timedelta(hours=48))
        (dead,) = desk.jobs(dead=True)
        there.manner = answering("200 OK")
        desk.owner.execute("update jobs.jobs set state = 'arrived', attempt = 0 where id = %s", [dead["id"]])
        desk.work_for(2 * HOUR)
        (event,) = (delivery for delivery in desk.deliveries(endpoint) if delivery.trigger is DeliveryTrigger.EVENT)
        assert (event.state, event.attempt_count) == (DeliveryState.DELIVERED, MAX_ATTEMPTS + 1)
        assert desk.jobs() == []

    def test_a_crash_after_the_last_attempt_sends_nothing_more(self, desk: Desk, there: Receiver) -> None:
        there.manner = answering("500 Oops")
        endpoint = desk.endpoint(there.url())
        desk.happen()
        for delay in DELAYS:
            desk.work()
            desk.clock.advance(delay * 1.2)
        (row,) = desk.jobs(jobs.DELIVER)
        desk.attempt(row)
        desk.attempt(row | {"attempt": row["attempt"] + 1})
        assert len(there.received) == MAX_ATTEMPTS
        (delivery,) = desk.deliveries(endpoint)
        assert delivery.state is DeliveryState.FAILED
