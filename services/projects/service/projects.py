"""Use cases of ProjectService."""

from datetime import datetime
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.projects.model.approvals import Approval
from services.projects.model.engine import Available, Move, decide, decide_approved
from services.projects.model.items import ItemPatch, NewItem
from services.projects.model.names import PROJECT
from services.projects.model.projects import Project
from services.projects.model.workflows import Subject
from services.projects.repository.projects import FIELDS, Aim
from services.projects.service import news
from services.projects.service.assignees import Assignees
from services.projects.service.moving import RuleBook, ask, available_moves, supersede
from services.projects.service.units import ProjectsUnitOfWork, ProjectsUnits, current_actor
from services.projects.service.workflows import workflow_for


class ProjectService:
    """Projects: made, found, changed, moved, deleted and brought back."""

    def __init__(
        self, units: ProjectsUnits, clock: Clock, pager: Pager, rule_book: RuleBook, assignees: Assignees
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._rule_book = rule_book
        self._assignees = assignees

    def create(self, workspace_id: UUID, new: NewItem) -> Project:
        """A new project, whose author is the caller.

        Raises AssigneeNotMember, ResourceNotFound, WorkflowSubjectMismatch or ProjectNameTaken.
        """
        author, now = current_actor(), self._clock.now()
        self._assignees.candidate(workspace_id, new.assignee_id).require_member()
        with self._units() as uow:
            uow.repo.workflows.share(workspace_id)
            workflow = workflow_for(uow, workspace_id, new.workflow_id, Subject.PROJECT, now)
            project = Project.begun(new, workflow, author.user_id, now, project_id=new_id())
            uow.repo.projects.add(project)
            uow.emit(project.name, news.created(project))
            uow.commit()
        return project

    def get(self, workspace_id: UUID, project_id: UUID) -> Project:
        """The project, deleted or not. Raises ResourceNotFound."""
        with self._units() as uow:
            found = uow.repo.projects.get(workspace_id, project_id)
        return present(found, workspace_id, project_id, self._clock.now())

    def list_projects(
        self, workspace_id: UUID, page_size: int, page_token: str, filter: str, order_by: str, *, show_deleted: bool
    ) -> tuple[list[Project], str]:
        """A page of projects, and the token of the next. Raises PageTokenInvalid, FilterInvalid or OrderByInvalid."""
        query = ("ListProjects", str(workspace_id), filter, order_by, str(show_deleted))
        page = self._pager.page(page_token, page_size, *query)
        wanted = FIELDS.query(filter, order_by)
        with self._units() as uow:
            found = uow.repo.projects.list_page(workspace_id, wanted, page, with_deleted=show_deleted)
        return self._pager.cut(page, found, wanted.key_of)

    def update(self, workspace_id: UUID, project_id: UUID, etag: str, patch: ItemPatch) -> Project:
        """The project after the patch.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, ProjectDeleted, FieldsInvalid, AssigneeNotMember or
        ProjectNameTaken.
        """
        candidate = self._assignees.candidate_of(workspace_id, patch)
        with self._units() as uow:
            before = self._locked(uow, workspace_id, project_id, etag)
            before.require_living()
            after = before.changed(patch, self._clock.now())
            if after is not before:
                candidate.require_member(before.assignee_id)
                uow.repo.projects.save(after)
                uow.emit(after.name, news.updated(before, after))
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, project_id: UUID, etag: str) -> Project:
        """The project, deleted; nothing waits for an approval any more.

        Raises ResourceNotFound, EtagRequired or EtagMismatch.
        """
        now = self._clock.now()
        with self._units() as uow:
            before = self._locked(uow, workspace_id, project_id, etag)
            after = before.after_delete(now)
            if after is not before:
                uow.repo.projects.save(after)
                uow.emit(after.name, news.project_deleted(after))
                supersede(uow, workspace_id, project_id, now)
                uow.commit()
        return after

    def undelete(self, workspace_id: UUID, project_id: UUID, etag: str) -> Project:
        """The project, living again. Raises ResourceNotFound, EtagRequired, EtagMismatch or ProjectNameTaken."""
        with self._units() as uow:
            before = self._locked(uow, workspace_id, project_id, etag)
            after = before.after_undelete(self._clock.now())
            if after is not before:
                uow.repo.projects.save(after)
                uow.emit(after.name, news.project_undeleted(after))
                uow.commit()
        return after

    def transition(
        self, workspace_id: UUID, project_id: UUID, to_state: str, etag: str, comment: str
    ) -> tuple[Project, Approval | None]:
        """The project in its new state; or as it is, with the approval that the move waits for.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, ProjectDeleted, StateUnknown, TransitionUnknown,
        TransitionRoleDenied or GuardRefused.
        """
        actor, now = current_actor(), self._clock.now()
        with self._units() as uow:
            # Again where an approval was asked for meanwhile, or the definition changed before the aim had the shared
            # lock. Another version of the project is refused.
            while True:
                aim = self._aim(uow, workspace_id, project_id, now)
                before = aim.project
                check_etag(etag, before.version, before.name)
                before.require_living()
                rules = self._rule_book.rules(uow, before, aim.definition_version)
                move = decide(rules, before, to_state, actor, now)
                if move is None:
                    return before, None
                if move.required_approvals:
                    self._locked(uow, workspace_id, project_id, etag)
                    if self._aim(uow, workspace_id, project_id, now).definition_version != aim.definition_version:
                        continue
                    approval, is_new = ask(uow, before, move, actor, comment, now)
                    if is_new:
                        uow.repo.projects.touch(before)
                        uow.commit()
                    return before, approval
                after = before.in_state(move.to_state, now)
                if uow.repo.projects.move(aim, after):
                    break
            self._tell(uow, aim, move, comment, now)
            uow.commit()
        return after, None

    def carry_out(self, uow: ProjectsUnitOfWork, approval: Approval, now: datetime) -> Project:
        """Make the move that was approved, in the unit of the last decision, which has locked the project.

        Other moves that wait are called off. Raises ResourceNotFound, ProjectDeleted, StateUnknown, TransitionUnknown
        or GuardRefused.
        """
        aim = self._aim(uow, approval.workspace_id, approval.project_id, now)
        before = aim.project
        before.require_living()
        rules = self._rule_book.rules(uow, before, aim.definition_version)
        move = decide_approved(rules, before, approval.to_state, approval.requester_id, now)
        after = before.in_state(move.to_state, now)
        if not uow.repo.projects.move(aim, after):
            raise LookupError(f"{before.name} was not locked before its approved move")
        self._tell(uow, aim, move, approval.comment, now, approval.name)
        return after

    def available(self, workspace_id: UUID, project_id: UUID) -> list[tuple[Available, str]]:
        """Where the project could go, and the name of the approval that a move waits for already, if any.

        Raises ResourceNotFound or ProjectDeleted.
        """
        now = self._clock.now()
        with self._units() as uow:
            aim = self._aim(uow, workspace_id, project_id, now)
            aim.project.require_living()
            rules = self._rule_book.rules(uow, aim.project, aim.definition_version)
            return available_moves(uow, rules, aim.project, now)

    def _tell(
        self, uow: ProjectsUnitOfWork, aim: Aim, move: Move, comment: str, now: datetime, approval: str = ""
    ) -> None:
        project = aim.project
        uow.emit(
            project.name, news.transitioned(project.subject, project.name, move, comment=comment, approval=approval)
        )
        if aim.waits:
            supersede(uow, project.workspace_id, project.project_id, now)

    def _aim(self, uow: ProjectsUnitOfWork, workspace_id: UUID, project_id: UUID, now: datetime) -> Aim:
        aim = uow.repo.projects.aim(workspace_id, project_id)
        if aim is None or aim.project.gone(now):
            raise ResourceNotFound(PROJECT.format(workspace=workspace_id, project=project_id))
        return aim

    def _locked(self, uow: ProjectsUnitOfWork, workspace_id: UUID, project_id: UUID, etag: str) -> Project:
        found = uow.repo.projects.lock(workspace_id, project_id)
        project = present(found, workspace_id, project_id, self._clock.now())
        check_etag(etag, project.version, project.name)
        return project


def present(project: Project | None, workspace_id: UUID, project_id: UUID, now: datetime) -> Project:
    """The project, deleted or not, unless it is gone for good. Raises ResourceNotFound."""
    if project is None or project.gone(now):
        raise ResourceNotFound(PROJECT.format(workspace=workspace_id, project=project_id))
    return project
