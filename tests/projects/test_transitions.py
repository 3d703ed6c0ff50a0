"""Projects on their way: who may move them, what holds them back, and that nobody moves them twice."""

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import grpc

from plinth.projects.v1 import project_pb2, workflow_pb2
from plinth.projects.v1 import project_service_pb2 as projects
from plinth.projects.v1 import workflow_service_pb2 as workflows
from tests.projects.board import PROJECT, Board
from tests.support.acting import at_once
from tests.support.errors import Refusal, refusal_of, refused
from tests.support.people import Person

CODE = grpc.StatusCode


def transition(
    person: Person, project: project_pb2.Project, to_state: str, *, comment: str = "", request_id: str = ""
) -> projects.TransitionProjectResponse:
    """Move a project from the version that was read."""
    return person.stubs.projects.TransitionProject(
        projects.TransitionProjectRequest(
            name=project.name, to_state=to_state, etag=project.etag, comment=comment, request_id=request_id
        )
    )


def outcome(call: Callable[[], Any]) -> Any:
    """The answer, or the Refusal."""
    try:
        return call()
    except grpc.RpcError as error:
        return refusal_of(error)


def move(**fields: Any) -> workflow_pb2.WorkflowTransition:
    """A transition from todo to done."""
    return workflow_pb2.WorkflowTransition(from_state="todo", to_state="done", **fields)


class TestTransition:
    def test_goes_on_to_the_next_state_and_says_so(self, board: Board) -> None:
        project = board.project()
        answer = transition(board.team.member, project, "planned", comment="Go")
        assert (answer.project.state, answer.project.state_category) == (
            "planned",
            workflow_pb2.STATE_CATEGORY_UNSTARTED,
        )
        assert answer.project.etag != project.etag
        assert not answer.HasField("approval")
        assert board.told()[-1] == "project.transitioned"
        assert board.get_project(project) == answer.project

    def test_to_where_it_is_changes_nothing_and_tells_nobody(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(roles=[f"{board.workspace}/roles/owner"])))
        told = board.told()
        assert transition(board.team.member, project, "todo").project == project
        assert board.told() == told

    def test_the_etag_comes_before_that(self, board: Board) -> None:
        project = board.project()
        transition(board.owner, project, "planned")
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            transition(board.owner, project, "planned")

    def test_a_repeat_gets_the_first_answer_whatever_happened_since(self, board: Board) -> None:
        project, request_id = board.project(), str(uuid4())
        first = transition(board.owner, project, "planned", request_id=request_id)
        transition(board.owner, first.project, "in_progress")
        told = board.told()
        assert transition(board.owner, project, "planned", request_id=request_id) == first
        assert board.told() == told

    def test_to_no_state_of_the_workflow(self, board: Board) -> None:
        with refused(CODE.INVALID_ARGUMENT, "STATE_UNKNOWN") as refusal:
            transition(board.owner, board.project(), "shipped")
        assert (refusal.metadata, refusal.fields) == ({"state": "shipped"}, ["to_state"])

    def test_past_the_workflow(self, board: Board) -> None:
        with refused(CODE.FAILED_PRECONDITION, "TRANSITION_UNKNOWN") as refusal:
            transition(board.owner, board.project(), "completed")
        assert refusal.metadata == {"from_state": "backlog", "to_state": "completed"}

    def test_of_a_deleted_project(self, board: Board) -> None:
        deleted = board.delete_project(board.project())
        with refused(CODE.FAILED_PRECONDITION, "PROJECT_DELETED"):
            transition(board.owner, deleted, "planned")

    def test_not_for_who_only_looks(self, board: Board) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            transition(board.team.viewer, board.project(), "planned")


class TestRoles:
    def test_a_move_of_admins_is_not_for_members(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(roles=[f"{board.workspace}/roles/admin"])))
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            transition(board.team.member, project, "done")
        assert transition(board.team.admin, project, "done").project.state == "done"

    def test_a_role_of_ones_own_counts_as_any(self, board: Board) -> None:
        role = board.team.new_role(board.owner, "projects.read", "projects.transition")
        project = board.project(workflow=board.workflow(PROJECT, move(roles=[role.name])))
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            transition(board.owner, project, "done")
        person = board.person(role.name.rpartition("/")[2])
        assert transition(person, project, "done").project.state == "done"

    def test_a_role_that_does_not_exist_is_nobodys(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(roles=[f"{board.workspace}/roles/{uuid4()}"])))
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            transition(board.owner, project, "done")

    def test_its_author_may_where_the_workflow_says_so(self, board: Board) -> None:
        project = board.project(board.team.member, workflow=board.workflow(PROJECT, move(author_allowed=True)))
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            transition(board.owner, project, "done")
        assert transition(board.team.member, project, "done").project.state == "done"

    def test_so_may_its_assignee(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(assignee_allowed=True)))
        project.assignee = board.team.member.name
        request = projects.UpdateProjectRequest(project=project)
        assigned = board.owner.stubs.projects.UpdateProject(request).project
        with refused(CODE.PERMISSION_DENIED, "TRANSITION_ROLE_DENIED"):
            transition(board.owner, assigned, "done")
        assert transition(board.team.member, assigned, "done").project.state == "done"


