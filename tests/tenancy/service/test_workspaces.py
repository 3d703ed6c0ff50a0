"""Workspaces, as their people meet them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from uuid import uuid4

import grpc
import pytest

from plinth.tenancy.v1 import workspace_pb2
from plinth.tenancy.v1 import workspace_service_pb2 as workspaces
from tests.support.errors import refused
from tests.support.people import People, Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode


def create(person: Person, display_name: str = "Acme", request_id: str = "") -> workspace_pb2.Workspace:
    request = workspaces.CreateWorkspaceRequest(
        workspace=workspace_pb2.Workspace(display_name=display_name), request_id=request_id
    )
    return person.stubs.workspaces.CreateWorkspace(request).workspace


def listed(person: Person, page_size: int = 0, *, show_deleted: bool = False) -> list[str]:
    names, token = [], ""
    while True:
        answer = person.stubs.workspaces.ListWorkspaces(
            workspaces.ListWorkspacesRequest(page_size=page_size, page_token=token, show_deleted=show_deleted)
        )
        names += [workspace.name for workspace in answer.workspaces]
        assert len(answer.workspaces) <= (page_size or 50)
        token = answer.next_page_token
        if not token:
            return names


def rename(person: Person, workspace: workspace_pb2.Workspace, *mask: str) -> workspace_pb2.Workspace:
    request = workspaces.UpdateWorkspaceRequest(workspace=workspace)
    request.update_mask.paths.extend(mask)
    return person.stubs.workspaces.UpdateWorkspace(request).workspace


class TestCreate:
    def test_creator_becomes_the_owner(self, team: Team) -> None:
        (member,) = team.members()
        assert member.role == team.role("owner")
        assert member.email == team.owner.email
        assert team.actions() == ["workspace.created", "member.added"]

    def test_needs_a_verified_address(self, people: People) -> None:
        with refused(CODE.FAILED_PRECONDITION, "EMAIL_NOT_VERIFIED"):
            create(people.new(verified=False))

    def test_zitadel_7543_a_write_is_visible_to_the_very_next_call(self, people: People) -> None:
        person = people.new()
        for number in range(20):
            workspace = create(person, f"Acme {number}")
            got = person.stubs.workspaces.GetWorkspace(workspaces.GetWorkspaceRequest(name=workspace.name))
            assert got.workspace == workspace

    @pytest.mark.parametrize(
        "display_name", ["", " ", " Acme", "Acme ", "A\ncme", "Ac\u2028me", "A\u202ecme", "x" * 101, "\x00"]
    )
    def test_name_must_be_one_clean_line(self, team: Team, display_name: str) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            create(team.owner, display_name)
        assert refusal.fields

    def test_same_request_id_sent_fifty_times_at_once_creates_one(self, people: People) -> None:
        person, request_id = people.new(), str(uuid4())
        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(create, person, "Acme", request_id) for _ in range(50)]
            names = {call.result().name for call in calls}
        assert len(names) == 1
        assert listed(person) == list(names)

    def test_same_request_id_with_another_name_is_refused(self, people: People) -> None:
        person, request_id = people.new(), str(uuid4())
        create(person, "Acme", request_id)
        with refused(CODE.INVALID_ARGUMENT, "REQUEST_ID_REUSED"):
            create(person, "Other", request_id)


class TestList:
    def test_shows_mine_and_nobody_elses_to_the_last_page(self, team: Team, other_team: Team) -> None:
        mine = [team.workspace, *(create(team.owner, f"Acme {number}").name for number in range(4))]
        for page_size in (1, 2, 5, 500):
            assert listed(team.owner, page_size) == mine
        assert other_team.workspace not in listed(team.owner)

    def test_shows_what_i_was_invited_to(self, team: Team) -> None:
        assert listed(team.member) == [team.workspace]

    def test_page_token_of_another_query_is_refused(self, team: Team) -> None:
        create(team.owner)
        first = team.owner.stubs.workspaces.ListWorkspaces(workspaces.ListWorkspacesRequest(page_size=1))
        with refused(CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            team.owner.stubs.workspaces.ListWorkspaces(
                workspaces.ListWorkspacesRequest(page_token=first.next_page_token, show_deleted=True)
            )

    def test_page_token_of_somebody_else_is_refused(self, team: Team, other_team: Team) -> None:
        create(team.owner)
        first = team.owner.stubs.workspaces.ListWorkspaces(workspaces.ListWorkspacesRequest(page_size=1))
        with refused(CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            other_team.owner.stubs.workspaces.ListWorkspaces(
                workspaces.ListWorkspacesRequest(page_token=first.next_page_token)
            )


class TestUpdate:
    def test_changes_the_name_and_the_etag(self, team: Team) -> None:
        before = team.get(team.owner)
        after = rename(team.admin, workspace_pb2.Workspace(name=before.name, etag=before.etag, display_name="New"))
        assert after.display_name == "New"
        assert after.etag != before.etag
        assert team.get(team.viewer) == after

    def test_stale_etag_is_refused(self, team: Team) -> None:
        before = team.get(team.owner)
        wanted = workspace_pb2.Workspace(name=before.name, etag=before.etag, display_name="New")
        rename(team.owner, wanted)
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            rename(team.owner, wanted)

    def test_missing_etag_is_refused(self, team: Team) -> None:
        with refused(CODE.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            rename(team.owner, workspace_pb2.Workspace(name=team.workspace, display_name="New"))

    def test_same_name_changes_nothing_and_tells_nobody(self, team: Team) -> None:
        before = team.get(team.owner)
        assert rename(team.owner, before) == before
        assert "workspace.updated" not in team.actions()

    def test_mask_without_a_value_is_refused(self, team: Team) -> None:
        before = team.get(team.owner)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            rename(team.owner, workspace_pb2.Workspace(name=before.name, etag=before.etag), "display_name")
        assert refusal.fields == ["workspace.display_name"]

    def test_unknown_mask_is_refused(self, team: Team) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            rename(team.owner, team.get(team.owner), "create_time")
        assert refusal.fields == ["update_mask"]

    def test_member_may_not(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED") as refusal:
            rename(team.member, team.get(team.member))
        assert refusal.metadata == {"permission": "workspace.manage"}


class TestDelete:
    def test_closes_the_workspace_to_its_members_at_once(self, team: Team) -> None:
        team.get(team.member)
        team.get(team.admin)
        team.delete()
        for person in (team.member, team.admin):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                team.get(person)

    def test_leaves_the_owner_the_way_back_and_no_other(self, team: Team) -> None:
        deleted = team.delete()
        assert team.get(team.owner) == deleted
        assert team.held(team.owner, "workspace.read", "workspace.manage", "workspace.delete") == [
            "workspace.read",
            "workspace.delete",
        ]
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            rename(team.owner, deleted)

    def test_purges_thirty_days_later(self, team: Team) -> None:
        deleted = team.delete()
        wait = deleted.purge_time.ToDatetime(UTC) - deleted.delete_time.ToDatetime(UTC)
        assert wait == timedelta(days=30)

    def test_deleted_ones_are_listed_on_demand_for_those_who_may_undelete(self, team: Team) -> None:
        member = team.member
        team.delete()
        assert listed(team.owner) == []
        assert listed(team.owner, show_deleted=True) == [team.workspace]
        assert listed(member, show_deleted=True) == []

    def test_again_changes_nothing(self, team: Team) -> None:
        deleted = team.delete()
        assert team.delete() == deleted

    def test_is_for_owners(self, team: Team) -> None:
        request = workspaces.DeleteWorkspaceRequest(name=team.workspace, etag=team.get(team.owner).etag)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            team.admin.stubs.workspaces.DeleteWorkspace(request)


class TestUndelete:
    def test_brings_back_everything(self, team: Team) -> None:
        member = team.member
        deleted = team.delete()
        request = workspaces.UndeleteWorkspaceRequest(name=team.workspace, etag=deleted.etag)
        back = team.owner.stubs.workspaces.UndeleteWorkspace(request).workspace
        assert not back.HasField("delete_time")
        assert team.get(member) == back
        assert listed(member) == [team.workspace]

    def test_of_a_living_one_changes_nothing(self, team: Team) -> None:
        living = team.get(team.owner)
        request = workspaces.UndeleteWorkspaceRequest(name=team.workspace, etag=living.etag)
        assert team.owner.stubs.workspaces.UndeleteWorkspace(request).workspace == living

    def test_comes_too_late_after_the_purge_time(self, team: Team) -> None:
        deleted = team.delete()
        team.database.execute(
            "update tenancy.workspaces set purge_time = now() where workspace_id = %s",
            [team.workspace.removeprefix("workspaces/")],
        )
        assert listed(team.owner, show_deleted=True) == []
        request = workspaces.UndeleteWorkspaceRequest(name=team.workspace, etag=deleted.etag)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.workspaces.UndeleteWorkspace(request)
