"""Moves that wait for people: asked for, decided, called off, and made with the last approval."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import psycopg
import pytest

from plinth.projects.v1 import approval_pb2, project_pb2
from plinth.projects.v1 import approval_service_pb2 as approvals
from plinth.projects.v1 import project_service_pb2 as projects
from services.kernel.caller import Caller, Grant
from services.kernel.jobs import RetryableError
from services.kernel.names import USER
from services.projects import subscribers
from services.projects.convert.approvals import approval_to_proto
from services.projects.convert.projects import project_in
from services.projects.model.approvals import OPEN_FOR, Approval
from services.projects.model.projects import Project
from services.projects.service import ProjectsServices
from services.runtime import Runtime
from tests.projects.board import APPROVE, PROJECT, REJECT, TASK, Board, State
from tests.projects.worker import attempt
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.people import Person
from tests.support.waiting import until

CODE = grpc.StatusCode


@pytest.fixture
def deciders(board: Board) -> tuple[Person, Person]:
    """Two people who may decide; the owner is the third."""
    return board.team.admin, board.person("admin")


def asked(board: Board, needed: int = 2) -> tuple[project_pb2.Project, approval_pb2.Approval]:
    """A project in review that a member wants done, and what it waits for."""
    project = board.project(workflow=board.reviewed(PROJECT, needed))
    board.move_project(project, "review")
    answer = board.move_project(project, "done", board.team.member, comment="it is time")
    assert answer.project.state == "review"
    return answer.project, answer.approval


class TestAsk:
    def test_the_project_stays_and_the_approval_says_what_it_waits_for(self, board: Board) -> None:
        project, approval = asked(board)
        assert (approval.target, approval.from_state, approval.to_state) == (project.name, "review", "done")
        assert (approval.requester, approval.comment) == (board.team.member.name, "it is time")
        assert (approval.required_approvals, approval.state) == (2, State.STATE_PENDING)
        assert approval.expire_time.ToDatetime() - approval.create_time.ToDatetime() == OPEN_FOR
        assert board.get_approval(approval) == approval
        assert board.told()[-1] == "approval.requested"

    def test_a_second_request_finds_the_first(self, board: Board) -> None:
        project, approval = asked(board)
        assert board.move_project(project, "done").approval == approval
        assert board.told().count("approval.requested") == 1

    def test_the_move_tells_that_it_waits(self, board: Board) -> None:
        project, approval = asked(board)
        request = projects.ListAvailableTransitionsRequest(name=project.name)
        found = board.owner.stubs.projects.ListAvailableTransitions(request).transitions
        assert {one.to_state: one.pending_approval for one in found} == {"todo": "", "done": approval.name}


class TestDecide:
    def test_the_last_approval_makes_the_move(self, board: Board, deciders: tuple[Person, Person]) -> None:
        project, approval = asked(board)
        first = board.decide(approval, deciders[0], comment="fine")
        assert (first.state, board.get_project(project).state) == (State.STATE_PENDING, "review")
        second = board.decide(approval, deciders[1])
        assert second.state == State.STATE_APPROVED
        assert [one.user for one in second.decisions] == [person.name for person in deciders]
        assert board.get_project(project).state == "done"
        assert board.told()[-3:] == ["approval.decided", "approval.decided", "project.transitioned"]

    def test_of_a_task_too(self, board: Board) -> None:
        task = board.task(board.project(), workflow=board.reviewed(TASK, 1))
        board.move_task(task, "review")
        approval = board.move_task(task, "done", board.team.member).approval
        assert approval.target == task.name
        assert board.decide(approval, board.owner).state == State.STATE_APPROVED
        assert board.get_task(task).state == "done"

    def test_one_rejection_is_final(self, board: Board, deciders: tuple[Person, Person]) -> None:
        project, approval = asked(board)
        rejected = board.decide(approval, deciders[0], REJECT, comment="not yet")
        assert rejected.state == State.STATE_REJECTED
        assert (rejected.decisions[0].decision, rejected.decisions[0].comment) == (REJECT, "not yet")
        with refused(CODE.FAILED_PRECONDITION, "APPROVAL_CLOSED") as refusal:
            board.decide(approval, deciders[1])
        assert refusal.metadata["state"] == "STATE_REJECTED"
        assert board.get_project(project).state == "review"
        assert board.get_approval(approval) == rejected, "it is on record"
        again = board.move_project(project, "done", board.team.member).approval
        assert again.name != approval.name

    def test_nobody_decides_about_their_own_request(self, board: Board) -> None:
        project = board.project(workflow=board.reviewed(PROJECT, 1))
        board.move_project(project, "review")
        approval = board.move_project(project, "done").approval
        with refused(CODE.PERMISSION_DENIED, "SELF_APPROVAL"):
            board.decide(approval, board.owner)

    def test_who_may_not_decide_may_not_look_either(self, board: Board) -> None:
        _, approval = asked(board)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            board.decide(approval, board.team.member)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            board.team.viewer.stubs.approvals.ListApprovals(approvals.ListApprovalsRequest(parent=board.workspace))

    def test_everybody_decides_once(self, board: Board) -> None:
        _, approval = asked(board)
        once = board.decide(approval, board.owner)
        assert board.decide(approval, board.owner) == once
        with refused(CODE.FAILED_PRECONDITION, "APPROVAL_DECIDED"):
            board.decide(approval, board.owner, REJECT)
        assert board.told().count("approval.decided") == 1

    def test_stale_and_missing_etags_are_refused(self, board: Board, deciders: tuple[Person, Person]) -> None:
        _, approval = asked(board)
        board.decide(approval, deciders[0])
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            board.decide(approval, deciders[1], etag=approval.etag)
        request = approvals.DecideApprovalRequest(name=approval.name, decision=APPROVE)
        with refused(CODE.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            board.owner.stubs.approvals.DecideApproval(request)

    def test_a_guard_that_no_longer_holds_keeps_the_decision_off_the_record(self, board: Board) -> None:
        flow = board.guarded(PROJECT, "project.labels.size() == 0")
        project = board.project(workflow=flow)
        approval = board.move_project(project, "done", board.team.member).approval
        current = board.get_project(project)
        current.labels.append("blocked")
        board.owner.stubs.projects.UpdateProject(projects.UpdateProjectRequest(project=current))
        with refused(CODE.FAILED_PRECONDITION, "GUARD_REFUSED"):
            board.decide(approval, board.owner)
        unchanged = board.get_approval(approval)
        assert (unchanged.state, list(unchanged.decisions)) == (State.STATE_PENDING, [])

    def test_two_last_approvals_at_once_make_one_move(self, board: Board, deciders: tuple[Person, Person]) -> None:
        project, approval = asked(board, 1)
        etag = board.get_approval(approval).etag
        outcomes: list[str] = []

        def decide(person: Person) -> None:
            try:
                outcomes.append(State.Name(board.decide(approval, person, etag=etag).state))
            except grpc.RpcError as error:
                outcomes.append(error.code().name)

        threads = [threading.Thread(target=decide, args=[person]) for person in (*deciders, board.owner)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["ABORTED", "ABORTED", "STATE_APPROVED"]
        assert board.told().count("project.transitioned") == 2, "to review, and then to done"
        assert board.get_project(project).state == "done"


class TestCalledOff:
    def test_when_the_project_goes_elsewhere(self, board: Board) -> None:
        project, approval = asked(board)
        board.move_project(project, "todo")
        assert board.get_approval(approval).state == State.STATE_SUPERSEDED
        with refused(CODE.FAILED_PRECONDITION, "APPROVAL_CLOSED"):
            board.decide(approval, board.owner)
        assert board.told()[-2:] == ["project.transitioned", "approval.superseded"]

    def test_when_the_project_or_the_task_is_deleted(self, board: Board) -> None:
        project, approval = asked(board)
        board.delete_project(project)
        assert board.get_approval(approval).state == State.STATE_SUPERSEDED
        task = board.task(board.project(), workflow=board.reviewed(TASK))
        board.move_task(task, "review")
        board.move_task(task, "done", board.team.member)
        board.delete_task(task)
        assert board.told()[-2:] == ["approval.superseded", "task.deleted"]

    def test_a_move_and_a_decision_at_once_leave_no_deadlock_and_one_outcome(self, board: Board) -> None:
        project, approval = asked(board, 1)
        outcomes: list[str] = []
        decided = approvals.DecideApprovalRequest(name=approval.name, decision=APPROVE, etag=approval.etag)
        moved = projects.TransitionProjectRequest(name=project.name, to_state="todo", etag=project.etag)

        def call(method: Callable[[Any], object], request: object) -> None:
            try:
                method(request)
                outcomes.append("done")
            except grpc.RpcError as error:
                outcomes.append(error.code().name)

        stubs = board.owner.stubs
        threads = [
            threading.Thread(target=call, args=[stubs.approvals.DecideApproval, decided]),
            threading.Thread(target=call, args=[stubs.projects.TransitionProject, moved]),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "done" in outcomes
        assert set(outcomes) <= {"done", "ABORTED", "FAILED_PRECONDITION"}
        state, became = board.get_project(project).state, board.get_approval(approval).state
        assert (state, became) in {("done", State.STATE_APPROVED), ("todo", State.STATE_SUPERSEDED)}

    def test_when_it_is_asked_for_as_the_project_goes_elsewhere(
        self, board: Board, services: ProjectsServices, owner_url: str
    ) -> None:
        """Somebody has aimed at the project and waits for its row, which whoever asks for an approval has before."""
        project = board.move_project(board.project(workflow=board.reviewed(PROJECT)), "review").project
        workspace_id, project_id = project_in(project.name)

        def move(person: Person, to_state: str) -> tuple[Project, Approval | None]:
            (user_id,) = USER.ids(person.name)
            grant = Grant(workspace_id, user_id, "member", frozenset())
            with acting(Caller(user_id=user_id, workspace_id=workspace_id, grant=grant)):
                return services.projects.transition(workspace_id, project_id, to_state, project.etag, "")

        def waiting_for(pid: int) -> list[int]:
            blocked = "select pid from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
            return [waiter for (waiter,) in board.team.database.execute(blocked, [pid]).fetchall()]

        with psycopg.connect(owner_url) as holder, ThreadPoolExecutor(2) as pool:
            holder.execute("select from projects.projects where project_id = %s for update", [project_id])
            asking = pool.submit(move, board.team.member, "done")
            until(lambda: waiting_for(holder.info.backend_pid), "who asks for an approval")
            [asker] = waiting_for(holder.info.backend_pid)
            going = pool.submit(move, board.owner, "todo")
            until(lambda: waiting_for(asker), "who goes elsewhere")
            holder.rollback()
            _, approval = asking.result(10)
            assert going.result(10)[0].state == "todo"
        assert approval is not None
        assert board.get_approval(approval_to_proto(approval)).state == State.STATE_SUPERSEDED

    def test_of_a_task_it_is_kept_while_the_project_is_deleted(self, board: Board) -> None:
        project = board.project()
        task = board.task(project, workflow=board.reviewed(TASK, 1))
        board.move_task(task, "review")
        approval = board.move_task(task, "done", board.team.member).approval
        deleted = board.delete_project(project)
        with refused(CODE.FAILED_PRECONDITION, "PROJECT_DELETED"):
            board.decide(approval, board.owner)
        undelete = projects.UndeleteProjectRequest(name=deleted.name, etag=deleted.etag)
        board.owner.stubs.projects.UndeleteProject(undelete)
        assert board.decide(approval, board.owner).state == State.STATE_APPROVED


class TestExpire:
    def age(self, board: Board, approval: approval_pb2.Approval, by: timedelta) -> None:
        board.team.database.execute(
            "update projects.approvals set create_time = create_time - %s where approval_id = %s",
            [by, UUID(approval.name.rpartition("/")[2])],
        )

    def run_expiry(self, board: Board, services: ProjectsServices, approval: str) -> None:
        [handler] = subscribers.job_handlers(services)
        attempt(handler, board.workspace_id, approval)

    def test_comes_too_late_for_a_decision(self, board: Board) -> None:
        _, approval = asked(board)
        self.age(board, approval, OPEN_FOR)
        with refused(CODE.FAILED_PRECONDITION, "APPROVAL_CLOSED") as refusal:
            board.decide(approval, board.owner)
        assert refusal.metadata["state"] == "STATE_EXPIRED"

    def test_a_new_request_takes_the_place_of_one_that_is_overdue(self, board: Board) -> None:
        project, approval = asked(board)
        self.age(board, approval, OPEN_FOR)
        again = board.move_project(project, "done", board.team.member).approval
        assert again.name != approval.name
        assert board.get_approval(approval).state == State.STATE_EXPIRED
        assert board.told()[-2:] == ["approval.expired", "approval.requested"]

    def test_the_job_calls_it_off_at_its_time_and_once(self, board: Board, services: ProjectsServices) -> None:
        project, approval = asked(board)
        self.age(board, approval, OPEN_FOR)
        for _ in range(2):
            self.run_expiry(board, services, approval.name)
        assert board.get_approval(approval).state == State.STATE_EXPIRED
        assert board.get_project(project).state == "review"
        assert board.told().count("approval.expired") == 1

    def test_a_job_that_comes_too_soon_waits_for_that_time(
        self, board: Board, services: ProjectsServices, runtime: Runtime
    ) -> None:
        _, approval = asked(board)
        with pytest.raises(RetryableError) as raised:
            self.run_expiry(board, services, approval.name)
        assert raised.value.retry_after is not None
        assert raised.value.retry_after <= OPEN_FOR
        # Reckoned from after the attempt, as workers do: the next one is the last.
        again = runtime.clock.now() + raised.value.retry_after
        assert again >= approval.expire_time.ToDatetime(UTC)
        assert board.get_approval(approval).state == State.STATE_PENDING

    def test_the_job_passes_over_what_is_decided_or_gone(self, board: Board, services: ProjectsServices) -> None:
        _, approval = asked(board)
        board.decide(approval, board.owner, REJECT)
        self.run_expiry(board, services, approval.name)
        assert board.get_approval(approval).state == State.STATE_REJECTED
        self.run_expiry(board, services, f"{board.workspace}/approvals/{uuid4()}")

    def test_each_request_has_a_job_for_it(self, board: Board, services: ProjectsServices) -> None:
        _, approval = asked(board)
        subscription = next(one for one in subscribers.subscriptions(services) if one.name.endswith("approval_expiry"))
        event = board.event("approval.requested")
        assert {event.type} == subscription.types
        for _ in range(2):
            with acting(Caller(service="projects", workspace_id=board.workspace_id)), subscription.units() as uow:
                subscription.handle(uow, event)
                uow.commit()
        jobs = board.team.database.execute(
            "select kind, run_time - %s from jobs.jobs where subject = %s", [event.time, approval.name]
        ).fetchall()
        assert jobs == [(subscribers.EXPIRE_APPROVAL, OPEN_FOR)]


class TestList:
    def test_filters_orders_and_pages(self, board: Board) -> None:
        flow = board.reviewed(PROJECT, 1)
        made = []
        for _ in range(3):
            project = board.project(workflow=flow)
            board.move_project(project, "review")
            made.append(board.move_project(project, "done", board.team.member).approval)
        board.decide(made[1], board.owner, REJECT)

        def found(filter: str, order_by: str = "") -> list[str]:
            names: list[str] = []
            token = ""
            while True:
                request = approvals.ListApprovalsRequest(
                    parent=board.workspace, filter=filter, order_by=order_by, page_size=1, page_token=token
                )
                answer = board.owner.stubs.approvals.ListApprovals(request)
                names += [approval.name for approval in answer.approvals]
                token = answer.next_page_token
                if not token:
                    return names

        every = [approval.name for approval in made]
        assert found("") == every
        assert found("", "create_time desc") == every[::-1]
        assert found("state = STATE_PENDING") == [every[0], every[2]]
        assert found(f"target = {made[2].target}") == [every[2]]
        assert found(f"requester = {board.team.member.name} AND NOT state = STATE_PENDING") == [every[1]]
        assert found("to_state = todo") == []
        with refused(CODE.INVALID_ARGUMENT, "FILTER_INVALID"):
            found("state = pending")
