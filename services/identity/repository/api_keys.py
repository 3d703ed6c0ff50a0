"""API keys. The hash is looked up and never read back."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BindParameter, and_, bindparam, delete, insert, or_, select, update

from services.identity.model.api_keys import ApiKey
from services.identity.tables import api_keys
from services.kernel.db import Session, compiled

_c = api_keys.c
_COLUMNS = [column for column in api_keys.columns if column.name != "key_hash"]
_WORKSPACE: BindParameter[UUID] = bindparam("workspace")
_ID: BindParameter[UUID] = bindparam("key")
_NOW: BindParameter[datetime] = bindparam("now")
_ONE = and_(_c.workspace_id == _WORKSPACE, _c.id == _ID)

_ADD = compiled(insert(api_keys).values({column.name: bindparam(column.name) for column in api_keys.columns}))
_LOCK = compiled(select(*_COLUMNS).where(_ONE).with_for_update())
_GET_BY_HASH = compiled(select(*_COLUMNS).where(_c.key_hash == bindparam("hash")))
_REVOKE = compiled(update(api_keys).where(_ONE).values(revoke_time=_NOW).returning(*_COLUMNS))
_REVOKE_BY_CREATOR = compiled(
    update(api_keys)
    .where(_c.creator_id == bindparam("user"), _c.revoke_time.is_(None))
    .values(revoke_time=_NOW)
    .returning(*_COLUMNS)
)
_REVOKE_BY_MEMBER = compiled(
    update(api_keys)
    .where(
        _c.workspace_id == _WORKSPACE,
        _c.creator_id == bindparam("user"),
        _c.create_time <= bindparam("until"),
        _c.revoke_time.is_(None),
    )
    .values(revoke_time=_NOW)
    .returning(*_COLUMNS)
)
_DELETE_BY_WORKSPACE = compiled(delete(api_keys).where(_c.workspace_id == _WORKSPACE).returning(*_COLUMNS))
_TOUCH = compiled(
    update(api_keys)
    .where(_ONE, or_(_c.last_used_time.is_(None), _c.last_used_time < bindparam("before")))
    .values(last_used_time=_NOW)
)
_PAGE = compiled(
    select(*_COLUMNS).where(_c.workspace_id == _WORKSPACE).order_by(_c.id.desc()).limit(bindparam("count"))
)
_PAGE_AFTER = compiled(
    select(*_COLUMNS)
    .where(_c.workspace_id == _WORKSPACE, _c.id < bindparam("after"))
    .order_by(_c.id.desc())
    .limit(bindparam("count"))
)
_BY_CREATOR = compiled(select(*_COLUMNS).where(_c.creator_id == bindparam("user")).order_by(_c.id.desc()))


class ApiKeyRepository:
    """Reads and writes API keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: ApiKey, key_hash: bytes) -> None:
        """Add a key."""
        columns = {name: getattr(key, name) for name in ApiKey.__slots__}
        self._session.run(_ADD, **columns | {"key_hash": key_hash, "permissions": list(key.permissions)})

    def lock(self, workspace_id: UUID, key_id: UUID) -> ApiKey | None:
        """The key, held until the commit."""
        return self._session.first(_LOCK, _api_key, workspace=workspace_id, key=key_id)

    def get_by_hash(self, key_hash: bytes) -> ApiKey | None:
        """The key with this hash, in whichever workspace."""
        return self._session.first(_GET_BY_HASH, _api_key, hash=key_hash)

    def revoke(self, key: ApiKey, now: datetime) -> ApiKey:
        """The key, revoked."""
        revoked = self._session.first(_REVOKE, _api_key, workspace=key.workspace_id, key=key.id, now=now)
        if revoked is None:
            raise LookupError("the key is gone")
        return revoked

    def revoke_by_creator(self, user_id: UUID, now: datetime) -> list[ApiKey]:
        """Revoke every key that the user made, in any workspace; those that were not revoked before."""
        return self._session.all(_REVOKE_BY_CREATOR, _api_key, user=user_id, now=now)

    def revoke_by_member(self, workspace_id: UUID, user_id: UUID, until: datetime, now: datetime) -> list[ApiKey]:
        """Revoke what the user made in the workspace up to `until`; those that were not revoked before."""
        return self._session.all(
            _REVOKE_BY_MEMBER, _api_key, workspace=workspace_id, user=user_id, until=until, now=now
        )

    def delete_by_workspace(self, workspace_id: UUID) -> list[ApiKey]:
        """Delete every key of the workspace, and answer them as they were."""
        return self._session.all(_DELETE_BY_WORKSPACE, _api_key, workspace=workspace_id)

    def touch(self, key: ApiKey, now: datetime, before: datetime) -> bool:
        """Note a use, unless one was noted since `before`."""
        return self._session.run(_TOUCH, workspace=key.workspace_id, key=key.id, now=now, before=before) == 1

    def list_page(self, workspace_id: UUID, *, after: UUID | None, count: int) -> list[ApiKey]:
        """Keys of a workspace, the latest first, after this id."""
        if after is None:
            return self._session.all(_PAGE, _api_key, workspace=workspace_id, count=count)
        return self._session.all(_PAGE_AFTER, _api_key, workspace=workspace_id, after=after, count=count)

    def list_by_creator(self, user_id: UUID) -> list[ApiKey]:
        """Every key that a user made, in any workspace, the latest first."""
        return self._session.all(_BY_CREATOR, _api_key, user=user_id)


def _api_key(
    *,
    workspace_id: UUID,
    id: UUID,  # the column's name
    creator_id: UUID,
    display_name: str,
    prefix: str,
    permissions: list[str],
    create_time: datetime,
    expire_time: datetime,
    last_used_time: datetime | None,
    revoke_time: datetime | None,
) -> ApiKey:
    return ApiKey(
        workspace_id,
        id,
        creator_id,
        display_name,
        prefix,
        tuple(permissions),
        create_time,
        expire_time,
        last_used_time,
        revoke_time,
    )
