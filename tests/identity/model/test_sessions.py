"""The family of refresh tokens."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.identity.model.sessions import (
    MAX_AGE,
    RefreshToken,
    Verdict,
    expiry,
    format_token,
    judge,
    parse_token,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=30)
keys = st.binary(min_size=32, max_size=32)
generations = st.integers(1, 2**32 - 1)


class TestRefreshToken:
    @given(keys, st.uuids(), generations)
    def test_a_token_is_taken_apart_as_it_was_put_together(self, key: bytes, session_id: UUID, generation: int) -> None:
        token = parse_token(format_token(key, session_id, generation))
        assert token is not None
        assert (token.session_id, token.generation) == (session_id, generation)
        assert token.verify(key)

    @given(keys, keys, st.uuids(), generations)
    def test_nobody_without_the_key_can_make_one(
        self, key: bytes, other: bytes, session_id: UUID, generation: int
    ) -> None:
        token = parse_token(format_token(other, session_id, generation))
        assert token is not None
        assert token.verify(key) == (key == other)

    @given(keys, st.uuids(), generations, st.integers(0, 51), st.integers(1, 255))
    def test_a_changed_byte_is_noticed(
        self, key: bytes, session_id: UUID, generation: int, position: int, flip: int
    ) -> None:
        text = format_token(key, session_id, generation).removeprefix("plr_")
        body = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        body[position] ^= flip
        forged = parse_token("plr_" + base64.urlsafe_b64encode(bytes(body)).decode().rstrip("="))
        assert forged is None or not forged.verify(key)

    @given(st.text(max_size=200))
    def test_any_text_is_taken_apart_without_failing(self, text: str) -> None:
        assert parse_token(text) is None or text.startswith("plr_")

    def test_its_repr_shows_nothing(self) -> None:
        assert "mac" not in repr(RefreshToken(UUID(int=1), 1, b"secret"))


class TestJudge:
    def test_the_latest_token_is_replaced(self) -> None:
        assert judge(3, 3, START, START + timedelta(days=9), GRACE) is Verdict.ROTATE

    def test_its_predecessor_gets_the_same_successor_within_the_grace(self) -> None:
        assert judge(2, 3, START, START + GRACE, GRACE) is Verdict.REPEAT

    def test_after_the_grace_it_counts_as_stolen(self) -> None:
        assert judge(2, 3, START, START + GRACE + timedelta(seconds=1), GRACE) is Verdict.REUSE

    def test_using_the_successor_ends_the_grace(self) -> None:
        assert judge(1, 3, START, START, GRACE) is Verdict.REUSE

    def test_a_token_from_before_a_restore_counts_as_the_latest(self) -> None:
        assert judge(5, 3, START, START, GRACE) is Verdict.ROTATE


class TestExpiry:
    @given(st.integers(0, 400), st.integers(1, 60))
    def test_it_slides_up_to_the_greatest_age(self, age_days: int, ttl_days: int) -> None:
        now, ttl = START + timedelta(days=age_days), timedelta(days=ttl_days)
        assert expiry(START, now, ttl) == min(now + ttl, START + MAX_AGE)


class Family(RuleBasedStateMachine):
    """Honest tabs share the latest token they saw; a thief has a copy of one that was valid once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.current = 1
        self.rotate_time = START
        self.live = True
        self.tabs = {1}
        self.stolen: int | None = None

    def send(self, generation: int) -> int | None:
        match judge(generation, self.current, self.rotate_time, self.now, GRACE):
            case Verdict.ROTATE:
                self.current, self.rotate_time = generation + 1, self.now
                return self.current
            case Verdict.REPEAT:
                return self.current
            case Verdict.REUSE:
                self.live = False
                return None

    @rule(seconds=st.integers(0, 3600))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.live and self.stolen is None)
    @rule(tabs=st.integers(1, 100))
    def all_tabs_refresh_at_once(self, tabs: int) -> None:
        shared = max(self.tabs)
        answers = {self.send(shared) for _ in range(tabs)}
        assert answers == {self.current}
        self.tabs = {self.current}

    @precondition(lambda self: self.live and self.stolen is None)
    @rule()
    def a_token_is_stolen(self) -> None:
        self.stolen = self.current

    @precondition(lambda self: self.live and self.stolen is not None)
    @rule()
    def thief_and_owner_both_go_on(self) -> None:
        assert self.stolen is not None
        taken = self.send(self.stolen)
        self.now += GRACE + timedelta(seconds=1)
        if taken is not None:
            self.send(taken)
        if self.live:
            self.send(max(self.tabs))
        assert not self.live

    @invariant()
    def an_honest_user_is_never_signed_out(self) -> None:
        assert self.live or self.stolen is not None


TestFamily = Family.TestCase
