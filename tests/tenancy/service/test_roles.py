"""Roles, built-in and custom."""

import grpc
import pytest

from plinth.tenancy.v1 import role_pb2
from plinth.tenancy.v1 import role_service_pb2 as roles
from tests.support.errors import refused
from tests.support.people import Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode


def update(person: Person, role: role_pb2.Role, *mask: str) -> role_pb2.Role:
    request = roles.UpdateRoleRequest(role=role)
    request.update_mask.paths.extend(mask)
    return person.stubs.roles.UpdateRole(request).role


def delete(person: Person, role: role_pb2.Role) -> None:
    person.stubs.roles.DeleteRole(roles.DeleteRoleRequest(name=role.name, etag=role.etag))


def with_role(team: Team, role: role_pb2.Role) -> Person:
    return team.people.member(team.owner, team.workspace, role.name.rpartition("/")[2])


class TestBuiltIn:
    def test_stand_first_in_the_list_to_the_last_page(self, team: Team) -> None:
        made = [team.new_role(team.owner, "members.read", display_name=f"Role {number}") for number in range(3)]
        expected = [*map(team.role, ("owner", "admin", "member", "viewer")), *(role.name for role in made)]
        for page_size in (1, 2, 4, 5, 500):
            names, token = [], ""
            while True:
                request = roles.ListRolesRequest(parent=team.workspace, page_size=page_size, page_token=token)
                answer = team.viewer.stubs.roles.ListRoles(request)
                assert len(answer.roles) <= page_size
                names += [role.name for role in answer.roles]
                token = answer.next_page_token
                if not token:
                    break
            assert names == expected

    def test_hold_what_the_contract_says(self, team: Team) -> None:
        def held(role_id: str) -> set[str]:
            role = team.owner.stubs.roles.GetRole(roles.GetRoleRequest(name=team.role(role_id))).role
            assert role.built_in
            return set(role.permissions)

        assert {"workspace.read", "members.read"} <= held("viewer") <= held("member")
        assert held("member") < held("admin") < held("owner")
        assert held("owner") - held("admin") == {"workspace.delete", "workspace.own"}
        assert {"audit.read", "members.invite", "roles.manage"} <= held("admin") - held("member")

    def test_cannot_be_changed(self, team: Team) -> None:
        viewer = role_pb2.Role(name=team.role("viewer"), display_name="Other", etag="1")
        with refused(CODE.FAILED_PRECONDITION, "ROLE_BUILT_IN"):
            update(team.owner, viewer)
        with refused(CODE.FAILED_PRECONDITION, "ROLE_BUILT_IN"):
            delete(team.owner, viewer)


class TestCreate:
    def test_plane_6792_and_zitadel_5257_custom_role_does_what_it_lists_and_nothing_else(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", "members.invite", display_name="Recruiter")
        assert not role.built_in
        recruiter = with_role(team, role)
        assert team.held(recruiter, "members.invite", "members.manage", "members.read") == ["members.invite"]

    def test_nobody_makes_a_role_above_their_own(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN") as refusal:
            team.new_role(team.admin, "workspace.read", "workspace.delete")
        assert refusal.metadata["missing"] == "workspace.delete"

    @pytest.mark.parametrize("permission", ["workspace.fly", "workspace.own", "WORKSPACE.READ", "*", "x" * 70])
    def test_permission_must_be_one_that_can_be_given(self, team: Team, permission: str) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            team.new_role(team.owner, "workspace.read", permission)
        assert refusal.fields[0].startswith("role.permissions")

    def test_needs_a_permission(self, team: Team) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            team.new_role(team.owner)

    def test_is_not_called_as_a_built_in_one(self, team: Team) -> None:
        for name in ("Owner", "viewer", "ADMIN"):
            with refused(CODE.ALREADY_EXISTS, "ROLE_NAME_TAKEN"):
                team.new_role(team.owner, "workspace.read", display_name=name)

    def test_name_is_taken_once_whatever_its_case(self, team: Team, other_team: Team) -> None:
        team.new_role(team.owner, "workspace.read", display_name="Auditor")
        with refused(CODE.ALREADY_EXISTS, "ROLE_NAME_TAKEN"):
            team.new_role(team.owner, "workspace.read", display_name="AUDITOR")
        other_team.new_role(other_team.owner, "workspace.read", display_name="Auditor")

    def test_member_may_not(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            team.new_role(team.member, "workspace.read")


class TestUpdate:
    def test_counts_from_the_next_call_of_everybody_who_has_it(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", "members.read")
        person = with_role(team, role)
        assert team.held(person, "members.read", "audit.read") == ["members.read"]
        role.permissions[:] = ["workspace.read", "audit.read"]
        update(team.owner, role, "permissions")
        assert team.held(person, "members.read", "audit.read") == ["audit.read"]

    def test_mask_leaves_the_rest(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", display_name="Before")
        wanted = role_pb2.Role(name=role.name, etag=role.etag, display_name="After", description="ignored")
        after = update(team.owner, wanted, "display_name")
        assert (after.display_name, after.description, list(after.permissions)) == ("After", "", ["workspace.read"])

    def test_stale_and_missing_etags_are_refused(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read")
        role.description = "First"
        update(team.owner, role)
        role.description = "Second"
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            update(team.owner, role)
        role.etag = ""
        with refused(CODE.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            update(team.owner, role)

    def test_nobody_changes_a_role_above_their_own(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", "workspace.delete")
        role.display_name = "Mine"
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            update(team.admin, role)
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            delete(team.admin, role)

    def test_nobody_lifts_themselves_by_their_own_role(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read", "members.read", "roles.manage")
        person = with_role(team, role)
        role.permissions.append("audit.read")
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            update(person, role)

    def test_unchanged_role_tells_nobody(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read")
        assert update(team.owner, role) == role
        assert "role.updated" not in team.actions()


class TestDelete:
    def test_of_an_unused_role(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read")
        delete(team.owner, role)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.roles.GetRole(roles.GetRoleRequest(name=role.name))

    def test_is_refused_while_a_member_has_it(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read")
        person = with_role(team, role)
        with refused(CODE.FAILED_PRECONDITION, "ROLE_IN_USE"):
            delete(team.owner, role)
        team.set_role(team.owner, person, "viewer")
        delete(team.owner, role)

    def test_is_refused_while_a_pending_invite_gives_it(self, team: Team) -> None:
        role = team.new_role(team.owner, "workspace.read")
        team.invite(team.owner, team.people.address(), role.name.rpartition("/")[2])
        with refused(CODE.FAILED_PRECONDITION, "ROLE_IN_USE"):
            delete(team.owner, role)
        team.let_invites_expire()
        delete(team.owner, role)

    def test_role_of_another_workspace_stays_out_of_reach(self, team: Team, other_team: Team) -> None:
        foreign = other_team.new_role(other_team.owner, "workspace.read")
        swapped = role_pb2.Role(name=foreign.name.replace(other_team.workspace, team.workspace), etag=foreign.etag)
        for target in (foreign, swapped):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                delete(team.owner, target)
        assert other_team.owner.stubs.roles.GetRole(roles.GetRoleRequest(name=foreign.name)).role == foreign
