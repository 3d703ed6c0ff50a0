"""The secrets of webhook endpoints, sealed, as rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BindParameter, Uuid, and_, bindparam, delete, func, insert, or_, select, update

from services.events.model.endpoints import Secret
from services.events.tables import webhook_secrets
from services.kernel.db import Session, compiled

_t = webhook_secrets.c
_MARK: BindParameter[bytes] = bindparam("mark", type_=_t.sealed.type)
_of_endpoint = and_(_t.workspace_id == bindparam("workspace"), _t.endpoint_id == bindparam("endpoint"))
_alive = or_(_t.expire_time.is_(None), _t.expire_time > bindparam("now"))
_ADD = compiled(insert(webhook_secrets).values({c.name: bindparam(c.name) for c in webhook_secrets.columns}))
# The current one has no end, and so comes first.
_LIVE = compiled(
    select(webhook_secrets)
    .where(_of_endpoint, _alive)
    .order_by(_t.expire_time.desc().nulls_first(), _t.secret_id.desc())
)
_LIVE_OF_WORKSPACE = compiled(
    select(webhook_secrets)
    .where(
        _t.workspace_id == bindparam("workspace"),
        _t.endpoint_id == func.any(bindparam("endpoints", type_=ARRAY(Uuid))),
        _alive,
    )
    .order_by(_t.expire_time.desc().nulls_first(), _t.secret_id.desc())
)
# No former secret outlives the overlap that the newest rotation states.
_RETIRE = compiled(
    update(webhook_secrets)
    .where(_of_endpoint, or_(_t.expire_time.is_(None), _t.expire_time > bindparam("end")))
    .values(expire_time=bindparam("end"))
)
_SWEEP = compiled(delete(webhook_secrets).where(_t.expire_time <= bindparam("now")))
_SEALED_OTHERWISE = compiled(
    select(webhook_secrets)
    .where(func.substring(_t.sealed, 1, func.octet_length(_MARK)) != _MARK)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_SEAL = compiled(
    update(webhook_secrets)
    .where(_of_endpoint, _t.secret_id == bindparam("secret"))
    .values(sealed=bindparam("sealed_anew"))
)


class SecretRepository:
    """What signs the deliveries to the endpoints of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, secret: Secret) -> None:
        """Insert it; the one before must have been retired."""
        self._session.run(
            _ADD,
            workspace_id=secret.workspace_id,
            endpoint_id=secret.endpoint_id,
            secret_id=secret.secret_id,
            sealed=secret.sealed,
            public_key=secret.public_key,
            create_time=secret.create_time,
            expire_time=secret.expire_time,
        )

    def live(self, workspace_id: UUID, endpoint_id: UUID, now: datetime) -> list[Secret]:
        """Those that sign now, the current one first."""
        return self._session.all(_LIVE, Secret, workspace=workspace_id, endpoint=endpoint_id, now=now)

    def live_of(self, workspace_id: UUID, endpoint_ids: list[UUID], now: datetime) -> list[Secret]:
        """The same of several endpoints, in one list."""
        return self._session.all(_LIVE_OF_WORKSPACE, Secret, workspace=workspace_id, endpoints=endpoint_ids, now=now)

    def retire(self, workspace_id: UUID, endpoint_id: UUID, end: datetime) -> None:
        """Let every secret end at that moment, unless it ends before."""
        self._session.run(_RETIRE, workspace=workspace_id, endpoint=endpoint_id, end=end)

    def sweep(self, now: datetime) -> int:
        """Delete those that have ended, of any workspace (in a system session); how many."""
        return self._session.run(_SWEEP, now=now)

    def list_sealed_otherwise(self, mark: bytes, count: int) -> list[Secret]:
        """Secrets of any workspace (in a system session) that do not begin with the keyring's mark."""
        return self._session.all(_SEALED_OTHERWISE, Secret, mark=mark, count=count)

    def seal(self, secret: Secret, sealed: bytes) -> None:
        """Replace its ciphertext."""
        self._session.run(
            _SEAL,
            workspace=secret.workspace_id,
            endpoint=secret.endpoint_id,
            secret=secret.secret_id,
            sealed_anew=sealed,
        )
