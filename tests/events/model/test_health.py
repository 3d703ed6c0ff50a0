"""The health of an endpoint, as a state machine that hypothesis drives."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.events.model.health import (
    DISABLED_AFTER,
    FAILURES_UNTIL_PROBING,
    PROBED_WHILE_DISABLED,
    DisableReason,
    Health,
    HealthState,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
chances = st.floats(0, 1, exclude_max=True)
waits = st.timedeltas(timedelta(0), timedelta(days=2))


def failing(times: int, now: datetime = START) -> Health:
    """After so many failures at once."""
    health = Health()
    for _ in range(times):
        health = health.after_failure(now, 0)
    return health


class HealthMachine(RuleBasedStateMachine):
    """Attempts, probes and people in any order, at any pace."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.health = Health()
        self.bad_since: datetime | None = None  # the first failure since the last success, as the test knows it

    @rule(wait=waits)
    def time_passes(self, wait: timedelta) -> None:
        self.now += wait

    @rule()
    def an_attempt_succeeds(self) -> None:
        before = self.health
        self.health = before.after_success()
        if before.disable_reason in (DisableReason.MANUAL, DisableReason.GONE):
            assert self.health == before
        else:
            assert self.health == Health()
            self.bad_since = None

    @rule(given_up=st.booleans(), chance=chances)
    def a_delivery_fails(self, given_up: bool, chance: float) -> None:
        before = self.health
        self.health = before.after_failure(self.now, chance, given_up=given_up)
        if before.disabled:
            assert self.health == before
            return
        self.bad_since = self.bad_since or self.now
        assert self.health.disabled == (self.now - self.bad_since >= DISABLED_AFTER)
        assert self.health.failures == before.failures + 1

    @precondition(lambda self: self.health.probe_time is not None)
    @rule(chance=chances)
    def a_probe_fails(self, chance: float) -> None:
        before = self.health
        assert before.probe_time is not None
        self.now = max(self.now, before.probe_time)
        self.health = before.after_failure(self.now, chance, probe=True)
        if before.state is HealthState.PROBING:
            self.bad_since = self.bad_since or self.now
            assert self.health.disabled == (self.now - self.bad_since >= DISABLED_AFTER)
        assert self.health.probe_time is None or self.health.probe_time > self.now

    @rule()
    def the_receiver_is_gone(self) -> None:
        self.health = self.health.after_gone(self.now)
        assert self.health.disabled

    @rule()
    def somebody_enables_it(self) -> None:
        before = self.health
        self.health = before.enabled()
        if before.sends:
            assert self.health == before
        else:
            assert self.health == Health()
            self.bad_since = None

    @rule()
    def somebody_disables_it(self) -> None:
        self.health = self.health.disabled_by_hand(self.now)
        assert self.health.disabled

    @invariant()
    def the_fields_fit_the_state(self) -> None:
        health = self.health
        assert (health.state is HealthState.ACTIVE) == (health == Health())
        assert (health.failing_since is None) == (health.failures == 0)
        assert (health.disable_time is None) == (health.disable_reason is None) == (not health.disabled)
        assert health.sends == (health.state in (HealthState.ACTIVE, HealthState.FAILING))
        if health.state is HealthState.PROBING:
            assert health.probe_time is not None
        elif health.probe_time is not None:
            assert health.disable_reason is DisableReason.FAILING

    @invariant()
    def nobody_is_disabled_for_failures_before_five_days(self) -> None:
        health = self.health
        if health.disable_reason is DisableReason.FAILING:
            assert health.disable_time is not None
            assert health.failing_since is not None
            assert health.disable_time - health.failing_since >= DISABLED_AFTER


TestHealthMachine = HealthMachine.TestCase


class TestProbing:
    def test_begins_after_ten_failures_or_a_delivery_that_was_given_up(self) -> None:
        assert failing(FAILURES_UNTIL_PROBING - 1).state is HealthState.FAILING
        assert failing(FAILURES_UNTIL_PROBING).state is HealthState.PROBING
        assert Health().after_failure(START, 0, given_up=True).state is HealthState.PROBING

    def test_comes_ever_less_often_but_at_least_hourly(self) -> None:
        health, gaps = failing(FAILURES_UNTIL_PROBING), []
        for _ in range(12):
            assert health.probe_time is not None
            now = health.probe_time
            health = health.after_failure(now, 0, probe=True)
            assert health.probe_time is not None
            gaps.append(health.probe_time - now)
        assert gaps == sorted(gaps)
        assert gaps[0] == timedelta(seconds=10)
        assert gaps[-1] == timedelta(hours=1)

    def test_a_straggler_that_fails_does_not_put_the_probe_off(self) -> None:
        health = failing(FAILURES_UNTIL_PROBING)
        assert health.after_failure(START, 0).probe_time == health.probe_time

    @given(chances)
    def test_an_endpoint_that_always_fails_is_disabled_within_hours_of_five_days(self, chance: float) -> None:
        health = failing(FAILURES_UNTIL_PROBING)
        while health.state is HealthState.PROBING:
            assert health.probe_time is not None
            health = health.after_failure(health.probe_time, chance, probe=True)
        assert health.disable_reason is DisableReason.FAILING
        assert health.disable_time is not None
        assert DISABLED_AFTER <= health.disable_time - START <= DISABLED_AFTER + timedelta(hours=2)

    @given(chances)
    def test_a_disabled_one_is_probed_twice_a_day_for_a_month(self, chance: float) -> None:
        health = failing(1).after_failure(START + DISABLED_AFTER, chance)
        assert health.disable_time is not None
        probes = 0
        while health.probe_time is not None:
            assert health.probe_time <= health.disable_time + PROBED_WHILE_DISABLED
            health = health.after_failure(health.probe_time, chance, probe=True)
            probes += 1
        assert 48 <= probes <= 60
        assert health.disabled

    def test_a_success_of_a_probe_enables_it_again(self) -> None:
        health = failing(1).after_failure(START + DISABLED_AFTER, 0)
        assert health.disabled
        assert health.after_success() == Health()


class TestDisabling:
    def test_one_that_is_gone_is_not_probed(self) -> None:
        health = failing(FAILURES_UNTIL_PROBING).after_gone(START)
        assert (health.disable_reason, health.probe_time) == (DisableReason.GONE, None)
        assert health.after_success() == health

    def test_by_hand_ends_the_probes_of_one_that_failed(self) -> None:
        health = failing(1).after_failure(START + DISABLED_AFTER, 0).disabled_by_hand(START + DISABLED_AFTER)
        assert (health.disable_reason, health.probe_time) == (DisableReason.MANUAL, None)

    def test_twice_is_once(self) -> None:
        health = Health().disabled_by_hand(START)
        assert health.disabled_by_hand(START + timedelta(days=1)) is health
        assert health.enabled().enabled() == Health()
