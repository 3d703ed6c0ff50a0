"""Use cases of WorkspaceService."""

from uuid import UUID

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation, ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.feed import GrantChanged
from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE
from services.kernel.paging import Pager
from services.kernel.wire import timestamp
from services.tenancy.model.roles import OWNER
from services.tenancy.model.workspaces import Member, Workspace
from services.tenancy.service.authority import TenancyUnitOfWork, TenancyUnits
from services.tenancy.service.people import People


class WorkspaceService:
    """Workspaces: made, found, renamed, deleted and brought back."""

    def __init__(self, units: TenancyUnits, clock: Clock, pager: Pager, people: People) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._people = people

    def create(self, display_name: str) -> Workspace:
        """A new workspace, owned by the caller. Raises EmailNotVerified."""
        owner = self._people.verified(current_caller().require_user())
        now = self._clock.now()
        workspace = Workspace(new_id(), display_name, 1, now, now)
        member = Member(workspace.workspace_id, owner.user_id, OWNER, 1, now, now)
        with self._units(workspace.workspace_id) as uow:
            uow.repo.workspaces.add(workspace)
            uow.repo.members.add(member)
            uow.emit(workspace.name, events_pb2.WorkspaceCreated(workspace=workspace.name, display_name=display_name))
            uow.emit(member.name, events_pb2.MemberAdded(member=member.name, role=member.role_name))
            uow.invalidate(GrantChanged(workspace.workspace_id, owner.user_id))
            uow.commit()
        return workspace

    def list_mine(self, page_size: int, page_token: str, *, show_deleted: bool) -> tuple[list[Workspace], str]:
        """A page of the caller's workspaces, and the token of the next. Raises PageTokenInvalid."""
        user_id = current_caller().require_user()
        page = self._pager.page(page_token, page_size, "ListWorkspaces", str(user_id), str(show_deleted))
        after = page.after_id()
        with self._units.user() as uow:
            rows = uow.repo.workspaces
            if show_deleted:
                found = rows.list_by_member_with_deleted(user_id, after, page.count, self._clock.now())
            else:
                found = rows.list_by_member(user_id, after, page.count)
        return self._pager.cut(page, found, lambda workspace: (workspace.workspace_id,))

    def get(self, workspace_id: UUID) -> Workspace:
        """The workspace, deleted or not: the grant has decided who sees it. Raises ResourceNotFound."""
        with self._units() as uow:
            workspace = uow.repo.workspaces.get(workspace_id)
        if workspace is None or workspace.gone(self._clock.now()):
            raise ResourceNotFound(WORKSPACE.format(workspace=workspace_id))
        return workspace

    def rename(self, workspace_id: UUID, etag: str, display_name: str | None) -> Workspace:
        """The workspace under another name. Raises ResourceNotFound, EtagRequired, EtagMismatch or FieldsInvalid."""
        if display_name == "":
            raise FieldsInvalid(FieldViolation("workspace.display_name", "must not be empty"))
        with self._units() as uow:
            before = self._locked(uow, workspace_id, etag)
            if before.deleted:
                raise ResourceNotFound(before.name)
            after = before if display_name is None else before.renamed(display_name, self._clock.now())
            if after is not before:
                uow.repo.workspaces.save(after)
                uow.emit(after.name, events_pb2.WorkspaceUpdated(workspace=after.name, display_name=after.display_name))
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, etag: str) -> Workspace:
        """The workspace, closed to its members from now on. Raises ResourceNotFound, EtagRequired or EtagMismatch."""
        with self._units() as uow:
            before = self._locked(uow, workspace_id, etag)
            after = before.after_delete(self._clock.now())
            if after is not before:
                event = events_pb2.WorkspaceDeleted(workspace=after.name, purge_time=timestamp(after.purge_time))
                uow.repo.workspaces.save(after)
                uow.emit(after.name, event)
                uow.invalidate(GrantChanged(workspace_id))
                uow.commit()
        return after

    def undelete(self, workspace_id: UUID, etag: str) -> Workspace:
        """The workspace, open again. Raises ResourceNotFound, EtagRequired or EtagMismatch."""
        with self._units() as uow:
            before = self._locked(uow, workspace_id, etag)
            after = before.after_undelete(self._clock.now())
            if after is not before:
                uow.repo.workspaces.save(after)
                uow.emit(after.name, events_pb2.WorkspaceUndeleted(workspace=after.name))
                uow.invalidate(GrantChanged(workspace_id))
                uow.commit()
        return after

    def _locked(self, uow: TenancyUnitOfWork, workspace_id: UUID, etag: str) -> Workspace:
        workspace = uow.repo.workspaces.lock(workspace_id)
        if workspace is None or workspace.gone(self._clock.now()):
            raise ResourceNotFound(WORKSPACE.format(workspace=workspace_id))
        check_etag(etag, workspace.version, workspace.name)
        return workspace
