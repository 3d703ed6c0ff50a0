"""Workflows: the defaults, one's own, and what a change of one does to what follows it."""

import grpc
import pytest

from plinth.projects.v1 import workflow_pb2
from plinth.projects.v1 import workflow_service_pb2 as workflows
from services.projects.convert.activity import activity_of
from services.projects.model.workflows import MAX_WORKFLOWS
from tests.projects.board import PROJECT, TASK, Board, State
from tests.support.acting import at_once
from tests.support.errors import refused
from tests.support.waiting import until

CODE = grpc.StatusCode


def listed(board: Board) -> list[workflow_pb2.Workflow]:
    request = workflows.ListWorkflowsRequest(parent=board.workspace)
    return list(board.owner.stubs.workflows.ListWorkflows(request).workflows)


def get(board: Board, name: str) -> workflow_pb2.Workflow:
    return board.owner.stubs.workflows.GetWorkflow(workflows.GetWorkflowRequest(name=name)).workflow


def create(board: Board, **fields: object) -> workflow_pb2.Workflow:
    wanted = workflow_pb2.Workflow(
        display_name="Hiring",
        states=[workflow_pb2.WorkflowState(id="open", category=workflow_pb2.STATE_CATEGORY_STARTED)],
        initial_state="open",
    )
    wanted.MergeFrom(workflow_pb2.Workflow(**fields))  # type: ignore[arg-type]  # the fields of a workflow
    request = workflows.CreateWorkflowRequest(parent=board.workspace, workflow=wanted)
    return board.owner.stubs.workflows.CreateWorkflow(request).workflow


def update(board: Board, workflow: workflow_pb2.Workflow, *mask: str) -> workflow_pb2.Workflow:
    request = workflows.UpdateWorkflowRequest(workflow=workflow)
    request.update_mask.paths.extend(mask)
    return board.owner.stubs.workflows.UpdateWorkflow(request).workflow


def delete(board: Board, workflow: workflow_pb2.Workflow) -> None:
    request = workflows.DeleteWorkflowRequest(name=workflow.name, etag=workflow.etag)
    board.owner.stubs.workflows.DeleteWorkflow(request)


def without(workflow: workflow_pb2.Workflow, state: str) -> workflow_pb2.Workflow:
    """The workflow without one of its states, and the moves from and to it."""
    kept = [one for one in workflow.states if one.id != state]
    moves = [one for one in workflow.transitions if state not in (one.from_state, one.to_state)]
    del workflow.states[:], workflow.transitions[:]
    workflow.states.extend(kept)
    workflow.transitions.extend(moves)
    return workflow


class TestDefaults:
    def test_are_there_from_the_first_look(self, board: Board) -> None:
        made = listed(board)
        assert [(one.subject, one.is_default, one.version) for one in made] == [(PROJECT, True, 1), (TASK, True, 1)]
        assert listed(board) == made
        assert board.told() == ["workflow.created", "workflow.created"]

    def test_are_plinths_doing_not_of_who_came_first(self, board: Board) -> None:
        listed(board)
        actors = board.team.database.execute(
            "select actor from kernel.audit where workspace_id = %s and action like 'plinth.projects.%%'",
            [board.workspace_id],
        ).fetchall()
        assert actors == [("services/projects",)] * 2

    def test_are_made_once_by_however_many(self, board: Board) -> None:
        made = at_once(8, board.project)
        assert len({project.workflow for project in made}) == 1
        assert len(listed(board)) == 2

    def test_another_one_takes_over(self, board: Board) -> None:
        create(board, is_default=True)
        assert [(one.display_name, one.is_default) for one in listed(board)] == [
            ("Project workflow", False),
            ("Task workflow", True),
            ("Hiring", True),
        ]
        assert board.project().state == "open"

    def test_and_there_is_always_one(self, board: Board) -> None:
        [default, _] = listed(board)
        default.is_default = False
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(board, default, "is_default")
        assert refusal.fields == ["workflow.is_default"]
        with refused(CODE.FAILED_PRECONDITION, "WORKFLOW_IS_DEFAULT"):
            delete(board, get(board, default.name))

    def test_it_comes_back_by_an_update(self, board: Board) -> None:
        create(board, is_default=True)
        [first, *_] = listed(board)
        first.is_default = True
        update(board, first, "is_default")
        assert [one.is_default for one in listed(board)] == [True, True, False]