class TestGuards:
    def test_hold_back_until_they_are_true(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(guard="'ready' in project.labels")))
        with refused(CODE.FAILED_PRECONDITION, "GUARD_REFUSED") as refusal:
            transition(board.owner, project, "done")
        assert refusal.metadata == {"guard": "'ready' in project.labels"}
        project.labels.append("ready")
        ready = board.owner.stubs.projects.UpdateProject(projects.UpdateProjectRequest(project=project)).project
        assert transition(board.owner, ready, "done").project.state == "done"

    def test_see_who_asks(self, board: Board) -> None:
        guard = "caller.role == 'admin' && caller.user != project.author"
        project = board.project(workflow=board.workflow(PROJECT, move(guard=guard)))
        with refused(CODE.FAILED_PRECONDITION, "GUARD_REFUSED"):
            transition(board.owner, project, "done")
        assert transition(board.team.admin, project, "done").project.state == "done"

    def test_know_a_role_of_ones_own_by_its_id(self, board: Board) -> None:
        role = board.team.new_role(board.owner, "projects.read", "projects.transition")
        role_id = role.name.rpartition("/")[2]
        project = board.project(workflow=board.workflow(PROJECT, move(guard=f"caller.role == '{role_id}'")))
        with refused(CODE.FAILED_PRECONDITION, "GUARD_REFUSED"):
            transition(board.owner, project, "done")
        assert transition(board.person(role_id), project, "done").project.state == "done"


class TestAvailable:
    def test_tells_which_and_why_not(self, board: Board) -> None:
        flow = board.workflow(
            PROJECT,
            move(roles=[f"{board.workspace}/roles/admin"], required_approvals=2),
            workflow_pb2.WorkflowTransition(from_state="todo", to_state="review", guard="project.assignee != ''"),
        )
        project = board.project(workflow=flow)
        request = projects.ListAvailableTransitionsRequest(name=project.name)
        found = board.team.member.stubs.projects.ListAvailableTransitions(request).transitions
        assert [(one.to_state, one.allowed, one.reason, one.required_approvals) for one in found] == [
            ("review", False, "GUARD_REFUSED", 0),
            ("done", False, "TRANSITION_ROLE_DENIED", 2),
        ]
        assert all(one.explanation for one in found)
        found = board.team.admin.stubs.projects.ListAvailableTransitions(request).transitions
        assert [one.allowed for one in found] == [False, True]

    def test_who_lacks_the_permission_hears_what_the_move_would_say(self, board: Board) -> None:
        project = board.project(workflow=board.workflow(PROJECT, move(roles=[f"{board.workspace}/roles/viewer"])))
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED") as refusal:
            transition(board.team.viewer, project, "done")
        request = projects.ListAvailableTransitionsRequest(name=project.name)
        [done] = board.team.viewer.stubs.projects.ListAvailableTransitions(request).transitions
        assert (done.allowed, done.reason, done.explanation) == (False, refusal.reason, refusal.message)


class TestAtOnce:
    def test_of_a_hundred_with_one_etag_one_wins(self, board: Board) -> None:
        project = board.project()
        to_states = itertools.cycle(("planned", "in_progress", "cancelled"))
        wanted = [next(to_states) for _ in range(100)]
        # One call more than there are of them would be refused for want of room: that is another test's.
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(outcome, partial(transition, board.owner, project, to)) for to in wanted]
            outcomes = [call.result(60) for call in calls]
        won = [one for one in outcomes if not isinstance(one, Refusal)]
        lost = Counter((one.code, one.reason) for one in outcomes if isinstance(one, Refusal))
        assert len(won) == 1
        assert lost == {(CODE.ABORTED, "ETAG_MISMATCH"): 99}
        assert board.get_project(project) == won[0].project
        assert board.told().count("project.transitioned") == 1

    def test_nothing_is_stranded_in_a_state_that_goes_meanwhile(self, board: Board) -> None:
        """Transitions into a state, and the change of the workflow that removes it: whoever comes first."""
        flow = board.workflow(PROJECT, move(), workflow_pb2.WorkflowTransition(from_state="todo", to_state="review"))
        made = [board.project(workflow=flow) for _ in range(8)]
        workflow = board.owner.stubs.workflows.GetWorkflow(workflows.GetWorkflowRequest(name=flow)).workflow
        del workflow.transitions[1]
        workflow.states.remove(next(state for state in workflow.states if state.id == "review"))
        workflow.state_migrations.add(from_state="review", to_state="todo")
        update = workflows.UpdateWorkflowRequest(workflow=workflow)
        turns: list[Callable[[], Any]] = [partial(transition, board.owner, project, "review") for project in made]
        turns.insert(4, partial(board.owner.stubs.workflows.UpdateWorkflow, update))
        turn = iter(turns)
        outcomes = at_once(len(turns), lambda: outcome(next(turn)))
        assert {one.reason for one in outcomes if isinstance(one, Refusal)} <= {"STATE_UNKNOWN"}
        assert {board.get_project(project).state for project in made} == {"todo"}
