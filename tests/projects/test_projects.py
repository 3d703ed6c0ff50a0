"""Projects: made, listed, changed, deleted and brought back."""

from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from plinth.projects.v1 import project_pb2, workflow_pb2
from plinth.projects.v1 import project_service_pb2 as projects
from plinth.tenancy.v1 import member_service_pb2 as members
from tests.projects.board import Board
from tests.support.acting import at_once
from tests.support.errors import Refusal, refusal_of, refused
from tests.support.people import Person

CODE = grpc.StatusCode
DUE = Timestamp(seconds=1_900_000_000)


def create(board: Board, person: Person | None = None, **fields: object) -> project_pb2.Project:
    wanted = project_pb2.Project(display_name="Apollo")
    wanted.MergeFrom(project_pb2.Project(**fields))  # type: ignore[arg-type]  # the fields of a project
    request = projects.CreateProjectRequest(parent=board.workspace, project=wanted)
    return (person or board.owner).stubs.projects.CreateProject(request).project


def update(board: Board, project: project_pb2.Project, *mask: str) -> project_pb2.Project:
    request = projects.UpdateProjectRequest(project=project)
    request.update_mask.paths.extend(mask)
    return board.owner.stubs.projects.UpdateProject(request).project


def undelete(board: Board, project: project_pb2.Project) -> project_pb2.Project:
    request = projects.UndeleteProjectRequest(name=project.name, etag=project.etag)
    return board.owner.stubs.projects.UndeleteProject(request).project


def listed(board: Board, filter: str = "", order_by: str = "", *, show_deleted: bool = False) -> list[str]:
    """The display names of all pages, two projects a page."""
    names, token = [], ""
    while True:
        request = projects.ListProjectsRequest(
            parent=board.workspace,
            page_size=2,
            page_token=token,
            filter=filter,
            order_by=order_by,
            show_deleted=show_deleted,
        )
        answer = board.team.viewer.stubs.projects.ListProjects(request)
        names += [project.display_name for project in answer.projects]
        token = answer.next_page_token
        if not token:
            return names


class TestCreate:
    def test_begins_in_the_first_state_of_the_default_workflow(self, board: Board) -> None:
        project = create(board, board.team.member, description="To the\nmoon", labels=["moon"], due_time=DUE)
        assert (project.state, project.state_category) == ("backlog", workflow_pb2.STATE_CATEGORY_BACKLOG)
        assert (project.author, project.assignee) == (board.team.member.name, "")
        assert (project.description, list(project.labels), project.due_time) == ("To the\nmoon", ["moon"], DUE)
        assert board.get_project(project) == project
        assert board.told()[-1] == "project.created"

    def test_a_living_projects_name_is_taken_whatever_its_case(self, board: Board) -> None:
        create(board)
        with refused(CODE.ALREADY_EXISTS, "PROJECT_NAME_TAKEN") as refusal:
            create(board, display_name="APOLLO")
        assert refusal.metadata == {"display_name": "APOLLO"}

    def test_of_eight_at_once_by_one_name_one_is_made(self, board: Board) -> None:
        board.project()

        def attempt() -> project_pb2.Project | Refusal:
            try:
                return create(board)
            except grpc.RpcError as error:
                return refusal_of(error)

        outcomes = at_once(8, attempt)
        assert sorted(one.reason for one in outcomes if isinstance(one, Refusal)) == ["PROJECT_NAME_TAKEN"] * 7

    def test_another_workspace_may_have_the_name(self, board: Board, other_board: Board) -> None:
        create(board)
        assert create(other_board).display_name == "Apollo"

    def test_only_members_can_be_assigned(self, board: Board, other_board: Board) -> None:
        assert create(board, assignee=board.team.viewer.name).assignee == board.team.viewer.name
        with refused(CODE.FAILED_PRECONDITION, "ASSIGNEE_NOT_MEMBER") as refusal:
            create(board, display_name="Gemini", assignee=other_board.owner.name)
        assert refusal.metadata == {"assignee": other_board.owner.name}

    def test_not_by_who_only_looks(self, board: Board) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            create(board, board.team.viewer)


