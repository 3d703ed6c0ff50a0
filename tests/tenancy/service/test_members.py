"""Members, their roles, and the owner who never goes missing."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import grpc
import pytest

from plinth.tenancy.v1 import member_pb2, member_service_pb2_grpc
from plinth.tenancy.v1 import member_service_pb2 as members
from services.wiring import Mesh
from tests.support.errors import refusal_of, refused
from tests.support.people import People, Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode


def transfer(team: Team, heir: Person, *, keep: bool = False, etag: str = "") -> members.TransferOwnershipResponse:
    request = members.TransferOwnershipRequest(
        name=team.workspace,
        member=team.name_of(heir),
        etag=etag or team.member_of(heir).etag,
        keep_ownership=keep,
    )
    return team.owner.stubs.members.TransferOwnership(request)


class TestList:
    def test_shows_who_everybody_is(self, team: Team) -> None:
        people = [team.owner, team.admin, team.viewer]
        assert [(member.user, member.email) for member in team.members()] == [(p.name, p.email) for p in people]
        assert all(member.display_name for member in team.members())

    def test_pages_to_the_end(self, team: Team) -> None:
        expected = [team.name_of(person) for person in (team.owner, team.admin, team.member, team.viewer)]
        names, token = [], ""
        while True:
            request = members.ListMembersRequest(parent=team.workspace, page_size=1, page_token=token)
            answer = team.viewer.stubs.members.ListMembers(request)
            names += [member.name for member in answer.members]
            token = answer.next_page_token
            if not token:
                break
        assert names == expected

    def test_get_shows_one(self, team: Team) -> None:
        assert team.member_of(team.member).email == team.member.email

    def test_somebody_who_is_no_member_is_not_found(self, team: Team, other_team: Team) -> None:
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.member_of(other_team.owner)


class TestUpdate:
    def test_new_role_counts_from_the_next_call(self, team: Team) -> None:
        assert team.held(team.viewer, "workspace.manage") == []
        team.set_role(team.owner, team.viewer, "admin")
        assert team.held(team.viewer, "workspace.manage") == ["workspace.manage"]

    def test_stale_etag_is_refused(self, team: Team) -> None:
        stale = team.member_of(team.viewer)
        team.set_role(team.owner, team.viewer, "member")
        stale.role = team.role("admin")
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            team.owner.stubs.members.UpdateMember(members.UpdateMemberRequest(member=stale))

    def test_missing_etag_is_refused(self, team: Team) -> None:
        wanted = member_pb2.Member(name=team.name_of(team.viewer), role=team.role("member"))
        with refused(CODE.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            team.owner.stubs.members.UpdateMember(members.UpdateMemberRequest(member=wanted))

    def test_same_role_changes_nothing_and_tells_nobody(self, team: Team) -> None:
        before = team.member_of(team.viewer)
        assert team.set_role(team.owner, team.viewer, "viewer") == before
        assert "member.updated" not in team.actions()

    def test_nobody_gives_a_role_above_their_own(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            team.set_role(team.admin, team.viewer, "owner")
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            team.set_role(team.admin, team.admin, "owner")

    def test_nobody_demotes_a_member_above_themselves(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            team.set_role(team.admin, team.owner, "viewer")

    def test_last_owner_cannot_be_demoted(self, team: Team) -> None:
        with refused(CODE.FAILED_PRECONDITION, "LAST_OWNER"):
            team.set_role(team.owner, team.owner, "admin")

    def test_role_of_another_workspace_is_not_found(self, team: Team, other_team: Team) -> None:
        role = other_team.new_role(other_team.owner, "members.read")
        wanted = team.member_of(team.viewer)
        for foreign in (role.name, other_team.role("admin")):
            wanted.role = foreign
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                team.owner.stubs.members.UpdateMember(members.UpdateMemberRequest(member=wanted))

    def test_plane_9008_an_own_workspace_with_a_foreign_role_id_is_not_found(
        self, team: Team, other_team: Team
    ) -> None:
        foreign = other_team.new_role(other_team.owner, "members.read").name.rpartition("/")[2]
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.set_role(team.owner, team.viewer, foreign)


class TestRemove:
    def test_removed_member_is_refused_at_the_next_call(self, team: Team) -> None:
        team.get(team.member)
        team.remove(team.admin, team.member)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.get(team.member)

    def test_nobody_removes_a_member_above_themselves(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            team.remove(team.admin, team.owner)

    def test_last_owner_cannot_be_removed(self, team: Team) -> None:
        with refused(CODE.FAILED_PRECONDITION, "LAST_OWNER"):
            team.remove(team.owner, team.owner)

    def test_stale_etag_is_refused(self, team: Team) -> None:
        stale = team.member_of(team.viewer)
        team.set_role(team.owner, team.viewer, "member")
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            team.owner.stubs.members.RemoveMember(members.RemoveMemberRequest(name=stale.name, etag=stale.etag))

    @pytest.mark.parametrize("plane", ["plane_9008", "plane_8644", "plane_9212"])
    def test_member_of_another_workspace_stays_out_of_reach(self, team: Team, other_team: Team, plane: str) -> None:
        del plane
        victim = other_team.member_of(other_team.member)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.members.RemoveMember(members.RemoveMemberRequest(name=victim.name, etag=victim.etag))
        swapped = f"{team.workspace}/members/{other_team.member.user_id}"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.members.RemoveMember(members.RemoveMemberRequest(name=swapped, etag=victim.etag))
        assert other_team.member_of(other_team.member) == victim

    def test_keycloak_cve_2026_2366_memberships_of_others_are_not_told(self, team: Team, other_team: Team) -> None:
        for person in (other_team.owner, other_team.member):
            name = other_team.name_of(person)
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                team.owner.stubs.members.GetMember(members.GetMemberRequest(name=name))


class TestLeave:
    def test_ends_ones_own_membership(self, team: Team) -> None:
        team.leave(team.viewer)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.get(team.viewer)
        assert team.actions()[-1] == "member.left"

    def test_last_owner_stays(self, team: Team) -> None:
        with refused(CODE.FAILED_PRECONDITION, "LAST_OWNER"):
            team.leave(team.owner)

    def test_plane_two_owners_leaving_at_once_leave_one(self, team: Team) -> None:
        for _ in range(5):
            partner = team.people.member(team.owner, team.workspace, "owner")

            def go(person: Person) -> str:
                try:
                    team.leave(person)
                except grpc.RpcError as error:
                    return refusal_of(error).reason
                return "left"

            with ThreadPoolExecutor(2) as pool:
                outcomes = sorted(pool.map(go, [team.owner, partner]))
            assert outcomes == ["LAST_OWNER", "left"]
            rows = team.database.execute(
                "select user_id from tenancy.members where workspace_id = %s and role = 'owner'",
                [team.workspace.removeprefix("workspaces/")],
            ).fetchall()
            (survivor,) = [row[0] for row in rows]
            team.owner = team.owner if team.owner.user_id == survivor else partner

    def test_owners_who_demote_each_other_at_once_leave_one(self, team: Team) -> None:
        partner = team.people.member(team.owner, team.workspace, "owner")
        etags = {person.email: team.member_of(person).etag for person in (team.owner, partner)}

        def demote(actor: Person, victim: Person) -> str:
            wanted = member_pb2.Member(name=team.name_of(victim), role=team.role("viewer"), etag=etags[victim.email])
            try:
                actor.stubs.members.UpdateMember(members.UpdateMemberRequest(member=wanted))
            except grpc.RpcError as error:
                return refusal_of(error).reason
            return "done"

        with ThreadPoolExecutor(2) as pool:
            outcomes = sorted(pool.map(demote, [team.owner, partner], [partner, team.owner]))
        # Whoever comes second is measured by the role that is left to them.
        assert outcomes in (["PERMISSION_DENIED", "done"], ["ROLE_ABOVE_OWN", "done"])


class TestTransferOwnership:
    def test_caller_becomes_an_admin(self, team: Team) -> None:
        answer = transfer(team, team.member)
        assert answer.new_owner.role == team.role("owner")
        assert answer.previous_owner.role == team.role("admin")
        assert team.held(team.member, "workspace.own") == ["workspace.own"]
        assert team.held(team.owner, "workspace.own", "members.manage") == ["members.manage"]

    def test_caller_may_stay_an_owner_beside_them(self, team: Team) -> None:
        answer = transfer(team, team.member, keep=True)
        assert (answer.new_owner.role, answer.previous_owner.role) == (team.role("owner"), team.role("owner"))

    def test_is_for_owners(self, team: Team) -> None:
        request = members.TransferOwnershipRequest(
            name=team.workspace, member=team.name_of(team.admin), etag=team.member_of(team.admin).etag
        )
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            team.admin.stubs.members.TransferOwnership(request)

    def test_goes_to_another_member_only(self, team: Team, other_team: Team) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            transfer(team, team.owner)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            transfer(team, other_team.owner, etag="1")
        foreign = members.TransferOwnershipRequest(
            name=team.workspace, member=other_team.name_of(other_team.owner), etag="1"
        )
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.members.TransferOwnership(foreign)

    def test_twice_with_one_request_id_happens_once(self, team: Team) -> None:
        request = members.TransferOwnershipRequest(
            name=team.workspace,
            member=team.name_of(team.member),
            etag=team.member_of(team.member).etag,
            keep_ownership=True,
            request_id=str(uuid4()),
        )
        first = team.owner.stubs.members.TransferOwnership(request)
        assert team.owner.stubs.members.TransferOwnership(request) == first
        assert team.actions().count("ownership.transferred") == 1


class TestRemoveUser:
    @staticmethod
    def remove(mesh: Mesh, person: Person) -> None:
        stub = member_service_pb2_grpc.MemberServiceStub(mesh.channel("identity", "tenancy"))
        stub.RemoveUser(members.RemoveUserRequest(user=person.name))

    def test_ends_every_membership(self, team: Team, other_team: Team, mesh: Mesh) -> None:
        person = team.member
        team.people.join(other_team.owner, other_team.workspace, person, "viewer")
        self.remove(mesh, person)
        for there in (team, other_team):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                there.get(person)
            assert there.actions()[-1] == "member.removed"
        self.remove(mesh, person)

    def test_sole_owner_is_refused_and_keeps_all(self, team: Team, other_team: Team, mesh: Mesh) -> None:
        team.people.join(other_team.owner, other_team.workspace, team.owner, "viewer")
        with refused(CODE.FAILED_PRECONDITION, "SOLE_OWNER") as refusal:
            self.remove(mesh, team.owner)
        assert refusal.metadata["workspaces"] == team.workspace
        assert other_team.get(team.owner).name == other_team.workspace

    def test_deleted_workspaces_stand_in_nobodys_way(self, team: Team, mesh: Mesh) -> None:
        team.delete()
        self.remove(mesh, team.owner)

    def test_owners_who_go_at_once_leave_one(self, people: People, mesh: Mesh) -> None:
        owner = people.new("owner")
        workspace = people.workspace_of(owner).name
        partner = people.member(owner, workspace, "owner")

        def go(person: Person) -> str:
            try:
                self.remove(mesh, person)
            except grpc.RpcError as error:
                return refusal_of(error).reason
            return "gone"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(go, [owner, partner])) == ["SOLE_OWNER", "gone"]

    def test_is_not_offered_to_people(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "METHOD_DENIED"):
            team.owner.stubs.members.RemoveUser(members.RemoveUserRequest(user=team.owner.name))
