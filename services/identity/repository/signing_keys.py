"""The keys that access tokens are signed with."""

from datetime import datetime

from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, update

from services.identity.model.signing_keys import KeyState, SigningKey
from services.identity.tables import signing_keys
from services.kernel.db import Session, compiled

_c = signing_keys.c
_KID: BindParameter[str] = bindparam("of")
# Transactions that may rotate queue up here: an empty table has no row to lock.
_ROTATION_LOCK = 0x6A776B73

_LOCK = compiled(select(func.pg_advisory_xact_lock(_ROTATION_LOCK).is_(None).label("locked")))
_LIST = compiled(select(signing_keys).order_by(_c.create_time))
_ADD = compiled(insert(signing_keys).values({column.name: bindparam(column.name) for column in signing_keys.columns}))
_SET_STATE = compiled(
    update(signing_keys).where(_c.kid == _KID).values(state=bindparam("to"), state_time=bindparam("now"))
)
_SEAL = compiled(update(signing_keys).where(_c.kid == _KID).values(private_key=bindparam("sealed")))
_DELETE = compiled(delete(signing_keys).where(_c.kid == _KID))


class SigningKeyRepository:
    """Reads and writes signing keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock_rotation(self) -> None:
        """Wait until no other process rotates; held until the commit."""
        self._session.run(_LOCK)

    def list_all(self) -> list[SigningKey]:
        """Every key, oldest first."""
        return self._session.all(_LIST, _signing_key)

    def add(self, key: SigningKey) -> None:
        """Add a key."""
        columns = {name: getattr(key, name) for name in SigningKey.__slots__} | {"state": key.state.value}
        self._session.run(_ADD, **columns)

    def set_state(self, kid: str, state: KeyState, now: datetime) -> None:
        """Let a key enter this state."""
        self._session.run(_SET_STATE, of=kid, to=state.value, now=now)

    def seal(self, kid: str, private_key: bytes) -> None:
        """Store the private key as it is sealed now."""
        self._session.run(_SEAL, of=kid, sealed=private_key)

    def delete(self, kid: str) -> None:
        """Forget a key."""
        self._session.run(_DELETE, of=kid)


def _signing_key(
    kid: str, state: str, public_jwk: str, private_key: bytes, create_time: datetime, state_time: datetime
) -> SigningKey:
    return SigningKey(kid, KeyState(state), public_jwk, private_key, create_time, state_time)
