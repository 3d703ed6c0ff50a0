"""The use cases of tenancy, one module a service of the contract, and how they are put together."""

from collections.abc import Iterable
from dataclasses import dataclass

from plinth.identity.v1 import user_service_pb2_grpc
from services.kernel.paging import Pager
from services.kernel.unit_of_work import Resources, Units
from services.tenancy.model.roles import Catalogue
from services.tenancy.repository import TenancyRepositories
from services.tenancy.service.access import AccessService
from services.tenancy.service.audit import AuditService
from services.tenancy.service.housekeeping import Housekeeping
from services.tenancy.service.invites import InviteService
from services.tenancy.service.members import MemberService
from services.tenancy.service.people import People
from services.tenancy.service.roles import RoleService
from services.tenancy.service.workspaces import WorkspaceService

__all__ = [
    "AccessService",
    "AuditService",
    "Housekeeping",
    "InviteService",
    "MemberService",
    "RoleService",
    "TenancyServices",
    "WorkspaceService",
    "build_tenancy",
]


@dataclass(frozen=True, slots=True)
class TenancyServices:
    """Every use case of tenancy."""

    workspaces: WorkspaceService
    members: MemberService
    invites: InviteService
    roles: RoleService
    access: AccessService
    audit: AuditService
    housekeeping: Housekeeping


def build_tenancy(
    resources: Resources,
    pager: Pager,
    permissions: Iterable[str],
    public_url: str,
    users: user_service_pb2_grpc.UserServiceStub,
) -> TenancyServices:
    """Put the use cases together; `permissions` is the contract's catalogue, `users` the stub of identity."""
    clock = resources.clock
    units = Units(resources, "tenancy", TenancyRepositories)
    catalogue, people = Catalogue(permissions), People(users)
    return TenancyServices(
        workspaces=WorkspaceService(units, clock, pager, people),
        members=MemberService(units, clock, pager, people, catalogue),
        invites=InviteService(units, clock, pager, people, catalogue, public_url),
        roles=RoleService(units, clock, pager, catalogue),
        access=AccessService(units, clock, catalogue),
        audit=AuditService(units, pager),
        housekeeping=Housekeeping(units, clock),
    )