class TestCreate:
    def test_a_state_without_a_name_is_called_by_its_id(self, board: Board) -> None:
        [state] = create(board).states
        assert (state.id, state.display_name) == ("open", "open")

    @pytest.mark.parametrize(
        ("guard", "problem"),
        [
            ("project.assignee ==", "no CEL"),
            ("task.state == ''", "not task"),
            ("project.display_name", "true or false"),
        ],
    )
    def test_a_bad_guard_is_refused_with_its_place(self, board: Board, guard: str, problem: str) -> None:
        states = [workflow_pb2.WorkflowState(id="closed", category=workflow_pb2.STATE_CATEGORY_COMPLETED)]
        moves = [workflow_pb2.WorkflowTransition(from_state="open", to_state="closed", guard=guard)]
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            create(board, states=states, transitions=moves)
        assert refusal.fields == ["workflow.transitions[0].guard"]

    def test_a_name_is_taken_whatever_its_case(self, board: Board) -> None:
        create(board)
        with refused(CODE.ALREADY_EXISTS, "WORKFLOW_NAME_TAKEN"):
            create(board, display_name="HIRING")
        with refused(CODE.ALREADY_EXISTS, "WORKFLOW_NAME_TAKEN"):
            create(board, display_name="Task workflow")

    def test_a_role_of_another_workspace_is_not_there(self, board: Board, other_board: Board) -> None:
        states = [workflow_pb2.WorkflowState(id="closed", category=workflow_pb2.STATE_CATEGORY_COMPLETED)]
        stranger = f"{other_board.workspace}/roles/admin"
        moves = [workflow_pb2.WorkflowTransition(from_state="open", to_state="closed", roles=[stranger])]
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            create(board, states=states, transitions=moves)

    def test_only_so_many(self, board: Board) -> None:
        for number in range(MAX_WORKFLOWS - 2):
            create(board, display_name=f"Number {number}")
        with refused(CODE.FAILED_PRECONDITION, "WORKFLOW_LIMIT_REACHED"):
            create(board)

    def test_not_by_a_member(self, board: Board) -> None:
        request = workflows.CreateWorkflowRequest(parent=board.workspace)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            board.team.member.stubs.workflows.CreateWorkflow(request)

    def test_a_project_cannot_follow_one_of_tasks(self, board: Board) -> None:
        flow = create(board, subject=TASK)
        with refused(CODE.FAILED_PRECONDITION, "WORKFLOW_SUBJECT_MISMATCH"):
            board.project(workflow=flow.name)


