"""Accepting: who is let in, and everybody who is not. Failures that others had are named after them."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import orjson
import pytest
from google.protobuf import json_format
from psycopg import sql

from plinth.tenancy.v1 import invite_pb2
from plinth.tenancy.v1 import invite_service_pb2 as invites
from services.runtime import Runtime
from tests.support.errors import refusal_of, refused
from tests.support.people import Person
from tests.tenancy.team import Team, accept, decline, resend, revoke

CODE = grpc.StatusCode
UNKNOWN = "A" * 43


class TestAccept:
    def test_lets_the_invited_person_in(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email, "viewer")
        answer = accept(guest, team.token_for(guest.email))
        assert answer.workspace == team.get(guest)
        assert (answer.member.name, answer.member.role) == (team.name_of(guest), team.role("viewer"))
        assert team.actions()[-3:] == ["invite.created", "member.added", "invite.accepted"]

    def test_address_is_compared_without_case(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email.upper())
        accept(guest, team.token_for(guest.email))

    def test_twice_changes_nothing(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)
        assert accept(guest, token) == accept(guest, token)
        assert team.actions().count("invite.accepted") == 1

    def test_link_does_not_let_a_removed_member_back_in(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)
        accept(guest, token)
        team.remove(team.owner, guest)
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED") as refusal:
            accept(guest, token)
        assert refusal.metadata["state"] == "STATE_ACCEPTED"

    def test_at_once_from_two_tabs_adds_one_member(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: accept(guest, token), range(8)))
        assert len({answer.member.SerializeToString() for answer in answers}) == 1
        assert team.actions().count("invite.accepted") == 1

    def test_unverified_address_is_told_so_before_the_token_is_looked_at(self, team: Team) -> None:
        guest = team.people.new("guest", verified=False)
        team.invite(team.owner, guest.email)
        for token in (team.token_for(guest.email), UNKNOWN):
            with refused(CODE.FAILED_PRECONDITION, "EMAIL_NOT_VERIFIED"):
                accept(guest, token)

    def test_expired_link_is_refused(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        team.let_invites_expire()
        with refused(CODE.FAILED_PRECONDITION, "INVITE_EXPIRED"):
            accept(guest, team.token_for(guest.email))

    def test_revoked_link_is_refused(self, team: Team) -> None:
        guest = team.people.new("guest")
        revoke(team.owner, team.invite(team.owner, guest.email))
        with refused(CODE.FAILED_PRECONDITION, "INVITE_CLOSED"):
            accept(guest, team.token_for(guest.email))

    def test_into_a_deleted_workspace_is_like_an_unknown_link(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        team.delete()
        with refused(CODE.NOT_FOUND, "INVITE_NOT_FOUND"):
            accept(guest, team.token_for(guest.email))

    def test_role_is_measured_against_what_the_inviter_may_do_today(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.admin, guest.email, "admin")
        team.set_role(team.owner, team.admin, "member")
        with refused(CODE.FAILED_PRECONDITION, "INVITER_LACKS_ROLE"):
            accept(guest, team.token_for(guest.email))

    def test_invite_of_who_has_left_gives_nothing_until_another_sends_it_again(self, team: Team) -> None:
        guest = team.people.new("guest")
        invite = team.invite(team.admin, guest.email)
        team.remove(team.owner, team.admin)
        with refused(CODE.FAILED_PRECONDITION, "INVITER_LACKS_ROLE"):
            accept(guest, team.token_for(guest.email))
        resend(team.owner, invite)
        accept(guest, team.token_for(guest.email))

    def test_custom_role_that_grew_above_the_inviter_is_not_given(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", "workspace.delete")
        guest = team.people.new("guest")
        inviting = team.new_role(team.owner, "workspace.read", "members.invite", display_name="Inviter")
        inviter = team.people.member(team.owner, team.workspace, inviting.name.rpartition("/")[2])
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            team.invite(inviter, guest.email, role.name.rpartition("/")[2])

    def test_being_a_member_already_closes_the_invite_and_keeps_the_role(self, team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email, "viewer")
        token = team.token_for(guest.email)
        team.database.execute(
            "insert into tenancy.members (workspace_id, user_id, role, version, create_time, update_time)"
            " values (%s, %s, 'member', 1, now(), now())",
            [team.workspace.removeprefix("workspaces/"), guest.user_id],
        )
        assert accept(guest, token).member.role == team.role("member")
        assert [invite.state for invite in team.invites()] == [invite_pb2.Invite.STATE_ACCEPTED]


class TestWhoIsNotInvited:
    """Tokens that were forged, leaked, stolen or guessed: all are answered like an unknown one."""

    @staticmethod
    def refusal(person: Person, token: str) -> tuple[object, ...]:
        with pytest.raises(grpc.RpcError) as raised:
            accept(person, token)
        found = refusal_of(raised.value)
        return found.code, found.reason, found.message, found.metadata

    def test_plane_9297_a_leaked_link_lets_nobody_else_in(self, team: Team) -> None:
        thief, email = team.people.new("thief"), team.people.address("victim")
        team.invite(team.owner, email)
        with refused(CODE.NOT_FOUND, "INVITE_NOT_FOUND"):
            accept(thief, team.token_for(email))
        with refused(CODE.NOT_FOUND, "INVITE_NOT_FOUND"):
            decline(thief, team.token_for(email))
        assert [invite.state for invite in team.invites()] == [invite_pb2.Invite.STATE_PENDING]

    def test_keycloak_49069_a_real_token_for_another_is_answered_like_an_unknown_one(self, team: Team) -> None:
        thief, email = team.people.new("thief"), team.people.address("victim")
        team.invite(team.owner, email)
        assert self.refusal(thief, team.token_for(email)) == self.refusal(thief, UNKNOWN)

    def test_plane_9297_the_invited_address_unverified_is_not_enough(self, team: Team) -> None:
        email = team.people.address("victim")
        team.invite(team.owner, email)
        token = team.token_for(email)
        team.people.register(email)
        with refused(CODE.FAILED_PRECONDITION, "EMAIL_NOT_VERIFIED"):
            accept(team.people.sign_in(email), token)

    def test_keycloak_cve_2026_1529_a_forged_token_is_unknown(self, team: Team, other_team: Team) -> None:
        guest = team.people.new("guest")
        team.invite(team.owner, guest.email)
        token = team.token_for(guest.email)
        claims = {"org_id": other_team.workspace, "eml": guest.email, "jti": token}
        parts = (orjson.dumps({"alg": "none", "typ": "JWT"}), orjson.dumps(claims))
        forged = "_".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)[:128]
        flipped = token[:-1] + ("A" if token[-1] != "A" else "E")
        for bad in (forged, flipped, token.lower(), token + "A", token[:-1]):
            with refused(CODE.NOT_FOUND, "INVITE_NOT_FOUND"):
                accept(guest, bad)

    def test_keycloak_cve_2026_16072_and_plane_9015_the_token_is_in_the_mail_alone(self, team: Team) -> None:
        email = team.people.address("victim")
        invite = team.invite(team.owner, email)
        token = team.token_for(email)
        again = team.owner.stubs.invites.GetInvite(invites.GetInviteRequest(name=invite.name))
        for message in (invite, again, *team.invites()):
            assert token not in json_format.MessageToJson(message)
            assert "token" not in message.DESCRIPTOR.fields_by_name
        kernel = (("kernel", table) for table in ("outbox", "audit", "mail", "idempotency"))
        for table in (("tenancy", "invites"), *kernel):
            rows = team.database.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(*table))).fetchall()
            stored = "\n".join(row[0] for row in rows)
            assert token not in stored
            assert token.encode().hex() not in stored

    def test_keycloak_47080_invites_of_another_workspace_are_out_of_reach(self, team: Team, other_team: Team) -> None:
        email = other_team.people.address("victim")
        victim = other_team.invite(other_team.owner, email)
        swapped = invite_pb2.Invite(name=victim.name.replace(other_team.workspace, team.workspace))
        for target in (victim, swapped):
            for reach in (resend, revoke):
                with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                    reach(team.owner, target)
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                team.owner.stubs.invites.GetInvite(invites.GetInviteRequest(name=target.name))
        assert other_team.invites() == [victim]
        assert len(other_team.people.read_mail(email)) == 1

    def test_keycloak_51138_the_link_goes_to_our_own_address_whatever_is_sent(
        self, team: Team, runtime: Runtime
    ) -> None:
        sent = (
            invites.CreateInviteRequest,
            invites.ResendInviteRequest,
            invites.AcceptInviteRequest,
            invite_pb2.Invite,
        )
        fields = {field for message in (*sent, invite_pb2.Invite) for field in message.DESCRIPTOR.fields_by_name}
        assert not [field for field in fields if re.search("redirect|url|uri|link", field)]
        email = team.people.address("guest")
        team.invite(team.owner, email)
        (text,) = team.people.read_mail(email)
        links = re.findall(r"\S+://\S+", text)
        assert [link.partition("?")[0] for link in links] == [f"{runtime.settings.public_url}/invites/accept"]

    def test_inviting_tells_nothing_about_accounts(self, team: Team) -> None:
        stranger = team.people.new("stranger")
        known = team.invite(team.owner, stranger.email)
        unknown = team.invite(team.owner, team.people.address("stranger"))
        for invite in (known, unknown):
            invite.ClearField("name")
            invite.ClearField("email")
            for time in ("create_time", "update_time", "expire_time"):
                invite.ClearField(time)
        assert known == unknown

    def test_signed_out_nobody_accepts(self, team: Team) -> None:
        email = team.people.address("guest")
        team.invite(team.owner, email)
        with refused(CODE.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            team.people.stubs.invites.AcceptInvite(invites.AcceptInviteRequest(token=team.token_for(email)))
