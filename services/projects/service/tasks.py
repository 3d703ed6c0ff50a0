"""Use cases of TaskService."""

from datetime import datetime
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation, ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.projects.model.approvals import Approval
from services.projects.model.engine import Available, Move, Rules, decide, decide_approved
from services.projects.model.items import ItemPatch, NewItem
from services.projects.model.names import TASK
from services.projects.model.projects import Project
from services.projects.model.tasks import MAX_POSITION_LENGTH, Task, position_between, spread
from services.projects.model.workflows import Subject
from services.projects.repository.tasks import FIELDS
from services.projects.service import news
from services.projects.service.assignees import Assignees
from services.projects.service.moving import RuleBook, ask, available_moves, supersede
from services.projects.service.projects import present
from services.projects.service.units import ProjectsUnitOfWork, ProjectsUnits, current_actor
from services.projects.service.workflows import workflow_for


class TaskService:
    """Tasks: made, found, changed, put in order, moved and deleted. Those of a deleted project can only be read."""

    def __init__(
        self, units: ProjectsUnits, clock: Clock, pager: Pager, rule_book: RuleBook, assignees: Assignees
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._rule_book = rule_book
        self._assignees = assignees

    def create(self, workspace_id: UUID, project_id: UUID, new: NewItem) -> Task:
        """A new task, the last of its project, whose author is the caller.

        Raises ResourceNotFound, ProjectDeleted, AssigneeNotMember or WorkflowSubjectMismatch.
        """
        author, now = current_actor(), self._clock.now()
        candidate = self._assignees.candidate(workspace_id, new.assignee_id)
        with self._units() as uow:
            uow.repo.workflows.share(workspace_id)
            locked = uow.repo.projects.lock(workspace_id, project_id)
            present(locked, workspace_id, project_id, now).require_living()
            candidate.require_member()
            workflow = workflow_for(uow, workspace_id, new.workflow_id, Subject.TASK, now)
            position = position_between(uow.repo.tasks.last_position(workspace_id, project_id), None)
            task = Task.begun(
                new, workflow, author.user_id, now, project_id=project_id, task_id=new_id(), position=position
            )
            uow.repo.tasks.add(task)
            uow.emit(task.name, news.created(task))
            uow.commit()
        return task

    def get(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task:
        """The task. Raises ResourceNotFound."""
        with self._units() as uow:
            self._project(uow, workspace_id, project_id)
            return _found(uow.repo.tasks.get(workspace_id, project_id, task_id), workspace_id, project_id, task_id)

    def list_tasks(
        self, workspace_id: UUID, project_id: UUID, page_size: int, page_token: str, filter: str, order_by: str
    ) -> tuple[list[Task], str]:
        """A page of a project's tasks, and the token of the next.

        Raises ResourceNotFound, PageTokenInvalid, FilterInvalid or OrderByInvalid.
        """
        query = ("ListTasks", str(workspace_id), str(project_id), filter, order_by)
        page = self._pager.page(page_token, page_size, *query)
        wanted = FIELDS.query(filter, order_by)
        with self._units() as uow:
            self._project(uow, workspace_id, project_id)
            found = uow.repo.tasks.list_page(workspace_id, project_id, wanted, page)
        return self._pager.cut(page, found, wanted.key_of)

    def update(self, workspace_id: UUID, project_id: UUID, task_id: UUID, etag: str, patch: ItemPatch) -> Task:
        """The task after the patch.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, ProjectDeleted, FieldsInvalid or AssigneeNotMember.
        """
        candidate = self._assignees.candidate_of(workspace_id, patch)
        with self._units() as uow:
            before = self._changeable(uow, workspace_id, project_id, task_id, etag)
            after = before.changed(patch, self._clock.now())
            if after is not before:
                candidate.require_member(before.assignee_id)
                uow.repo.tasks.save(after)
                uow.emit(after.name, news.updated(before, after))
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, project_id: UUID, task_id: UUID, etag: str) -> None:
        """Delete a task for good, and what waits for an approval of it.

        Raises ResourceNotFound, EtagRequired, EtagMismatch or ProjectDeleted.
        """
        with self._units() as uow:
            task = self._changeable(uow, workspace_id, project_id, task_id, etag)
            supersede(uow, workspace_id, task_id, self._clock.now())
            uow.repo.tasks.remove(task)
            uow.emit(task.name, news.task_deleted(task))
            uow.commit()

    def move(self, workspace_id: UUID, project_id: UUID, task_id: UUID, after_id: UUID | None, etag: str) -> Task:
        """The task in its new place: behind another one of its project, or first.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, ProjectDeleted or FieldsInvalid.
        """
        if after_id == task_id:
            raise FieldsInvalid(FieldViolation("after", "is the task itself"))
        now = self._clock.now()
        with self._units() as uow:
            # Nobody else puts a task into the same gap meanwhile.
            before = self._changeable(uow, workspace_id, project_id, task_id, etag, in_order=True)
            anchor = ""
            if after_id is not None:
                found = uow.repo.tasks.get(workspace_id, project_id, after_id)
                anchor = _found(found, workspace_id, project_id, after_id).position
            following = uow.repo.tasks.next_after(workspace_id, project_id, anchor)
            if following is not None and following[0] == task_id:
                return before
            position = position_between(anchor or None, following[1] if following is not None else None)
            if len(position) > MAX_POSITION_LENGTH:
                position = _spread(uow, before, after_id)
            after = before.at(position, now)
            uow.repo.tasks.save(after)
            uow.emit(after.name, news.task_moved(before, after))
            uow.commit()
        return after

    def transition(
        self, workspace_id: UUID, project_id: UUID, task_id: UUID, to_state: str, etag: str, comment: str
    ) -> tuple[Task, Approval | None]:
        """The task in its new state; or as it is, with the approval that the move waits for.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, ProjectDeleted, StateUnknown, TransitionUnknown,
        TransitionRoleDenied or GuardRefused.
        """
        actor, now = current_actor(), self._clock.now()
        with self._units() as uow:
            uow.repo.workflows.share(workspace_id)
            before = self._changeable(uow, workspace_id, project_id, task_id, etag)
            move = decide(self._rules(uow, before), before, to_state, actor, now)
            if move is None:
                return before, None
            if move.required_approvals:
                approval, is_new = ask(uow, before, move, actor, comment, now)
                if is_new:
                    uow.commit()
                return before, approval
            after = _carry(uow, before, move, comment, now)
            uow.commit()
        return after, None

    def carry_out(self, uow: ProjectsUnitOfWork, approval: Approval, now: datetime) -> Task:
        """Make the move that was approved, in the unit of the last decision, which has locked the task.

        Other moves that wait are called off. Raises ResourceNotFound, ProjectDeleted, StateUnknown, TransitionUnknown
        or GuardRefused.
        """
        task_id, (workspace_id, project_id) = approval.target_id, (approval.workspace_id, approval.project_id)
        self._project(uow, workspace_id, project_id).require_living()
        before = _found(uow.repo.tasks.lock(workspace_id, project_id, task_id), workspace_id, project_id, task_id)
        move = decide_approved(self._rules(uow, before), before, approval.to_state, approval.requester_id, now)
        return _carry(uow, before, move, approval.comment, now, approval.name)

    def available(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> list[tuple[Available, str]]:
        """Where the task could go, and the name of the approval that a move waits for already, if any.

        Raises ResourceNotFound or ProjectDeleted.
        """
        with self._units() as uow:
            self._project(uow, workspace_id, project_id).require_living()
            task = _found(uow.repo.tasks.get(workspace_id, project_id, task_id), workspace_id, project_id, task_id)
            return available_moves(uow, self._rules(uow, task), task, self._clock.now())

    def _changeable(
        self,
        uow: ProjectsUnitOfWork,
        workspace_id: UUID,
        project_id: UUID,
        task_id: UUID,
        etag: str,
        *,
        in_order: bool = False,
    ) -> Task:
        """The task at the version that was read, locked, in a living project; `in_order`: with the project's lock."""
        if in_order:
            uow.repo.projects.lock(workspace_id, project_id)
        project = self._project(uow, workspace_id, project_id)
        task = _found(uow.repo.tasks.lock(workspace_id, project_id, task_id), workspace_id, project_id, task_id)
        check_etag(etag, task.version, task.name)
        project.require_living()
        return task

    def _rules(self, uow: ProjectsUnitOfWork, task: Task) -> Rules:
        return self._rule_book.rules(uow, task, uow.repo.tasks.definition_version(task))

    def _project(self, uow: ProjectsUnitOfWork, workspace_id: UUID, project_id: UUID) -> Project:
        found = uow.repo.projects.get(workspace_id, project_id)
        return present(found, workspace_id, project_id, self._clock.now())


def _found(task: Task | None, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task:
    if task is None:
        raise ResourceNotFound(TASK.format(workspace=workspace_id, project=project_id, task=task_id))
    return task


def _carry(uow: ProjectsUnitOfWork, before: Task, move: Move, comment: str, now: datetime, approval: str = "") -> Task:
    after = before.in_state(move.to_state, now)
    uow.repo.tasks.save(after)
    uow.emit(after.name, news.transitioned(after.subject, after.name, move, comment=comment, approval=approval))
    supersede(uow, after.workspace_id, after.task_id, now)
    return after


def _spread(uow: ProjectsUnitOfWork, task: Task, after_id: UUID | None) -> str:
    """Give every task of the project a short position again, and leave room for the one that moves: its position."""
    others = [one for one in uow.repo.tasks.in_order(task.workspace_id, task.project_id) if one != task.task_id]
    place = 0 if after_id is None else others.index(after_id) + 1
    positions = spread(len(others) + 1)
    mine = positions.pop(place)
    uow.repo.tasks.put_in_order(task.workspace_id, task.project_id, dict(zip(others, positions, strict=True)))
    return mine
