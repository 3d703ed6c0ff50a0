"""Every SQL statement of tenancy, one class a table."""

from services.kernel.db import Session
from services.tenancy.repository.audit import AuditRepository
from services.tenancy.repository.invites import InviteRepository
from services.tenancy.repository.members import MemberRepository
from services.tenancy.repository.roles import RoleRepository
from services.tenancy.repository.workspaces import WorkspaceRepository


class TenancyRepositories:
    """What a unit of work of tenancy has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.workspaces = WorkspaceRepository(session)
        self.members = MemberRepository(session)
        self.roles = RoleRepository(session)
        self.invites = InviteRepository(session)
        self.audit = AuditRepository(session)


__all__ = ["TenancyRepositories"]