class TestUpdate:
    def test_a_name_makes_no_version(self, board: Board) -> None:
        workflow = create(board)
        workflow.display_name = "Firing"
        after = update(board, workflow, "display_name")
        assert (after.display_name, after.version) == ("Firing", 1)
        assert after.etag != workflow.etag

    def test_what_changes_nothing_tells_nobody(self, board: Board) -> None:
        workflow, told = create(board), board.told()
        assert update(board, workflow) == workflow
        assert board.told() == told

    def test_every_definition_is_kept(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        update(board, without(get(board, flow), "review"))
        request = workflows.ListWorkflowVersionsRequest(parent=flow)
        found = board.owner.stubs.workflows.ListWorkflowVersions(request).workflow_versions
        assert [(one.name, one.version, len(one.states)) for one in found] == [
            (f"{flow}/versions/2", 2, 2),
            (f"{flow}/versions/1", 1, 3),
        ]

    def test_a_project_keeps_its_state_and_moves_by_the_new_rules(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        project = board.project(workflow=flow)
        board.move_project(project, "review")
        workflow = get(board, flow)
        workflow.states.add(id="parked", display_name="Parked", category=workflow_pb2.STATE_CATEGORY_BACKLOG)
        workflow.transitions.add(from_state="review", to_state="parked")
        update(board, workflow)
        assert board.get_project(project).state == "review"
        assert board.move_project(project, "parked").project.state == "parked"

    def test_a_state_that_means_something_else_means_it_for_all(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        project = board.project(workflow=flow)
        workflow = get(board, flow)
        workflow.states[0].category = workflow_pb2.STATE_CATEGORY_BACKLOG
        update(board, workflow)
        assert board.get_project(project).state_category == workflow_pb2.STATE_CATEGORY_BACKLOG


class TestRemoveState:
    def test_in_use_is_refused(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        board.move_project(board.project(workflow=flow), "review")
        board.delete_project(board.move_project(board.project(workflow=flow), "review").project)
        with refused(CODE.FAILED_PRECONDITION, "STATE_IN_USE") as refusal:
            update(board, without(get(board, flow), "review"))
        assert refusal.metadata == {"state": "review", "count": "2"}
        assert get(board, flow).version == 1

    def test_a_migration_takes_all_along_and_tells_of_each(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        made = [board.move_project(board.project(workflow=flow), "review").project for _ in range(3)]
        elsewhere = board.project(workflow=flow)
        workflow = without(get(board, flow), "review")
        workflow.state_migrations.add(from_state="review", to_state="done")
        after = update(board, workflow)
        assert (after.version, list(after.state_migrations)) == (2, [])
        moved = [board.get_project(project) for project in made]
        assert {(one.state, one.state_category) for one in moved} == {("done", workflow_pb2.STATE_CATEGORY_COMPLETED)}
        assert all(one.etag != project.etag for one, project in zip(moved, made, strict=True))
        assert board.get_project(elsewhere) == elsewhere
        assert board.told()[-4:] == ["workflow.updated", *["project.transitioned"] * 3]
        until(lambda: activity_of(board.event("project.transitioned")).verb == "migrated", "the migration in the log")

    def test_so_it_does_with_tasks(self, board: Board) -> None:
        flow = board.reviewed(TASK)
        task = board.task(board.project(), workflow=flow)
        board.move_task(task, "review")
        with refused(CODE.FAILED_PRECONDITION, "STATE_IN_USE"):
            update(board, without(get(board, flow), "review"))
        workflow = without(get(board, flow), "review")
        workflow.state_migrations.add(from_state="review", to_state="todo")
        update(board, workflow)
        assert board.get_task(task).state == "todo"
        assert board.told()[-1] == "task.transitioned"

    def test_a_migration_to_nowhere_is_refused(self, board: Board) -> None:
        workflow = without(get(board, board.reviewed(PROJECT)), "review")
        workflow.state_migrations.add(from_state="review", to_state="gone")
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(board, workflow)
        assert refusal.fields == ["workflow.state_migrations[0].to_state"]

    def test_a_move_that_is_no_more_is_no_longer_waited_for(self, board: Board) -> None:
        flow = board.reviewed(PROJECT)
        project = board.project(workflow=flow)
        board.move_project(project, "review")
        approval = board.move_project(project, "done").approval
        workflow = get(board, flow)
        kept = [one for one in workflow.transitions if not one.required_approvals]
        del workflow.transitions[:]
        workflow.transitions.extend(kept)
        update(board, workflow)
        assert board.get_approval(approval).state == State.STATE_SUPERSEDED


class TestDelete:
    def test_one_that_nothing_follows(self, board: Board) -> None:
        workflow = create(board)
        delete(board, workflow)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            get(board, workflow.name)
        assert board.told()[-1] == "workflow.deleted"

    def test_not_one_in_use_even_by_what_is_deleted(self, board: Board) -> None:
        workflow = create(board)
        board.delete_project(board.project(workflow=workflow.name))
        with refused(CODE.FAILED_PRECONDITION, "WORKFLOW_IN_USE"):
            delete(board, workflow)
