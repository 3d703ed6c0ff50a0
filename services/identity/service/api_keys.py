"""Use cases of API keys: make, list, revoke, verify; and end with what they hang on."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from plinth.identity.v1 import events_pb2
from services.identity.model.api_keys import ApiKey, check_expiry, check_permissions, shown_prefix
from services.identity.model.sessions import RevokeReason
from services.identity.repository import IdentityRepositories
from services.identity.service.ending import tell_of_revoked
from services.identity.service.sessions import USE_NOTED_EVERY
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.ids import new_id
from services.kernel.names import API_KEY
from services.kernel.paging import Pager
from services.kernel.secrets import hash_token, new_token
from services.kernel.tokens import API_KEY_PREFIX
from services.kernel.unit_of_work import UnitOfWork, Units
from services.kernel.wire import timestamp


class ApiKeys:
    """The API keys of a workspace; and for the chain, any."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock, pager: Pager) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager

    def create(self, display_name: str, permissions: Sequence[str], expire_time: datetime | None) -> tuple[ApiKey, str]:
        """A new key and its secret. A key cannot make keys: it would outlive its own revocation.

        Raises SessionRequired, PermissionsExceedGrant or FieldsInvalid.
        """
        caller = current_caller()
        caller.require_session()
        now, secret = self._clock.now(), new_token(API_KEY_PREFIX)
        key = ApiKey(
            workspace_id=caller.require_workspace(),
            id=new_id(),
            creator_id=caller.require_user(),
            display_name=display_name,
            prefix=shown_prefix(secret),
            permissions=check_permissions(permissions, caller.require_grant().permissions),
            create_time=now,
            expire_time=check_expiry(expire_time, now),
            last_used_time=None,
            revoke_time=None,
        )
        created = events_pb2.ApiKeyCreated(
            api_key=key.name,
            creator=caller.principal,
            permissions=key.permissions,
            expire_time=timestamp(key.expire_time),
        )
        with self._units() as uow:
            uow.repo.api_keys.add(key, hash_token(secret))
            uow.emit(key.name, created)
            uow.commit()
        return key, secret

    def list_page(self, page_size: int, page_token: str) -> tuple[list[ApiKey], str]:
        """A page of the workspace's keys, the latest first, and the token of the next. Raises PageTokenInvalid."""
        workspace_id = current_caller().require_workspace()
        page = self._pager.page(page_token, page_size, "ListApiKeys", str(workspace_id))
        with self._units() as uow:
            found = uow.repo.api_keys.list_page(workspace_id, after=page.after_id(), count=page.count)
        return self._pager.cut(page, found, lambda key: (key.id,))

    def revoke(self, key_id: UUID) -> ApiKey:
        """The key, revoked. Raises ResourceNotFound."""
        workspace_id = current_caller().require_workspace()
        with self._units() as uow:
            key = uow.repo.api_keys.lock(workspace_id, key_id)
            if key is None:
                raise ResourceNotFound(API_KEY.format(workspace=workspace_id, api_key=key_id))
            if key.revoke_time is None:
                key = uow.repo.api_keys.revoke(key, self._clock.now())
                tell_of_revoked(uow, [key])
                uow.commit()
            return key

    def end_membership(
        self, uow: UnitOfWork[IdentityRepositories], workspace_id: UUID, user_id: UUID, end_time: datetime
    ) -> None:
        """Revoke what a former member made: whoever joins again gets no key back, and keeps those made since."""
        revoked = uow.repo.api_keys.revoke_by_member(workspace_id, user_id, end_time, self._clock.now())
        tell_of_revoked(uow, revoked, RevokeReason.MEMBERSHIP_ENDED)

    def forget_workspace(self, uow: UnitOfWork[IdentityRepositories], workspace_id: UUID) -> None:
        """Delete every key of a workspace that is gone; what still lived ends as by a revocation."""
        keys = uow.repo.api_keys.delete_by_workspace(workspace_id)
        tell_of_revoked(uow, [key for key in keys if key.revoke_time is None], RevokeReason.WORKSPACE_PURGED)

    def verify(self, secret: str) -> ApiKey | None:
        """What a key stands for; None for one that does not live. Notes the use."""
        now = self._clock.now()
        with self._units.system() as uow:
            key = uow.repo.api_keys.get_by_hash(hash_token(secret))
            if key is None or not key.is_live(now):
                return None
            if uow.repo.api_keys.touch(key, now, now - USE_NOTED_EVERY):
                uow.commit()
        return key
