"""The life of signing keys."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.identity.model.signing_keys import KeyState, SigningKey, overlap, plan

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY_TTL, TOKEN_TTL = timedelta(days=30), timedelta(minutes=10)
_numbers = count()


def applied(keys: list[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys after what is due now was done."""
    due = plan(keys, now, key_ttl=KEY_TTL, token_ttl=TOKEN_TTL)
    result = []
    for key in keys:
        if key.kid in due.retire:
            key = replace(key, state=KeyState.RETIRED, state_time=now)
        if key.kid == due.activate:
            key = replace(key, state=KeyState.ACTIVE, state_time=now)
        if key.kid not in due.delete:
            result.append(key)
    for number in range(due.create):
        state = KeyState.ACTIVE if number == 0 and due.creates_active else KeyState.NEXT
        result.append(SigningKey(f"k{next(_numbers)}", state, "", b"", now, now))
    return result


def states(keys: list[SigningKey]) -> list[str]:
    return sorted(key.state.value for key in keys)


class TestPlan:
    def test_the_first_start_makes_one_that_signs_and_one_that_waits(self) -> None:
        assert states(applied([], START)) == ["active", "next"]

    def test_nothing_is_due_before_its_time(self) -> None:
        keys = applied([], START)
        now = START + KEY_TTL - timedelta(seconds=1)
        assert plan(keys, now, key_ttl=KEY_TTL, token_ttl=TOKEN_TTL).is_empty

    def test_the_key_that_waited_signs_next_and_the_old_one_stays_published(self) -> None:
        keys = applied([], START)
        waiting = next(key.kid for key in keys if key.state is KeyState.NEXT)
        rotated = applied(keys, START + KEY_TTL)
        assert states(rotated) == ["active", "next", "retired"]
        assert next(key.kid for key in rotated if key.state is KeyState.ACTIVE) == waiting

    def test_a_retired_key_goes_when_no_token_of_it_can_be_valid(self) -> None:
        rotated = applied(applied([], START), START + KEY_TTL)
        assert states(applied(rotated, START + KEY_TTL + overlap(TOKEN_TTL))) == ["active", "next"]

    @given(st.lists(st.integers(0, 90 * 24), max_size=30))
    def test_at_any_time_one_signs_one_waits_and_every_valid_token_can_be_verified(self, hours: list[int]) -> None:
        now, keys = START, applied([], START)
        signed: list[tuple[str, datetime]] = []
        for gap in hours:
            now += timedelta(hours=gap)
            keys = applied(keys, now)
            assert plan(keys, now, key_ttl=KEY_TTL, token_ttl=TOKEN_TTL).is_empty
            assert [s for s in states(keys) if s != "retired"] == ["active", "next"]
            active = next(key for key in keys if key.state is KeyState.ACTIVE)
            signed.append((active.kid, now + TOKEN_TTL))
            published = {key.kid for key in keys}
            assert all(kid in published for kid, expire_time in signed if expire_time > now)
