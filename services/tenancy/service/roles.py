"""Use cases of RoleService."""

from uuid import UUID

from plinth.tenancy.v1 import events_pb2
from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import check_etag
from services.kernel.feed import GrantChanged
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.tenancy.errors import RoleInUse, RoleLimitReached, RoleNameTaken
from services.tenancy.model.roles import BUILT_IN, MAX_CUSTOM_ROLES, Catalogue, Role, RolePatch
from services.tenancy.service.authority import TenancyUnitOfWork, TenancyUnits, held_by_caller, lock_living, role_of


class RoleService:
    """Roles: the built-in ones, and a workspace's own."""

    def __init__(self, units: TenancyUnits, clock: Clock, pager: Pager, catalogue: Catalogue) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._catalogue = catalogue

    def create(self, workspace_id: UUID, display_name: str, description: str, permissions: frozenset[str]) -> Role:
        """A new custom role. Raises FieldsInvalid, RoleAboveOwn, RoleNameTaken or RoleLimitReached."""
        now = self._clock.now()
        role = Role(workspace_id, str(new_id()), display_name, description, permissions, 1, now, now)
        self._catalogue.check(permissions)
        _refuse_built_in_name(display_name)
        with self._units() as uow:
            lock_living(uow, workspace_id)
            role.require_within(held_by_caller(uow, self._catalogue, workspace_id, now))
            if uow.repo.roles.count(workspace_id) >= MAX_CUSTOM_ROLES:
                raise RoleLimitReached(MAX_CUSTOM_ROLES)
            uow.repo.roles.add(role)
            uow.emit(
                role.name,
                events_pb2.RoleCreated(role=role.name, display_name=display_name, permissions=sorted(permissions)),
            )
            uow.commit()
        return role

    def get(self, workspace_id: UUID, role_id: str) -> Role:
        """A role, built-in or custom. Raises ResourceNotFound."""
        with self._units() as uow:
            return role_of(uow, self._catalogue, workspace_id, role_id)

    def list_roles(self, workspace_id: UUID, page_size: int, page_token: str) -> tuple[list[Role], str]:
        """A page of roles, the built-in ones first, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListRoles", str(workspace_id))
        after = str(page.after[0]) if page.after else ""
        if after in BUILT_IN or not after:
            rest = BUILT_IN[BUILT_IN.index(after) + 1 :] if after else BUILT_IN
            found = [self._catalogue.built_in(workspace_id, role_id) for role_id in rest]
            last_custom = None
        else:
            found, last_custom = [], UUID(after)
        with self._units() as uow:
            found += uow.repo.roles.list_by_id(workspace_id, last_custom, max(page.count - len(found), 0))
        return self._pager.cut(page, found, lambda role: (role.role_id,))

    def update(self, workspace_id: UUID, role_id: str, etag: str, patch: RolePatch) -> Role:
        """The role after the patch; every grant of the workspace is read anew.

        Raises ResourceNotFound, RoleBuiltIn, EtagRequired, EtagMismatch, FieldsInvalid, RoleAboveOwn or RoleNameTaken.
        """
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation("role.display_name", "must not be empty"))
        if patch.permissions is not None:
            self._catalogue.check(patch.permissions)
        _refuse_built_in_name(patch.display_name or "")
        now = self._clock.now()
        with self._units() as uow:
            before = self._changeable(uow, workspace_id, role_id, etag)
            after = before.changed(patch, now)
            if after is not before:
                held = held_by_caller(uow, self._catalogue, workspace_id, now)
                before.require_within(held)
                after.require_within(held)
                uow.repo.roles.save(after)
                uow.emit(
                    after.name,
                    events_pb2.RoleUpdated(
                        role=after.name, display_name=after.display_name, permissions=sorted(after.permissions)
                    ),
                )
                uow.invalidate(GrantChanged(workspace_id))
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, role_id: str, etag: str) -> None:
        """Delete a role that nobody has. Raises as `update`, and RoleInUse."""
        now = self._clock.now()
        with self._units() as uow:
            role = self._changeable(uow, workspace_id, role_id, etag)
            role.require_within(held_by_caller(uow, self._catalogue, workspace_id, now))
            uow.repo.invites.expire_with_role(workspace_id, UUID(role.role_id), now)
            if uow.repo.roles.in_use(role):
                raise RoleInUse(role.name)
            uow.repo.roles.remove(role)
            uow.emit(role.name, events_pb2.RoleDeleted(role=role.name))
            uow.commit()

    def _changeable(self, uow: TenancyUnitOfWork, workspace_id: UUID, role_id: str, etag: str) -> Role:
        lock_living(uow, workspace_id)
        role = role_of(uow, self._catalogue, workspace_id, role_id)
        role.require_custom()
        check_etag(etag, role.version, role.name)
        return role


def _refuse_built_in_name(display_name: str) -> None:
    """A custom role that is called as a built-in one would pass for it. Raises RoleNameTaken."""
    if display_name.strip().casefold() in BUILT_IN:
        raise RoleNameTaken(display_name)
