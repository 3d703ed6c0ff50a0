"""The life of an invite."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid
from services.tenancy.errors import InviteClosed, InviteExpired
from services.tenancy.model.invites import DEFAULT_TTL, MAX_TTL, Invite, InviteState, expiry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + DEFAULT_TTL
ANN, BEN = UUID(int=5), UUID(int=6)

PENDING, ACCEPTED, DECLINED, REVOKED, EXPIRED = InviteState


def invite(state: InviteState = PENDING) -> Invite:
    return Invite(UUID(int=1), UUID(int=2), "ada@example.com", "member", state, ANN, LATER, NOW, NOW)


class TestState:
    def test_a_pending_one_expires_by_the_clock(self) -> None:
        assert invite().state_at(LATER - timedelta(seconds=1)) is PENDING
        assert invite().state_at(LATER) is EXPIRED

    @pytest.mark.parametrize("state", [ACCEPTED, DECLINED, REVOKED, EXPIRED])
    def test_an_ended_one_stays_what_it_is(self, state: InviteState) -> None:
        assert invite(state).state_at(LATER) is state

    def test_it_is_shown_as_of_a_moment(self) -> None:
        pending = invite()
        assert pending.as_of(NOW) is pending
        assert pending.as_of(LATER).state is EXPIRED


class TestAccept:
    def test_in_time(self) -> None:
        assert invite().accepted(NOW).state is ACCEPTED

    def test_too_late_is_refused(self) -> None:
        with pytest.raises(InviteExpired):
            invite().accepted(LATER)

    @pytest.mark.parametrize("state", [ACCEPTED, DECLINED, REVOKED])
    def test_once_it_has_ended_is_refused_with_the_state(self, state: InviteState) -> None:
        with pytest.raises(InviteClosed) as raised:
            invite(state).accepted(NOW)
        assert raised.value.metadata["state"] == f"STATE_{state.value.upper()}"


class TestDeclineAndRevoke:
    @pytest.mark.parametrize("state", [PENDING, EXPIRED])
    def test_an_open_or_expired_one(self, state: InviteState) -> None:
        assert invite(state).declined(NOW).state is DECLINED
        assert invite(state).revoked(NOW).state is REVOKED

    def test_again_changes_nothing(self) -> None:
        declined, revoked = invite(DECLINED), invite(REVOKED)
        assert declined.declined(NOW) is declined
        assert revoked.revoked(NOW) is revoked

    def test_an_accepted_one_is_refused(self) -> None:
        with pytest.raises(InviteClosed):
            invite(ACCEPTED).declined(NOW)
        with pytest.raises(InviteClosed):
            invite(ACCEPTED).revoked(NOW)

    def test_what_one_side_ended_the_other_cannot_end_again(self) -> None:
        with pytest.raises(InviteClosed):
            invite(REVOKED).declined(NOW)
        with pytest.raises(InviteClosed):
            invite(DECLINED).revoked(NOW)


class TestResend:
    @pytest.mark.parametrize("state", [PENDING, EXPIRED])
    def test_renews_in_the_name_of_who_sends(self, state: InviteState) -> None:
        again = invite(state).resent(BEN, LATER)
        assert (again.state, again.inviter_id, again.expire_time) == (PENDING, BEN, LATER + DEFAULT_TTL)

    @pytest.mark.parametrize("state", [ACCEPTED, DECLINED, REVOKED])
    def test_a_closed_one_is_refused(self, state: InviteState) -> None:
        with pytest.raises(InviteClosed):
            invite(state).resent(BEN, NOW)


class TestExpiry:
    def test_is_a_week_by_default(self) -> None:
        assert expiry(None, NOW) == NOW + timedelta(days=7)

    @given(st.timedeltas(min_value=timedelta(days=-60), max_value=timedelta(days=60)))
    def test_is_as_wanted_within_thirty_days(self, ahead: timedelta) -> None:
        if timedelta() < ahead <= MAX_TTL:
            assert expiry(NOW + ahead, NOW) == NOW + ahead
        else:
            with pytest.raises(FieldsInvalid):
                expiry(NOW + ahead, NOW)
