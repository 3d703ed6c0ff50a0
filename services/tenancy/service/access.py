"""Use cases of AccessService: the grant that the chain asks for, and why it is as it is."""

from collections.abc import Sequence
from uuid import UUID

from services.kernel.caller import Caller, Grant, current_caller
from services.kernel.clock import Clock
from services.tenancy.model.access import Step, Subject, explain
from services.tenancy.model.roles import Catalogue
from services.tenancy.model.workspaces import user_id_in
from services.tenancy.service.authority import TenancyUnits, role_of


class AccessService:
    """Who may do what, and why."""

    def __init__(self, units: TenancyUnits, clock: Clock, catalogue: Catalogue) -> None:
        self._units = units
        self._clock = clock
        self._catalogue = catalogue

    def grant(self, workspace_id: UUID, user_id: UUID) -> Grant | None:
        """What the user may do in the workspace now; None where they have no business."""
        with self._units(workspace_id) as uow:
            membership = uow.repo.members.membership(workspace_id, user_id, self._catalogue)
        return membership.grant(self._clock.now()) if membership is not None else None

    def test(self, permissions: Sequence[str]) -> list[str]:
        """Those of the permissions that the caller holds, in the order given."""
        held = current_caller().require_grant().permissions
        return [permission for permission in permissions if permission in held]

    def explain(self, workspace_id: UUID, permission: str, member_name: str) -> list[Step]:
        """The chain that grants or denies it to a member, by default to the caller. Raises ResourceNotFound."""
        caller = current_caller()
        user_id = user_id_in(workspace_id, member_name, field="member") if member_name else caller.require_user()
        with self._units() as uow:
            member = uow.repo.members.get(workspace_id, user_id)
            role = role_of(uow, self._catalogue, workspace_id, member.role) if member is not None else None
        if member_name:
            subject = Subject(workspace_id, user_id, role)
        else:
            subject = Subject(workspace_id, user_id, role, _key(caller), caller.require_grant().permissions)
        return explain(self._catalogue, subject, permission)


def _key(caller: Caller) -> str:
    return caller.principal if caller.api_key_id is not None else ""