class TestUpdate:
    def test_tells_what_was_and_what_is(self, board: Board) -> None:
        project = create(board, labels=["moon"])
        project.display_name, project.assignee = "Artemis", board.team.member.name
        after = update(board, project, "display_name", "assignee")
        assert (after.display_name, after.assignee, list(after.labels)) == ("Artemis", project.assignee, ["moon"])
        assert after.etag != project.etag
        [detail] = board.team.database.execute(
            "select detail from kernel.audit where workspace_id = %s and action = 'plinth.projects.project.updated.v1'",
            [board.workspace_id],
        ).fetchone() or [None]
        assert detail["changes"] == [
            {"field": "display_name", "oldValue": "Apollo", "newValue": "Artemis"},
            {"field": "assignee", "newValue": project.assignee},
        ]

    def test_what_changes_nothing_tells_nobody(self, board: Board) -> None:
        project = create(board)
        told = board.told()
        assert update(board, project) == project
        assert board.told() == told

    def test_everything_can_be_taken_away_but_the_name(self, board: Board) -> None:
        project = create(board, description="x", labels=["a"], due_time=DUE, assignee=board.owner.name)
        bare = project_pb2.Project(name=project.name, display_name="Apollo", etag=project.etag)
        after = update(board, bare, "*")
        assert (after.description, list(after.labels), after.HasField("due_time"), after.assignee) == (
            "",
            [],
            False,
            "",
        )
        bare.display_name, bare.etag = "", after.etag
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(board, bare, "display_name")
        assert refusal.fields == ["project.display_name"]

    def test_the_workflow_stays(self, board: Board) -> None:
        project = create(board)
        update(board, project)
        project.workflow = board.workflow(workflow_pb2.WORKFLOW_SUBJECT_PROJECT)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(board, project)
        assert refusal.fields == ["project.workflow"]

    def test_who_has_left_stays_assigned_until_somebody_says_otherwise(self, board: Board) -> None:
        person = board.person("member")
        project = create(board, assignee=person.name)
        person.stubs.members.LeaveWorkspace(members.LeaveWorkspaceRequest(name=board.workspace))
        project.description = "Still theirs"
        assert update(board, project).assignee == person.name
        other = create(board, display_name="Gemini")
        other.assignee = person.name
        with refused(CODE.FAILED_PRECONDITION, "ASSIGNEE_NOT_MEMBER"):
            update(board, other)

    def test_nothing_of_a_deleted_one(self, board: Board) -> None:
        deleted = board.delete_project(create(board))
        with refused(CODE.FAILED_PRECONDITION, "PROJECT_DELETED"):
            update(board, deleted)


class TestDelete:
    def test_can_be_looked_at_and_brought_back_as_it_was(self, board: Board) -> None:
        project = board.move_project(create(board), "planned").project
        deleted = board.delete_project(project)
        assert (deleted.purge_time.seconds - deleted.delete_time.seconds) == 30 * 24 * 3600
        assert board.get_project(project) == deleted
        assert listed(board) == []
        assert listed(board, show_deleted=True) == ["Apollo"]
        back = undelete(board, deleted)
        assert (back.state, back.HasField("delete_time"), back.HasField("purge_time")) == ("planned", False, False)
        assert listed(board) == ["Apollo"]
        assert board.told()[-2:] == ["project.deleted", "project.undeleted"]

    def test_twice_is_once(self, board: Board) -> None:
        deleted = board.delete_project(create(board))
        assert board.delete_project(deleted) == deleted
        back = undelete(board, deleted)
        assert undelete(board, back) == back
        assert board.told()[-2:] == ["project.deleted", "project.undeleted"]

    def test_its_name_is_free_and_may_be_taken_when_it_comes_back(self, board: Board) -> None:
        deleted = board.delete_project(create(board))
        create(board)
        with refused(CODE.ALREADY_EXISTS, "PROJECT_NAME_TAKEN"):
            undelete(board, deleted)

    def test_not_by_a_member(self, board: Board) -> None:
        project = create(board)
        request = projects.DeleteProjectRequest(name=project.name, etag=project.etag)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            board.team.member.stubs.projects.DeleteProject(request)


