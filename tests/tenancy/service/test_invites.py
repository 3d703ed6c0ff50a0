"""Invites, as those who send them meet them."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest

from plinth.tenancy.v1 import invite_pb2
from plinth.tenancy.v1 import invite_service_pb2 as invites
from services.runtime import Runtime
from tests.support.errors import refusal_of, refused
from tests.support.people import People
from tests.tenancy.team import Team, accept, decline, resend, revoke

CODE = grpc.StatusCode


class TestCreate:
    def test_mails_a_link_and_waits(self, team: Team, runtime: Runtime) -> None:
        email = team.people.address("guest")
        invite = team.invite(team.owner, email, "viewer")
        assert (invite.email, invite.role, invite.state) == (
            email,
            team.role("viewer"),
            invite_pb2.Invite.STATE_PENDING,
        )
        assert invite.inviter == team.name_of(team.owner)
        (text,) = team.people.read_mail(email)
        assert f"{runtime.settings.public_url}/invites/accept?token=" in text
        assert "Owner" in text
        assert "Acme" in text

    def test_is_good_for_a_week_or_as_stated(self, team: Team) -> None:
        invite = team.invite(team.owner, team.people.address())
        ttl = invite.expire_time.ToDatetime(UTC) - invite.create_time.ToDatetime(UTC)
        assert ttl == timedelta(days=7)

        wanted = invite_pb2.Invite(email=team.people.address(), role=team.role("viewer"))
        wanted.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=31))
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            team.owner.stubs.invites.CreateInvite(invites.CreateInviteRequest(parent=team.workspace, invite=wanted))
        assert refusal.fields == ["invite.expire_time"]

    def test_address_is_kept_in_lower_case(self, team: Team) -> None:
        email = team.people.address()
        assert team.invite(team.owner, email.upper()).email == email

    @pytest.mark.parametrize("email", ["", "no address", "a@b\nBcc: c@d", "ä@example.com", "\u212a@example.com", "a@"])
    def test_address_must_be_one(self, team: Team, email: str) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            team.invite(team.owner, email)

    def test_member_is_not_invited_again(self, team: Team) -> None:
        with refused(CODE.ALREADY_EXISTS, "MEMBER_EXISTS") as refusal:
            team.invite(team.owner, team.member.email.upper())
        assert refusal.metadata["member"] == team.name_of(team.member)

    def test_second_pending_invite_is_refused_and_names_the_first(self, team: Team) -> None:
        email = team.people.address()
        first = team.invite(team.owner, email)
        with refused(CODE.ALREADY_EXISTS, "INVITE_PENDING") as refusal:
            team.invite(team.owner, email, "viewer")
        assert refusal.metadata["invite"] == first.name

    def test_expired_one_makes_room_for_another(self, team: Team) -> None:
        email = team.people.address()
        first = team.invite(team.owner, email)
        team.let_invites_expire()
        second = team.invite(team.owner, email)
        states = {invite.name: invite.state for invite in team.invites()}
        assert states[first.name] == invite_pb2.Invite.STATE_EXPIRED
        assert states[second.name] == invite_pb2.Invite.STATE_PENDING
        with refused(CODE.ALREADY_EXISTS, "INVITE_PENDING"):
            resend(team.owner, first)

    def test_nobody_invites_above_their_own_role(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN") as refusal:
            team.invite(team.admin, team.people.address(), "owner")
        assert refusal.metadata["role"] == team.role("owner")

    def test_member_may_not_invite(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            team.invite(team.member, team.people.address())

    def test_role_of_another_workspace_is_not_found(self, team: Team, other_team: Team) -> None:
        wanted = invite_pb2.Invite(email=team.people.address(), role=other_team.role("viewer"))
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.invites.CreateInvite(invites.CreateInviteRequest(parent=team.workspace, invite=wanted))

    def test_same_request_id_mails_once(self, team: Team) -> None:
        email, request_id = team.people.address(), str(uuid4())
        with ThreadPoolExecutor(10) as pool:
            calls = [pool.submit(team.invite, team.owner, email, "member", request_id) for _ in range(10)]
            assert len({call.result().name for call in calls}) == 1
        assert len(team.people.read_mail(email)) == 1

    def test_two_at_once_make_one(self, team: Team) -> None:
        email = team.people.address()

        def invite(_: int) -> str:
            try:
                return team.invite(team.owner, email).name and "invited"
            except grpc.RpcError as error:
                return refusal_of(error).reason

        with ThreadPoolExecutor(4) as pool:
            outcomes = sorted(pool.map(invite, range(4)))
        assert outcomes == ["INVITE_PENDING"] * 3 + ["invited"]

    def test_line_breaks_in_names_do_not_reach_the_mail(self, team: Team) -> None:
        person = team.people.member(team.owner, team.workspace, "admin")
        email = team.people.address()
        team.invite(person, email)
        (text,) = team.people.read_mail(email)
        assert len(re.findall(r"https?://", text)) == 1


class TestList:
    def test_pages_to_the_end_newest_first_and_filters(self, team: Team) -> None:
        made = [team.invite(team.owner, team.people.address()) for _ in range(5)]
        revoke(team.owner, made[0])
        names, token = [], ""
        while True:
            request = invites.ListInvitesRequest(
                parent=team.workspace, page_size=2, page_token=token, state=invite_pb2.Invite.STATE_PENDING
            )
            answer = team.owner.stubs.invites.ListInvites(request)
            names += [invite.name for invite in answer.invites]
            token = answer.next_page_token
            if not token:
                break
        assert names == [invite.name for invite in reversed(made[1:])]

    def test_states_by_the_clock(self, team: Team) -> None:
        invite = team.invite(team.owner, team.people.address())
        team.let_invites_expire()
        for state, expected in (
            (invite_pb2.Invite.STATE_PENDING, []),
            (invite_pb2.Invite.STATE_EXPIRED, [invite.name]),
        ):
            answer = team.owner.stubs.invites.ListInvites(
                invites.ListInvitesRequest(parent=team.workspace, state=state)
            )
            assert [found.name for found in answer.invites] == expected


class TestResend:
    def test_ends_the_link_before(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.owner, guest.email)
        old = team.token_for(guest.email)
        resend(team.owner, invite)
        with refused(CODE.NOT_FOUND, "INVITE_NOT_FOUND"):
            accept(guest, old)
        accept(guest, team.token_for(guest.email))

    def test_revives_an_expired_one(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.owner, guest.email)
        team.let_invites_expire()
        assert resend(team.owner, invite).state == invite_pb2.Invite.STATE_PENDING
        accept(guest, team.token_for(guest.email))

    def test_of_a_closed_one_is_refused(self, team: Team) -> None:
        invite = team.invite(team.owner, team.people.address())
        revoke(team.owner, invite)
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED"):
            resend(team.owner, invite)

    def test_nobody_resends_above_their_own_role(self, team: Team) -> None:
        invite = team.invite(team.owner, team.people.address(), "owner")
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            resend(team.admin, invite)


class TestRevokeAndDecline:
    def test_revoke_is_idempotent(self, team: Team) -> None:
        invite = team.invite(team.owner, team.people.address())
        assert revoke(team.owner, invite) == revoke(team.owner, invite)
        assert team.actions().count("invite.revoked") == 1

    def test_revoke_of_an_accepted_one_is_refused(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.owner, guest.email)
        accept(guest, team.token_for(guest.email))
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED"):
            revoke(team.owner, invite)

    def test_revoke_and_accept_at_once_have_one_winner(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)

        def attempt(call: str) -> str:
            try:
                if call == "accept":
                    accept(guest, token)
                else:
                    revoke(team.owner, invite)
            except grpc.RpcError as error:
                return refusal_of(error).reason
            return call

        with ThreadPoolExecutor(2) as pool:
            outcomes = sorted(pool.map(attempt, ["accept", "revoke"]))
        assert outcomes in (["INVITE_CLOSED", "accept"], ["INVITE_CLOSED", "revoke"])
        assert ("accept" in outcomes) == (team.name_of(guest) in [member.name for member in team.members()])

    def test_decline_ends_it_for_both_sides(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)
        decline(guest, token)
        decline(guest, token)
        assert [found.state for found in team.invites()] == [invite_pb2.Invite.STATE_DECLINED]
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED"):
            accept(guest, token)
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED"):
            resend(team.owner, invite)

    def test_declined_person_may_be_invited_again(self, people: People, team: Team) -> None:
        guest = people.new("guest")
        team.invite(team.owner, guest.email)
        decline(guest, team.token_for(guest.email))
        team.invite(team.owner, guest.email)
        accept(guest, team.token_for(guest.email))
