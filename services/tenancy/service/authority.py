"""What use cases that change members, roles and invites read under the workspace's lock before they decide."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.kernel.caller import current_caller
from services.kernel.errors import ResourceNotFound
from services.kernel.names import WORKSPACE
from services.kernel.unit_of_work import UnitOfWork, Units
from services.tenancy.model.names import ROLE
from services.tenancy.model.roles import BUILT_IN, Catalogue, Role
from services.tenancy.model.workspaces import Workspace
from services.tenancy.repository import TenancyRepositories

TenancyUnitOfWork = UnitOfWork[TenancyRepositories]
TenancyUnits = Units[TenancyRepositories]


def lock_living(uow: TenancyUnitOfWork, workspace_id: UUID) -> Workspace:
    """The workspace, locked until the commit; a deleted one is not found. Raises ResourceNotFound."""
    workspace = uow.repo.workspaces.lock(workspace_id)
    if workspace is None or workspace.deleted:
        raise ResourceNotFound(WORKSPACE.format(workspace=workspace_id))
    return workspace


def role_of(uow: TenancyUnitOfWork, catalogue: Catalogue, workspace_id: UUID, role_id: str) -> Role:
    """A role of the workspace, built-in or custom, less what the contract no longer knows. Raises ResourceNotFound."""
    if role_id in BUILT_IN:
        return catalogue.built_in(workspace_id, role_id)
    name = ROLE.format(workspace=workspace_id, role=role_id)
    try:
        role = uow.repo.roles.get(workspace_id, UUID(role_id))
    except ValueError:
        raise ResourceNotFound(name) from None
    if role is None:
        raise ResourceNotFound(name)
    return replace(role, permissions=role.permissions & catalogue.permissions)


def held_by_user(
    uow: TenancyUnitOfWork, catalogue: Catalogue, workspace_id: UUID, user_id: UUID, now: datetime
) -> frozenset[str]:
    """What a user may do in the workspace at this very moment; nothing when they are no member."""
    membership = uow.repo.members.membership(workspace_id, user_id, catalogue)
    grant = membership.grant(now) if membership is not None else None
    return grant.permissions if grant is not None else frozenset()


def held_by_caller(uow: TenancyUnitOfWork, catalogue: Catalogue, workspace_id: UUID, now: datetime) -> frozenset[str]:
    """The same of the caller: no more than the grant that the call was let in with, which an API key narrows."""
    caller = current_caller()
    held = held_by_user(uow, catalogue, workspace_id, caller.require_user(), now)
    return held & caller.require_grant().permissions
