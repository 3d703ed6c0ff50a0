"""Activity as a projection: every deed once, newest first, at the same cost on every page."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from sqlalchemy import text

from plinth.projects.v1 import activity_pb2, project_pb2
from plinth.projects.v1 import activity_service_pb2 as pb
from plinth.projects.v1 import project_service_pb2 as projects
from plinth.tenancy.v1.events_pb2 import WorkspacePurged
from services.kernel.caller import Caller
from services.kernel.db import Scope, Session
from services.kernel.outbox import event_type
from services.kernel.paging import Page
from services.projects import subscribers
from services.projects.convert.activity import activity_of, activity_to_proto
from services.projects.model.activity import Activity
from services.projects.repository import activity as rows
from services.projects.service import ProjectsServices
from services.runtime import Runtime
from tests.projects.board import APPROVE, PROJECT, Board
from tests.projects.worker import working
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.waiting import until

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def _projected(runtime: Runtime, services: ProjectsServices) -> Iterator[None]:
    with working(runtime, subscribers.subscriptions(services)):
        yield


def listed(board: Board, parent: str = "", filter: str = "", page_size: int = 0) -> list[activity_pb2.Activity]:
    """All of it, page by page."""
    found: list[activity_pb2.Activity] = []
    token = ""
    while True:
        request = pb.ListActivityRequest(
            parent=parent or board.workspace, filter=filter, page_size=page_size, page_token=token
        )
        answer = board.owner.stubs.activity.ListActivity(request)
        found += answer.activities
        token = answer.next_page_token
        if not token:
            return found


def told(board: Board, parent: str = "", filter: str = "") -> list[tuple[str, str]]:
    """Verb and last part of the kind of resource, newest first."""
    return [(one.verb, one.resource.split("/")[-2]) for one in listed(board, parent, filter)]


def await_all(board: Board) -> None:
    """Until the projection has told of everything that was done here."""
    until(lambda: len(listed(board)) == len(board.told()), "the projection")


@pytest.fixture
def story(board: Board, _projected: None) -> project_pb2.Project:
    """A project of a workflow with an approval; with a task, a move and a rename."""
    project = board.project(workflow=board.reviewed(PROJECT, 1), display_name="Apollo")
    task = board.task(project, display_name="Fuel")
    board.move_task(task, "doing", comment="now")
    board.move_project(project, "review")
    approval = board.move_project(project, "done", board.team.member, comment="please").approval
    board.decide(approval, board.owner, APPROVE, comment="granted")
    project = board.get_project(project)
    project.display_name = "Artemis"
    board.owner.stubs.projects.UpdateProject(projects.UpdateProjectRequest(project=project))
    board.project(display_name="Elsewhere")
    await_all(board)
    return project


class TestListActivity:
    def test_tells_everything_newest_first(self, board: Board, story: project_pb2.Project) -> None:
        assert told(board)[:9] == [
            ("created", "projects"),
            ("updated", "projects"),
            ("transitioned", "projects"),
            ("decided", "approvals"),
            ("requested", "approvals"),
            ("transitioned", "projects"),
            ("transitioned", "tasks"),
            ("created", "tasks"),
            ("created", "projects"),
        ]
        assert {verb for verb, kind in told(board) if kind == "workflows"} == {"created"}

    def test_of_one_project_with_its_tasks_and_approvals(self, board: Board, story: project_pb2.Project) -> None:
        of_project = listed(board, story.name)
        assert len(of_project) == 8
        assert {one.project for one in of_project} == {story.name}
        assert of_project == [one for one in listed(board) if one.project == story.name]

    def test_says_who_what_and_why(self, board: Board, story: project_pb2.Project) -> None:
        renamed, approved, decided, requested, *_ = listed(board, story.name)
        assert (renamed.actor, renamed.verb) == (board.owner.name, "updated")
        assert [(c.field, c.old_value, c.new_value) for c in renamed.changes] == [("display_name", "Apollo", "Artemis")]
        assert (approved.comment, requested.comment, decided.comment) == ("please", "please", "granted")
        assert requested.actor == board.team.member.name
        assert approved.time.ToDatetime() <= renamed.time.ToDatetime()

    def test_filters(self, board: Board, story: project_pb2.Project) -> None:
        assert told(board, filter="verb = transitioned AND resource:tasks") == [("transitioned", "tasks")]
        assert told(board, filter=f"actor = {board.team.member.name}") == [("requested", "approvals")]
        assert told(board, filter=f'resource = "{story.name}*" verb = created') == [
            ("created", "tasks"),
            ("created", "projects"),
        ]
        assert told(board, filter="time < 2020-01-01T00:00:00Z") == []
        with refused(CODE.INVALID_ARGUMENT, "FILTER_INVALID") as refusal:
            told(board, filter="cursor = 1")
        assert refusal.fields == ["filter"]

    @pytest.mark.parametrize("page_size", [1, 3])
    def test_pages_are_the_whole(self, board: Board, story: project_pb2.Project, page_size: int) -> None:
        assert listed(board, page_size=page_size) == listed(board)
        assert listed(board, story.name, page_size=page_size) == listed(board, story.name)

    def test_viewers_look_and_outsiders_do_not(
        self, board: Board, other_board: Board, story: project_pb2.Project
    ) -> None:
        request = pb.ListActivityRequest(parent=story.name)
        assert board.team.viewer.stubs.activity.ListActivity(request).activities
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            other_board.owner.stubs.activity.ListActivity(request)
        elsewhere = story.name.replace(board.workspace, other_board.workspace)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            other_board.owner.stubs.activity.ListActivity(pb.ListActivityRequest(parent=elsewhere))

    def test_is_what_the_streams_tell(self, board: Board, story: project_pb2.Project) -> None:
        event = board.event("task.transitioned")
        assert activity_to_proto(activity_of(event)) in listed(board)


class TestProjection:
    def test_an_event_that_comes_twice_is_told_once(
        self, board: Board, story: project_pb2.Project, services: ProjectsServices
    ) -> None:
        before = listed(board)
        activity, *_ = subscribers.subscriptions(services)
        for _ in range(2):
            with acting(Caller(service="projects", workspace_id=board.workspace_id)), activity.units() as uow:
                activity.handle(uow, board.event("task.transitioned"))
                uow.commit()
        assert listed(board) == before

    def test_of_a_purged_project_only_that_remains(
        self, board: Board, story: project_pb2.Project, services: ProjectsServices
    ) -> None:
        board.delete_project(story)
        board.team.database.execute(
            "update projects.projects set purge_time = now() where project_id = %s",
            [UUID(story.name.rpartition("/")[2])],
        )
        services.housekeeping.purge()
        until(lambda: told(board)[0] == ("purged", "projects"), "the end of the project")
        assert [one.verb for one in listed(board) if one.project == story.name] == ["purged"]
        assert ("created", "projects") in told(board), "the other one is still there"

    def test_nothing_remains_of_a_purged_workspace_whatever_is_told_of_it_late(
        self, board: Board, story: project_pb2.Project, services: ProjectsServices
    ) -> None:
        activity, *_ = subscribers.subscriptions(services)
        late = board.event("project.created")
        purged = replace(late, type=event_type(WorkspacePurged.DESCRIPTOR), position=late.position + 1)
        assert {late.type, purged.type} <= activity.types
        with acting(Caller(service="projects", workspace_id=board.workspace_id)), activity.units() as uow:
            for event in (purged, late):
                activity.handle(uow, event)
            uow.commit()
        counts = board.team.database.execute(
            "select (select count(*) from projects.activity where workspace_id = %(id)s),"
            " (select count(*) from projects.projects where workspace_id = %(id)s),"
            " (select count(*) from projects.workflows where workspace_id = %(id)s)",
            {"id": board.workspace_id},
        ).fetchone()
        assert counts == (0, 0, 0)


class TestCost:
    COUNT = 20_000

    @pytest.fixture
    def session(self, board: Board, runtime: Runtime) -> Iterator[Session]:
        """A session in a workspace where much was done, in two projects by turns."""
        board.team.database.execute(
            "insert into projects.activity select %s, n, gen_random_uuid(), (array[%s, %s]::uuid[])[n %% 2 + 1], now(),"
            " 'updated', 'projects/1', 'users/1', '[]', '' from generate_series(1, %s) as n",
            [board.workspace_id, UUID(int=1), UUID(int=2), self.COUNT],
        )
        board.team.database.execute("analyze projects.activity")
        with runtime.database.transaction(Scope("plinth_projects", board.workspace_id)) as opened:
            yield opened

    def explain(self, session: Session, board: Board, project: UUID | None, position: int | None) -> list[Any]:
        """The nodes of the plan of one page, outermost first, without what row-level security asks once."""
        page = Page(50, None if position is None else (position,), ())
        part = rows.FIELDS.query("").part(page)
        statement = rows._page(part, of_project=project is not None)
        values = statement.defaults | part.values | {"workspace": board.workspace_id, "count": page.count}
        values |= {} if project is None else {"project": project}
        for name, value in values.items():
            literal = f"'{value}'" if isinstance(value, UUID) else str(value)
            statement = type(statement)(statement.sql.replace(f"%({name})s", literal), {})
        [plan] = session.all(
            text(f"explain (analyze, format json) {statement.sql}"),  # made above
            lambda **row: next(iter(row.values())),
        )
        node, nodes = plan[0]["Plan"], []
        while node is not None:
            nodes.append(node)
            inner = [plan for plan in node.get("Plans", ()) if plan["Parent Relationship"] == "Outer"]
            node = inner[0] if inner else None
        return nodes

    @pytest.mark.parametrize("project", [None, UUID(int=1)])
    @pytest.mark.parametrize("position", [None, 10_000, 60])
    def test_every_page_reads_its_own_rows_alone(
        self, session: Session, board: Board, project: UUID | None, position: int | None
    ) -> None:
        nodes = self.explain(session, board, project, position)
        assert [node["Node Type"] for node in nodes] == ["Limit", "Result", "Index Scan"]
        scan = nodes[-1]
        assert scan["Actual Rows"] <= 51
        assert scan.get("Rows Removed by Filter", 0) == 0
        assert "position" in scan["Index Cond"] or position is None

    def test_rows_come_as_they_went(self, session: Session, board: Board) -> None:
        board.project()
        part = rows.ActivityRepository(session)
        page = Page(3, (10,), ())
        found = part.list_page(board.workspace_id, None, rows.FIELDS.query(""), page)
        assert [one.position for one in found] == [9, 8, 7, 6]
        done = Activity(
            board.workspace_id, 10**6, uuid4(), None, found[0].time, "created", "workflows/1", "users/1", (), "why"
        )
        part.add(done)
        [newest, *_] = part.list_page(board.workspace_id, None, rows.FIELDS.query(""), Page(1, None, ()))
        assert newest == done
