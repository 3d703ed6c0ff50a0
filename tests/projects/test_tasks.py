"""Tasks, as people use them: made, assigned, put in order, moved, found and deleted."""

import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import grpc
import pytest

from plinth.projects.v1 import task_pb2, workflow_pb2
from plinth.projects.v1 import task_service_pb2 as tasks
from tests.projects.board import PROJECT, TASK, Board
from tests.support.errors import refused

CODE = grpc.StatusCode


class TestCreate:
    def test_begins_in_the_first_state_as_the_last_of_its_project(self, board: Board) -> None:
        project = board.project()
        first, second = board.task(project, display_name="First"), board.task(project, board.team.member)
        assert (first.state, first.state_category) == ("todo", workflow_pb2.STATE_CATEGORY_UNSTARTED)
        assert (first.author, second.author) == (board.owner.name, board.team.member.name)
        assert first.position < second.position
        assert first.name.startswith(f"{project.name}/tasks/")
        assert board.get_task(first) == first
        assert board.told()[-2:] == ["task.created", "task.created"]

    def test_is_assigned_to_members_only(self, board: Board, other_board: Board) -> None:
        project, member = board.project(), board.team.member
        assert board.task(project, assignee=member.name).assignee == member.name
        for outsider in (other_board.owner.name, f"users/{uuid4()}"):
            with refused(CODE.FAILED_PRECONDITION, "ASSIGNEE_NOT_MEMBER") as refusal:
                board.task(project, assignee=outsider)
            assert refusal.metadata["assignee"] == outsider

    def test_viewer_may_not(self, board: Board) -> None:
        project = board.project()
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            board.task(project, board.team.viewer)

    def test_follows_workflows_for_tasks_only(self, board: Board) -> None:
        project = board.project()
        with refused(CODE.FAILED_PRECONDITION, "WORKFLOW_SUBJECT_MISMATCH"):
            board.task(project, workflow=board.reviewed(PROJECT))
        mine = board.reviewed(TASK)
        assert board.task(project, workflow=mine).workflow == mine

    def test_needs_a_project_that_lives(self, board: Board) -> None:
        project = board.project()
        board.delete_project(project)
        with refused(CODE.FAILED_PRECONDITION, "PROJECT_DELETED"):
            board.task(project)
        project.name = f"{board.workspace}/projects/{uuid4()}"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            board.task(project)

    def test_a_request_id_makes_it_once(self, board: Board) -> None:
        project, request_id = board.project(), str(uuid4())
        assert board.task(project, request_id=request_id) == board.task(project, request_id=request_id)
        assert board.listed(project) == ["Task"]

    def test_many_at_once_come_to_places_of_their_own(self, board: Board) -> None:
        project = board.project()
        makers = [threading.Thread(target=board.task, args=[project]) for _ in range(12)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        request = tasks.ListTasksRequest(parent=project.name)
        positions = [task.position for task in board.owner.stubs.tasks.ListTasks(request).tasks]
        assert len(set(positions)) == 12
        assert positions == sorted(positions)


class TestUpdate:
    def test_mask_leaves_the_rest_and_the_event_says_what_changed(self, board: Board) -> None:
        task = board.task(board.project())
        task.labels.extend(["red", "green"])
        task.display_name = "ignored"
        task.due_time.FromDatetime(datetime(2026, 4, 1, tzinfo=UTC))
        after = board.update_task(task, "labels", "due_time")
        assert (list(after.labels), after.display_name) == (["red", "green"], "Task")
        assert after.due_time == task.due_time
        assert board.told()[-1] == "task.updated"
        assert board.update_task(after, "labels") == after
        assert board.told().count("task.updated") == 1

    def test_a_mask_clears_what_is_not_set(self, board: Board) -> None:
        task = board.task(board.project(), assignee=board.owner.name)
        task.assignee = ""
        assert board.update_task(task, "assignee").assignee == ""

    def test_whoever_has_left_stays_assigned_until_another_is(self, board: Board) -> None:
        leaver = board.team.member
        task = board.task(board.project(), assignee=leaver.name)
        board.team.leave(leaver)
        task.display_name = "Renamed"
        task = board.update_task(task, "display_name", "assignee")
        assert (task.display_name, task.assignee) == ("Renamed", leaver.name)
        task.assignee = ""
        task = board.update_task(task, "assignee")
        task.assignee = leaver.name
        with refused(CODE.FAILED_PRECONDITION, "ASSIGNEE_NOT_MEMBER"):
            board.update_task(task, "assignee")

    def test_stale_and_missing_etags_are_refused(self, board: Board) -> None:
        task = board.task(board.project())
        task.description = "First"
        board.update_task(task)
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            board.update_task(task)
        task.etag = ""
        with refused(CODE.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            board.update_task(task)

    def test_that_of_a_deleted_project_can_be_read_and_nothing_else(self, board: Board) -> None:
        project = board.project()
        task = board.task(project)
        board.delete_project(project)
        assert board.get_task(task) == task
        assert board.listed(project) == ["Task"]
        for change in (
            lambda: board.update_task(task),
            lambda: board.put_task(task),
            lambda: board.move_task(task, "doing"),
            lambda: board.delete_task(task),
        ):
            with refused(CODE.FAILED_PRECONDITION, "PROJECT_DELETED"):
                change()


class TestOrder:
    def test_goes_behind_another_or_first(self, board: Board) -> None:
        project = board.project()
        a, b, c = (board.task(project, display_name=name) for name in "abc")
        board.put_task(c)
        assert board.listed(project) == ["c", "a", "b"]
        board.put_task(c, after=a)
        assert board.listed(project) == ["a", "c", "b"]
        board.put_task(a, after=b)
        assert board.listed(project) == ["c", "b", "a"]
        assert board.told()[-3:] == ["task.moved"] * 3

    def test_one_that_is_there_stays_as_it_is(self, board: Board) -> None:
        project = board.project()
        a, b = (board.task(project, display_name=name) for name in "ab")
        assert board.put_task(a) == a
        assert board.put_task(b, after=a) == b
        assert "task.moved" not in board.told()

    def test_the_other_must_be_of_the_same_project(self, board: Board) -> None:
        project = board.project()
        task, stranger = board.task(project), board.task(board.project())
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            board.put_task(task, after=stranger)
        assert refusal.fields == ["after"]
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            board.put_task(task, after=task)
        stranger.name = f"{project.name}/tasks/{uuid4()}"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            board.put_task(task, after=stranger)

    def test_a_gap_that_is_full_is_spread_anew_and_the_order_stays(self, board: Board) -> None:
        project = board.project()
        a, b, c, d = (board.task(project, display_name=name) for name in "abcd")
        # As after hundreds of moves right behind `a`.
        board.team.database.execute(
            "update projects.tasks set position = %s where task_id = %s",
            ["a0" + "0" * 98 + "1", UUID(b.name.rpartition("/")[2])],
        )
        assert board.listed(project) == ["a", "b", "c", "d"]
        moved = board.put_task(d, after=a)
        assert board.listed(project) == ["a", "d", "b", "c"]
        assert len(moved.position) < 5
        assert len(board.get_task(b).position) < 5
        board.put_task(c, after=a)
        assert board.listed(project) == ["a", "c", "d", "b"]


class TestTransition:
    def test_moves_with_a_comment_and_an_event(self, board: Board) -> None:
        task = board.task(board.project(), board.team.member)
        answer = board.move_task(task, "doing", board.team.member, comment="on it")
        assert (answer.task.state, answer.task.state_category) == ("doing", workflow_pb2.STATE_CATEGORY_STARTED)
        assert not answer.HasField("approval")
        assert board.get_task(task) == answer.task
        assert board.told()[-1] == "task.transitioned"

    def test_plane_9117_where_it_is_already_nothing_happens(self, board: Board) -> None:
        task = board.task(board.project())
        assert board.move_task(task, "todo").task == task
        assert "task.transitioned" not in board.told()

    def test_only_along_its_workflow(self, board: Board) -> None:
        task = board.task(board.project(), workflow=board.workflow(TASK))
        with refused(CODE.INVALID_ARGUMENT, "STATE_UNKNOWN"):
            board.move_task(task, "shipped")
        with refused(CODE.FAILED_PRECONDITION, "TRANSITION_UNKNOWN"):
            board.move_task(task, "done")

    def test_roles_exceptions_and_guards_hold(self, board: Board) -> None:
        flow = board.workflow(
            TASK,
            workflow_pb2.WorkflowTransition(
                from_state="todo", to_state="review", roles=[board.team.role("admin")], assignee_allowed=True
            ),
            workflow_pb2.WorkflowTransition(
                from_state="todo", to_state="done", guard="task.labels.exists(l, l == 'ok')"
            ),
        )
        project, member = board.project(), board.team.member
        task = board.task(project, workflow=flow)
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            board.move_task(task, "review", member)
        with refused(CODE.FAILED_PRECONDITION, "GUARD_REFUSED"):
            board.move_task(task, "done", member)
        mine = board.task(project, workflow=flow, assignee=member.name)
        assert board.move_task(mine, "review", member).task.state == "review"
        task.labels.append("ok")
        board.update_task(task)
        assert board.move_task(task, "done", member).task.state == "done"

    def test_of_many_at_once_one_wins(self, board: Board) -> None:
        task = board.task(board.project())
        request = tasks.TransitionTaskRequest(name=task.name, to_state="doing", etag=task.etag)
        outcomes: list[str] = []

        def move() -> None:
            try:
                outcomes.append(board.owner.stubs.tasks.TransitionTask(request).task.state)
            except grpc.RpcError as error:
                outcomes.append(error.code().name)

        movers = [threading.Thread(target=move) for _ in range(12)]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join()
        assert sorted(outcomes) == ["ABORTED"] * 11 + ["doing"]
        assert board.told().count("task.transitioned") == 1

    def test_tells_where_it_could_go(self, board: Board) -> None:
        task = board.task(board.project(), workflow=board.reviewed(TASK))
        request = tasks.ListAvailableTaskTransitionsRequest(name=task.name)
        found = board.owner.stubs.tasks.ListAvailableTaskTransitions(request).transitions
        assert [(one.to_state, one.allowed) for one in found] == [("review", True), ("done", True)]

    def test_tells_who_lacks_the_permission_what_the_move_would_say(self, board: Board) -> None:
        task = board.task(board.project(), workflow=board.reviewed(TASK))
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED") as refusal:
            board.move_task(task, "review", board.team.viewer)
        request = tasks.ListAvailableTaskTransitionsRequest(name=task.name)
        found = board.team.viewer.stubs.tasks.ListAvailableTaskTransitions(request).transitions
        told = {(one.allowed, one.reason, one.explanation) for one in found}
        assert told == {(False, refusal.reason, refusal.message)}


class TestList:
    def test_filters_and_orders(self, board: Board) -> None:
        project, member = board.project(), board.team.member
        a = board.task(project, display_name="Alpha", assignee=member.name)
        b = board.task(project, display_name="Beta")
        board.task(project, display_name="Gamma")
        a.labels.append("red")
        board.update_task(a)
        b.due_time.FromDatetime(datetime(2026, 4, 1, tzinfo=UTC))
        board.update_task(b)
        board.move_task(b, "doing")
        assert board.listed(project, "state = todo") == ["Alpha", "Gamma"]
        assert board.listed(project, "state_category = STATE_CATEGORY_STARTED OR labels:red") == ["Alpha", "Beta"]
        assert board.listed(project, f"assignee = {member.name}") == ["Alpha"]
        assert board.listed(project, "NOT assignee:*") == ["Beta", "Gamma"]
        assert board.listed(project, "due_time < 2026-04-02T00:00:00Z") == ["Beta"]
        assert board.listed(project, 'display_name = "*a" AND -display_name:alp') == ["Beta", "Gamma"]
        assert board.listed(project, f"author = {board.owner.name} workflow = {a.workflow}") == [
            "Alpha",
            "Beta",
            "Gamma",
        ]
        assert board.listed(project, order_by="due_time, display_name desc") == ["Beta", "Gamma", "Alpha"]

    def test_pages_to_the_end_in_every_order(self, board: Board) -> None:
        project = board.project()
        names = [board.task(project, display_name=f"T{number % 3}").name for number in range(7)]
        for order_by in ("", "display_name desc", "due_time desc, create_time"):
            seen, token = [], ""
            while True:
                request = tasks.ListTasksRequest(
                    parent=project.name, page_size=2, page_token=token, order_by=order_by, filter="state = todo"
                )
                answer = board.owner.stubs.tasks.ListTasks(request)
                seen += [task.name for task in answer.tasks]
                token = answer.next_page_token
                if not token:
                    break
            assert sorted(seen) == sorted(names)
            assert len(set(seen)) == 7

    @pytest.mark.parametrize(
        ("filter", "order_by", "reason", "field"),
        [
            ("state = ", "", "FILTER_INVALID", "filter"),
            ("secret = 1", "", "FILTER_INVALID", "filter"),
            ("", "state", "ORDER_BY_INVALID", "order_by"),
        ],
    )
    def test_says_what_is_wrong_with_the_question(
        self, board: Board, filter: str, order_by: str, reason: str, field: str
    ) -> None:
        project = board.project()
        with refused(CODE.INVALID_ARGUMENT, reason) as refusal:
            board.listed(project, filter, order_by)
        assert refusal.fields == [field]
        assert refusal.metadata["position"]

    def test_that_of_no_project_is_not_found(self, board: Board, other_board: Board) -> None:
        project = board.project()
        project.name = project.name.replace(board.workspace, other_board.workspace)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            other_board.listed(project)


class TestDelete:
    def test_is_for_good(self, board: Board) -> None:
        task = board.task(board.project())
        board.delete_task(task)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            board.get_task(task)
        assert board.told()[-1] == "task.deleted"


class TestNames:
    def test_a_task_is_found_in_its_own_project_only(self, board: Board) -> None:
        task = board.task(board.project())
        other = board.project()
        wrong = f"{other.name}/tasks/{task.name.rpartition('/')[2]}"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            board.get_task(task_pb2.Task(name=wrong))