class TestList:
    @pytest.fixture
    def five(self, board: Board) -> Board:
        """Five projects: the first two assigned, the third planned, the fourth due, the fifth deleted."""
        made = [
            create(board, display_name="Ares", assignee=board.owner.name, labels=["mars", "old"]),
            create(board, display_name="Boreas", assignee=board.team.member.name, labels=["wind"]),
            create(board, display_name="Ceres"),
            create(board, display_name="Demeter", due_time=DUE),
            create(board, display_name="Eros"),
        ]
        board.move_project(made[2], "planned")
        board.delete_project(made[4])
        return board

    def test_is_in_order_of_making(self, five: Board) -> None:
        assert listed(five) == ["Ares", "Boreas", "Ceres", "Demeter"]

    @pytest.mark.parametrize(
        ("filter", "names"),
        [
            ('state = "planned"', ["Ceres"]),
            ("state_category = STATE_CATEGORY_BACKLOG", ["Ares", "Boreas", "Demeter"]),
            ('labels : "mars"', ["Ares"]),
            ("assignee : *", ["Ares", "Boreas"]),
            ("NOT assignee : *", ["Ceres", "Demeter"]),
            ('display_name : "res"', ["Ares", "Ceres"]),
            ('create_time < "2026-01-01T00:00:00Z" OR update_time < "2026-01-01T00:00:00Z"', []),
            ('display_name = "B*" OR due_time > "2030-01-01T00:00:00Z"', ["Boreas", "Demeter"]),
        ],
    )
    def test_is_filtered(self, five: Board, filter: str, names: list[str]) -> None:
        assert listed(five, filter) == names

    def test_by_people_and_workflows(self, five: Board) -> None:
        assert listed(five, f'assignee = "{five.team.member.name}"') == ["Boreas"]
        workflow = five.get_project(create(five, display_name="Fama")).workflow
        assert len(listed(five, f'workflow = "{workflow}" AND author = "{five.owner.name}"')) == 5

    @pytest.mark.parametrize(
        ("order_by", "names"),
        [
            ("display_name desc", ["Demeter", "Ceres", "Boreas", "Ares"]),
            ("due_time", ["Demeter", "Ares", "Boreas", "Ceres"]),
            ("create_time desc", ["Demeter", "Ceres", "Boreas", "Ares"]),
            ("update_time desc", ["Ceres", "Demeter", "Boreas", "Ares"]),
        ],
    )
    def test_is_sorted(self, five: Board, order_by: str, names: list[str]) -> None:
        assert listed(five, order_by=order_by) == names

    def test_deleted_ones_are_found_where_asked_for(self, five: Board) -> None:
        assert listed(five, "delete_time : *", show_deleted=True) == ["Eros"]

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("filter", "colour = 'red'", "FILTER_INVALID"),
            ("filter", "state_category = STARTED", "FILTER_INVALID"),
            ("order_by", "state", "ORDER_BY_INVALID"),
        ],
    )
    def test_what_it_does_not_know_is_refused(self, board: Board, field: str, value: str, reason: str) -> None:
        request = projects.ListProjectsRequest(parent=board.workspace, **{field: value})  # type: ignore[arg-type]
        with refused(CODE.INVALID_ARGUMENT, reason) as refusal:
            board.owner.stubs.projects.ListProjects(request)
        assert refusal.fields == [field]


def test_times_are_told_as_they_were_set(board: Board) -> None:
    project = create(board, due_time=DUE)
    assert project.due_time.ToDatetime(UTC) == datetime.fromtimestamp(DUE.seconds, UTC)
