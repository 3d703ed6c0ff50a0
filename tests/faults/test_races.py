"""The same thing done many times at once, through two server processes: it happens once."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest

from plinth.identity.v1 import auth_service_pb2, session_service_pb2, user_service_pb2
from plinth.tenancy.v1 import (
    invite_pb2,
    invite_service_pb2,
    member_pb2,
    member_service_pb2,
    workspace_pb2,
    workspace_service_pb2,
)
from tests.faults.office import Office
from tests.faults.refusal_times import outcome
from tests.support.acting import at_once
from tests.support.errors import Refusal, refusal_of, refused
from tests.support.fleet import Fleet
from tests.support.people import token_in
from tests.support.stubs import Stubs

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.e2e]

ABORTED, FAILED_PRECONDITION = grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


# Any: the response of whatever was called, or the Refusal.
Call = Callable[[], Any]


def all_at_once(calls: Sequence[Call]) -> tuple[list[Any], list[Refusal]]:
    """Begin all together; the responses of those that were answered, and how the others were refused."""
    turn = itertools.count()

    def one() -> Any:
        call = calls[next(turn)]
        try:
            return call()
        except grpc.RpcError as error:
            return refusal_of(error)

    answers = at_once(len(calls), one)
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    return [answer for answer in answers if not isinstance(answer, Refusal)], refusals


def patiently(call: Call) -> Call:
    """The call, tried again for a while when it is told to come back because there is no room."""

    def insist() -> Any:
        deadline = time.monotonic() + 20
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                if refusal.reason != "OVERLOADED" or time.monotonic() > deadline:
                    raise
                threading.Event().wait(refusal.retry_seconds)

    return insist


@pytest.fixture
def office(fleet: Fleet) -> Office:
    return Office(fleet)


class TestOneRequestId:
    def test_sent_50_times_at_once_creates_one_workspace(self, office: Office) -> None:
        display_name = f"Once {uuid4()}"
        request = workspace_service_pb2.CreateWorkspaceRequest(
            workspace=workspace_pb2.Workspace(display_name=display_name), request_id=str(uuid4())
        )
        ways = office.fleet.everywhere(office.owner.access_token)[:2]
        calls = [partial(ways[number % 2].workspaces.CreateWorkspace, request, timeout=60) for number in range(50)]
        answered, refusals = all_at_once(calls)
        # Who waits too long for the first one may be told to come back, and then gets its answer.
        assert {refusal.reason for refusal in refusals} <= {"REQUEST_IN_PROGRESS", "OVERLOADED"}
        assert all(refusal.retry_seconds for refusal in refusals)
        again = [calls[number]() for number in range(2)]
        assert len({bytes(answer.SerializeToString(deterministic=True)) for answer in [*answered, *again]}) == 1
        with office.fleet.database() as connection:
            found = connection.execute(
                "select workspace_id from tenancy.workspaces where display_name = %s", [display_name]
            ).fetchall()
        assert len(found) == 1

    def test_with_another_payload_at_once_has_one_effect(self, office: Office) -> None:
        request_id, label = str(uuid4()), str(uuid4())
        requests = [
            workspace_service_pb2.CreateWorkspaceRequest(
                workspace=workspace_pb2.Workspace(display_name=f"{label} {number}"), request_id=request_id
            )
            for number in range(10)
        ]
        ways = office.fleet.everywhere(office.owner.access_token)[:2]
        answered, refusals = all_at_once(
            [
                partial(ways[number % 2].workspaces.CreateWorkspace, request, timeout=60)
                for number, request in enumerate(requests)
            ]
        )
        assert len(answered) == 1
        assert Counter(refusal.reason for refusal in refusals) == {"REQUEST_ID_REUSED": 9}


class TestOwners:
    def test_of_two_who_leave_at_once_one_stays(self, fleet: Fleet) -> None:
        first, second = fleet.people.new("first"), fleet.people.new("second")
        for _ in range(20):
            workspace = fleet.people.workspace_of(first).name
            fleet.people.join(first, workspace, second, "owner")
            request = member_service_pb2.LeaveWorkspaceRequest(name=workspace)
            answered, refusals = all_at_once(
                [
                    partial(fleet.everywhere(owner.access_token)[server].members.LeaveWorkspace, request, timeout=60)
                    for server, owner in enumerate((first, second))
                ]
            )
            assert len(answered) == 1
            assert [(one.code, one.reason) for one in refusals] == [(FAILED_PRECONDITION, "LAST_OWNER")]

    def test_of_two_who_demote_each_other_at_once_one_stays(self, fleet: Fleet) -> None:
        first, second = fleet.people.new("first"), fleet.people.new("second")
        workspace = fleet.people.workspace_of(first).name
        fleet.people.join(first, workspace, second, "owner")
        for _ in range(5):
            answered, refusals = all_at_once(
                [
                    partial(
                        fleet.everywhere(actor.access_token)[server].members.UpdateMember,
                        demotion(fleet.everywhere(first.access_token)[2], workspace, str(victim.user_id)),
                        timeout=60,
                    )
                    for server, (actor, victim) in enumerate(((first, second), (second, first)))
                ]
            )
            assert len(answered) == 1
            assert [one.reason for one in refusals] in (["ROLE_ABOVE_OWN"], ["LAST_OWNER"], ["PERMISSION_DENIED"])
            stays, lost = (first, second) if is_owner(fleet, workspace, str(first.user_id)) else (second, first)
            assert is_owner(fleet, workspace, str(stays.user_id))
            assert not is_owner(fleet, workspace, str(lost.user_id))
            member = member_of(Stubs(stays.stubs.channel), workspace, str(lost.user_id))
            member.role = f"{workspace}/roles/owner"
            stays.stubs.members.UpdateMember(member_service_pb2.UpdateMemberRequest(member=member))


def member_of(stubs: Stubs, workspace: str, user_id: str) -> member_pb2.Member:
    name = f"{workspace}/members/{user_id}"
    return stubs.members.GetMember(member_service_pb2.GetMemberRequest(name=name)).member


def demotion(stubs: Stubs, workspace: str, user_id: str) -> member_service_pb2.UpdateMemberRequest:
    member = member_of(stubs, workspace, user_id)
    member.role = f"{workspace}/roles/viewer"
    return member_service_pb2.UpdateMemberRequest(member=member)


def is_owner(fleet: Fleet, workspace: str, user_id: str) -> bool:
    with fleet.database() as connection:
        row = connection.execute(
            "select role from tenancy.members where workspace_id = %s and user_id = %s",
            [workspace.rpartition("/")[2], user_id],
        ).fetchone()
    assert row is not None
    return bool(row[0] == "owner")


class TestRefresh:
    def test_100_at_once_with_one_token_are_one_session_and_no_logout(self, fleet: Fleet) -> None:
        person = fleet.people.new("tabs")
        request = auth_service_pb2.RefreshRequest(refresh_token=person.refresh_token)
        stubs = [Stubs(channel) for channel in fleet.servers[:2]]
        calls = [patiently(partial(stubs[number % 2].auth.Refresh, request, timeout=60)) for number in range(100)]
        answered, refusals = all_at_once(calls)
        assert not refusals
        assert len({answer.refresh_token for answer in answered}) == 1
        sessions = {session_in(answer.access_token) for answer in answered}
        assert sessions == {session_in(person.access_token)}
        # Every token that was handed out works, on each server, and so does the successor of them all.
        for number, answer in enumerate(answered):
            me = fleet.everywhere(answer.access_token)[number % 3]
            assert me.users.GetMe(user_service_pb2.GetMeRequest()).user.email == person.email
        listed = person.stubs.sessions.ListSessions(session_service_pb2.ListSessionsRequest()).sessions
        assert len(listed) == 1
        successor = answered[0].refresh_token
        stubs[1].auth.Refresh(auth_service_pb2.RefreshRequest(refresh_token=successor))

    def test_an_old_token_that_comes_back_ends_the_family_and_the_log_says_why(self, fleet: Fleet) -> None:
        person = fleet.people.new("victim")
        auth = [Stubs(channel).auth for channel in fleet.servers]
        stolen, latest, access = person.refresh_token, person.refresh_token, ""
        for number in range(3):
            answer = auth[number].Refresh(auth_service_pb2.RefreshRequest(refresh_token=latest))
            latest, access = answer.refresh_token, answer.access_token
        with refused(UNAUTHENTICATED, "REFRESH_TOKEN_REUSED"):
            auth[1].Refresh(auth_service_pb2.RefreshRequest(refresh_token=stolen))
        # The thief and the victim are out, on every server.
        with refused(UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
            auth[2].Refresh(auth_service_pb2.RefreshRequest(refresh_token=latest))
        for token in (person.access_token, access):
            probes = [
                partial(stubs.users.GetMe, user_service_pb2.GetMeRequest(), timeout=60)
                for stubs in fleet.everywhere(token)
            ]
            fleet.until(
                lambda probes=probes: {outcome(probe).code for probe in probes} == {UNAUTHENTICATED},  # type: ignore[misc]  # bound at once
                "the session is over everywhere",
                1,
            )
        with fleet.database() as connection:
            reasons = connection.execute(
                "select detail->>'reason' from kernel.audit where user_id is not distinct from %s and resource = %s"
                " and action = 'plinth.identity.session.revoked.v1'",
                [None, person.name],
            ).fetchall()
        assert reasons == [("REVOKE_REASON_TOKEN_REUSED",)]


def session_in(access_token: str) -> str:
    """The session that a token names."""
    return str(jwt.decode(access_token, options={"verify_signature": False})["sid"])


class TestInvite:
    def test_accepted_50_times_at_once_is_one_membership(self, office: Office) -> None:
        fleet, person = office.fleet, office.fleet.people.new("guest")
        office.owner.stubs.invites.CreateInvite(
            invite_service_pb2.CreateInviteRequest(
                parent=office.workspace,
                invite=invite_pb2.Invite(email=person.email, role=f"{office.workspace}/roles/member"),
            )
        )
        request = invite_service_pb2.AcceptInviteRequest(token=token_in(fleet.read_mail(person.email)[0]))
        ways = fleet.everywhere(person.access_token)[:2]
        answered, refusals = all_at_once(
            [patiently(partial(ways[number % 2].invites.AcceptInvite, request, timeout=60)) for number in range(50)]
        )
        assert not refusals
        assert len({answer.member.name for answer in answered}) == 1
        with fleet.database() as connection:
            happened = connection.execute(
                "select action, count(*) from kernel.audit where workspace_id = %s and user_id = %s group by action",
                [office.workspace.rpartition("/")[2], person.user_id],
            ).fetchall()
        assert dict(happened) == {"plinth.tenancy.member.added.v1": 1, "plinth.tenancy.invite.accepted.v1": 1}


class TestEtag:
    def test_of_many_changes_of_one_version_one_wins(self, office: Office) -> None:
        member = office.resource(office.member())
        ways = office.fleet.everywhere(office.owner.access_token)[:2]
        calls: list[Call] = []
        for number, role in zip(range(20), itertools.cycle(["viewer", "admin"])):
            change = member_pb2.Member(name=member.name, etag=member.etag, role=f"{office.workspace}/roles/{role}")
            request = member_service_pb2.UpdateMemberRequest(member=change)
            calls.append(partial(ways[number % 2].members.UpdateMember, request, timeout=60))
        answered, refusals = all_at_once(calls)
        assert len(answered) == 1
        assert {(one.code, one.reason) for one in refusals} == {(ABORTED, "ETAG_MISMATCH")}
        assert len(refusals) == 19
