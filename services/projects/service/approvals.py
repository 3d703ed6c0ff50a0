"""Use cases of ApprovalService."""

from datetime import timedelta
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.paging import Pager
from services.projects.model.approvals import Approval, ApprovalState, Decision
from services.projects.model.names import APPROVAL
from services.projects.repository.approvals import FIELDS
from services.projects.service import news
from services.projects.service.projects import ProjectService
from services.projects.service.tasks import TaskService
from services.projects.service.units import ProjectsUnitOfWork, ProjectsUnits, current_actor


class ApprovalService:
    """Moves that wait for people: looked up, decided, and called off when nobody decides."""

    def __init__(
        self, units: ProjectsUnits, clock: Clock, pager: Pager, projects: ProjectService, tasks: TaskService
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._projects = projects
        self._tasks = tasks

    def get(self, workspace_id: UUID, approval_id: UUID) -> Approval:
        """The approval. Raises ResourceNotFound."""
        with self._units() as uow:
            return _found(uow.repo.approvals.get(workspace_id, approval_id), workspace_id, approval_id)

    def list_approvals(
        self, workspace_id: UUID, page_size: int, page_token: str, filter: str, order_by: str
    ) -> tuple[list[Approval], str]:
        """A page of approvals, and the token of the next. Raises PageTokenInvalid, FilterInvalid or OrderByInvalid."""
        page = self._pager.page(page_token, page_size, "ListApprovals", str(workspace_id), filter, order_by)
        wanted = FIELDS.query(filter, order_by)
        with self._units() as uow:
            found = uow.repo.approvals.list_page(workspace_id, wanted, page)
        return self._pager.cut(page, found, wanted.key_of)

    def decide(self, workspace_id: UUID, approval_id: UUID, decision: Decision, etag: str, comment: str) -> Approval:
        """The approval with the caller's decision; with the last that it needs, the move is made in the same commit.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, SelfApproval, ApprovalDecided, ApprovalClosed, or what
        keeps the move from being made.
        """
        user_id, now = current_actor().user_id, self._clock.now()
        with self._units() as uow:
            before = self._locked(uow, workspace_id, approval_id)
            check_etag(etag, before.version, before.name)
            after = before.decided(user_id, decision, comment, now)
            if after is not before:
                uow.repo.approvals.save(after)
                uow.emit(after.name, news.approval_decided(after, after.decisions[-1]))
                if after.state is ApprovalState.APPROVED:
                    mover = self._projects if after.task_id is None else self._tasks
                    mover.carry_out(uow, after, now)
                uow.commit()
        return after

    def expire(self, workspace_id: UUID, approval_id: UUID) -> timedelta | None:
        """Call the move off, if its time is up and it still waits; for how long it can yet be decided, if it can."""
        now = self._clock.now()
        with self._units(workspace_id) as uow:
            before = uow.repo.approvals.lock(workspace_id, approval_id)
            if before is None:
                return None
            after = before.expired(now)
            if after is not before:
                uow.repo.approvals.save(after)
                uow.emit(after.name, news.approval_expired(after))
                uow.commit()
        return after.expire_time - now if after.pending else None

    def _locked(self, uow: ProjectsUnitOfWork, workspace_id: UUID, approval_id: UUID) -> Approval:
        """The approval, locked after what it is to move: in the order of every transition, so that none deadlocks."""
        uow.repo.workflows.share(workspace_id)
        seen = _found(uow.repo.approvals.get(workspace_id, approval_id), workspace_id, approval_id)
        uow.repo.projects.lock(workspace_id, seen.project_id)
        if seen.task_id is not None:
            uow.repo.tasks.lock(workspace_id, seen.project_id, seen.task_id)
        return _found(uow.repo.approvals.lock(workspace_id, approval_id), workspace_id, approval_id)


def _found(approval: Approval | None, workspace_id: UUID, approval_id: UUID) -> Approval:
    if approval is None:
        raise ResourceNotFound(APPROVAL.format(workspace=workspace_id, approval=approval_id))
    return approval
