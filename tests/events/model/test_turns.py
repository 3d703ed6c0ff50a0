"""What becomes of a delivery and its endpoint: every way through, as hypothesis finds them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.events.model.attempts import Exchange, Failure
from services.events.model.deliveries import Delivery, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import MAX_CALLS, EndpointSettings, SignatureScheme, WebhookEndpoint
from services.events.model.health import Health
from services.events.model.turns import conclude, take_turn
from services.kernel.ids import new_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKSPACE = new_id()
chances = st.floats(0, 1, exclude_max=True)


def _failing(times: int, since: timedelta) -> Health:
    health = Health()
    for _ in range(times):
        health = health.after_failure(NOW - since, 0)
    return health


healths = st.one_of(
    st.just(Health()),
    st.builds(_failing, st.integers(1, 12), st.timedeltas(timedelta(0), timedelta(days=6))),
    st.just(Health().after_gone(NOW)),
    st.just(_failing(1, timedelta(days=6)).after_failure(NOW, 0)),
)
endpoints = st.builds(
    lambda health, per_second, wait: replace(
        EndpointSettings("https://example.com", "", (), SignatureScheme.HMAC_SHA256, per_second, 0).endpoint(
            WORKSPACE, new_id(), None, NOW
        ),
        health=health,
        next_send_time=None if wait is None else NOW + wait,
    ),
    healths,
    st.integers(1, 1000),
    st.none() | st.timedeltas(timedelta(hours=-1), timedelta(hours=1)),
)


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """A delivery in any state that the table lets it be in."""
    state = draw(st.sampled_from(DeliveryState))
    pending = state is DeliveryState.PENDING
    tried, before = draw(st.integers(0, 7)), draw(st.integers(0, 20))
    at = draw(st.none() | st.timedeltas(timedelta(minutes=-5), timedelta(minutes=5))) if pending else None
    due = NOW + draw(st.timedeltas(timedelta(minutes=-5), timedelta(minutes=5))) if pending else None
    return Delivery(
        workspace_id=WORKSPACE,
        endpoint_id=new_id(),
        delivery_id=new_id(),
        event_id=new_id(),
        event_type="a.b",
        trigger=draw(st.sampled_from(DeliveryTrigger)),
        state=state,
        attempt_count=before + tried,
        round=draw(st.integers(1, 5)),
        round_attempts=tried,
        next_attempt_time=due,
        reserved_time=NOW + at if at is not None else None,
        payload=b"{}",
        last_error="",
        create_time=NOW,
        end_time=None if state.open else NOW,
    )


def _pending() -> Delivery:
    return Delivery(
        workspace_id=WORKSPACE,
        endpoint_id=new_id(),
        delivery_id=new_id(),
        event_id=new_id(),
        event_type="a.b",
        trigger=DeliveryTrigger.EVENT,
        state=DeliveryState.PENDING,
        attempt_count=0,
        round=1,
        round_attempts=0,
        next_attempt_time=NOW,
        reserved_time=None,
        payload=b"{}",
        last_error="",
        create_time=NOW,
        end_time=None,
    )


exchanges = st.builds(
    lambda failure, retry_after: Exchange(
        NOW,
        timedelta(0),
        {},
        status={None: 200, Failure.GONE: 410, Failure.STATUS: 503}.get(failure),
        response_headers={"retry-after": retry_after} if retry_after else {},
        failure=failure,
        error="" if failure is None else failure.value,
    ),
    st.none() | st.sampled_from(Failure),
    st.sampled_from(["", "0", "60", "999999", "soon"]),
)


def fits(delivery: Delivery) -> bool:
    """What the table demands, and what a reader of the log may rely on."""
    return (
        (delivery.end_time is None) == delivery.state.open
        and 0 <= delivery.round_attempts <= delivery.attempt_count
        and (delivery.next_attempt_time is not None) == (delivery.state is DeliveryState.PENDING)
        and (delivery.reserved_time is None or delivery.state is DeliveryState.PENDING)
    )


class TestTakeTurn:
    @given(endpoints, deliveries())
    def test_only_what_is_pending_goes_to_an_endpoint_that_is_sent_something(
        self, endpoint: WebhookEndpoint, delivery: Delivery
    ) -> None:
        turn = take_turn(endpoint, delivery, NOW)
        assert fits(turn.delivery)
        assert not (turn.until and turn.wait)
        if turn.until:
            assert turn.endpoint.busy_until == (turn.until,)
            assert delivery.state is DeliveryState.PENDING
            assert endpoint.health.sends or delivery.trigger is DeliveryTrigger.TEST
            assert not endpoint.health.disabled
        if turn.wait:
            assert turn.delivery.state is DeliveryState.PENDING

    @given(endpoints, deliveries())
    def test_who_waits_as_long_as_told_goes(self, endpoint: WebhookEndpoint, delivery: Delivery) -> None:
        now, turn = NOW, take_turn(endpoint, delivery, NOW)
        for _ in range(2):
            now += turn.wait
            turn = take_turn(turn.endpoint, turn.delivery, now) if turn.wait else turn
        assert not turn.wait

    @given(endpoints, deliveries())
    def test_a_slot_is_taken_once(self, endpoint: WebhookEndpoint, delivery: Delivery) -> None:
        first = take_turn(endpoint, delivery, NOW)
        second = take_turn(first.endpoint, first.delivery, NOW)
        if first.wait and first.delivery.reserved_time is not None:
            assert second.endpoint is first.endpoint


class TestBusy:
    def _endpoint(self, health: Health, calls: int) -> WebhookEndpoint:
        settings = EndpointSettings("https://example.com", "", (), SignatureScheme.HMAC_SHA256, 1000, 0)
        endpoint = replace(settings.endpoint(WORKSPACE, new_id(), None, NOW), health=health)
        for _ in range(calls):
            endpoint = endpoint.calling(NOW, NOW + timedelta(seconds=30))
        return endpoint

    @given(deliveries(), st.sampled_from([(Health(), MAX_CALLS), (_failing(1, timedelta(0)), 1)]))
    def test_who_finds_its_endpoint_busy_waits_and_goes_once_a_call_has_ended(
        self, delivery: Delivery, case: tuple[Health, int]
    ) -> None:
        health, limit = case
        due = replace(delivery.reopened(NOW), trigger=DeliveryTrigger.EVENT)
        assert take_turn(self._endpoint(health, limit - 1), due, NOW).until is not None
        turn = take_turn(self._endpoint(health, limit), due, NOW)
        assert turn.until is None
        assert turn.wait
        assert turn.delivery.attempt_count == delivery.attempt_count
        free = turn.endpoint.called(turn.endpoint.busy_until[0])
        assert take_turn(free, turn.delivery, NOW + turn.wait).until is not None
        assert take_turn(turn.endpoint, turn.delivery, NOW + turn.wait).until is None

    @given(deliveries())
    def test_a_call_whose_end_nobody_tells_counts_for_a_while_only(self, delivery: Delivery) -> None:
        due, later = delivery.reopened(NOW), NOW + timedelta(seconds=30)
        turn = take_turn(self._endpoint(Health(), MAX_CALLS), due, later)
        assert turn.until is not None
        assert turn.endpoint.busy_until == (turn.until,)

    def test_those_that_wait_come_back_at_the_pace_of_their_endpoint(self) -> None:
        endpoint, waits = replace(self._endpoint(Health(), MAX_CALLS), max_per_second=10), []
        for _ in range(40):
            turn = take_turn(endpoint, _pending(), NOW)
            endpoint = turn.endpoint
            waits.append(turn.wait)
        assert waits[-1] >= timedelta(seconds=3)

    def test_a_test_goes_all_the_same(self) -> None:
        test = replace(_pending(), trigger=DeliveryTrigger.TEST)
        assert take_turn(self._endpoint(Health(), MAX_CALLS), test, NOW).until is not None


class TestConclude:
    @given(endpoints, deliveries(), exchanges, st.booleans(), st.integers(1, 5), chances)
    def test_every_attempt_is_counted_and_leads_somewhere(
        self,
        endpoint: WebhookEndpoint,
        delivery: Delivery,
        exchange: Exchange,
        probe: bool,
        round_number: int,
        chance: float,
    ) -> None:
        came_of_it = conclude(
            endpoint, delivery, exchange, round_number=round_number, probe=probe, now=NOW, chance=chance
        )
        after, health = came_of_it.delivery, came_of_it.endpoint.health
        assert fits(after)
        assert after.attempt_count == delivery.attempt_count + 1
        if came_of_it.retry_time is not None:
            assert after.state is DeliveryState.PENDING
            assert after.next_attempt_time == came_of_it.retry_time > NOW
            assert health.sends
        if delivery.round != round_number:
            assert replace(after, attempt_count=delivery.attempt_count) == delivery
        elif exchange.failure is None:
            assert after.state is DeliveryState.DELIVERED
        elif delivery.state.open and health.disabled:
            assert after.state is DeliveryState.FAILED
        elif not delivery.state.open:
            assert after.state is delivery.state
        if exchange.failure is Failure.GONE:
            assert health.disabled

    @given(endpoints, deliveries(), exchanges, chances)
    def test_a_probe_never_uses_up_a_delivery(
        self, endpoint: WebhookEndpoint, delivery: Delivery, exchange: Exchange, chance: float
    ) -> None:
        waiting = replace(
            delivery,
            state=DeliveryState.WAITING,
            trigger=DeliveryTrigger.EVENT,
            next_attempt_time=None,
            reserved_time=None,
            end_time=None,
        )
        came_of_it = conclude(
            endpoint, waiting, exchange, round_number=waiting.round, probe=True, now=NOW, chance=chance
        )
        if exchange.failure is not None and not came_of_it.endpoint.health.disabled:
            assert came_of_it.delivery.state is DeliveryState.WAITING
