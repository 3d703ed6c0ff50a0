"""Users, their passwords, where they sign in from, and who of them operates the instance."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg import errors as pg
from sqlalchemy import BindParameter, any_, bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from services.identity.errors import EmailTaken
from services.identity.model.users import KnownSource, User
from services.identity.tables import known_sources, operators, passwords, users
from services.kernel.db import Session, compiled

_u, _p, _k, _o = users.c, passwords.c, known_sources.c, operators.c
_USER: BindParameter[UUID] = bindparam("user")

_ADD = compiled(
    upsert(users)
    .values({column.name: bindparam(column.name) for column in users.columns})
    .on_conflict_do_nothing(index_elements=["email_key"])
)
_GET = compiled(select(users).where(_u.id == _USER))
_LOCK = compiled(select(users).where(_u.id == _USER).with_for_update())
_GET_BY_EMAIL = compiled(select(users).where(_u.email_key == bindparam("key")))
_GET_MANY = compiled(select(users).where(_u.id == any_(bindparam("ids", type_=ARRAY(PG_UUID)))))
_SAVE = compiled(
    update(users)
    .where(_u.id == _USER)
    .values(
        email=bindparam("new_email"),
        email_key=bindparam("new_key"),
        email_verified=bindparam("verified"),
        display_name=bindparam("name"),
        version=bindparam("new_version"),
        update_time=bindparam("now"),
    )
)
_DELETE = compiled(delete(users).where(_u.id == _USER))

_GET_PASSWORD = compiled(select(_p.hash).where(_p.user_id == _USER))
_ADD_PASSWORD = compiled(
    insert(passwords).values(user_id=bindparam("user"), hash=bindparam("new_hash"), update_time=bindparam("now"))
)
_SET_PASSWORD = compiled(
    update(passwords).where(_p.user_id == _USER).values(hash=bindparam("new_hash"), update_time=bindparam("now"))
)
_REHASH = compiled(
    update(passwords).where(_p.user_id == _USER, _p.hash == bindparam("old_hash")).values(hash=bindparam("new_hash"))
)

_IS_KNOWN = compiled(
    select(_k.user_id).where(
        _k.user_id == _USER, _k.source == bindparam("address"), _k.last_used_time > bindparam("since")
    )
)
_seen = upsert(known_sources).values(
    user_id=bindparam("user"),
    source=bindparam("address"),
    create_time=bindparam("now"),
    last_used_time=bindparam("now"),
)
_REMEMBER = compiled(
    _seen.on_conflict_do_update(
        index_elements=["user_id", "source"], set_={"last_used_time": _seen.excluded.last_used_time}
    )
)
_KNOWN_SOURCES = compiled(select(known_sources).where(_k.user_id == _USER).order_by(_k.last_used_time.desc()))
_SWEEP_SOURCES = compiled(delete(known_sources).where(_k.last_used_time < bindparam("before")))

_IS_OPERATOR = compiled(select(exists().where(_o.user_id == _USER).label("operator")))
_ADD_OPERATOR = compiled(
    upsert(operators).values(user_id=bindparam("user"), create_time=bindparam("now")).on_conflict_do_nothing()
)
_REMOVE_OPERATOR = compiled(delete(operators).where(_o.user_id == _USER))
_OPERATORS = compiled(select(users).where(_u.id.in_(select(_o.user_id))).order_by(_u.email_key))


class UserRepository:
    """Reads and writes users."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, user: User) -> bool:
        """Add a user; False where the address belongs to one already."""
        columns = {name: getattr(user, name) for name in User.__slots__}
        return self._session.run(_ADD, **columns) == 1

    def get(self, user_id: UUID) -> User | None:
        """The user of this id."""
        return self._session.first(_GET, User, user=user_id)

    def lock(self, user_id: UUID) -> User | None:
        """The same, held until the commit."""
        return self._session.first(_LOCK, User, user=user_id)

    def get_by_email(self, email_key: str) -> User | None:
        """The user with this address."""
        return self._session.first(_GET_BY_EMAIL, User, key=email_key)

    def get_many(self, ids: Sequence[UUID]) -> list[User]:
        """Those of the users that exist, in no order."""
        return self._session.all(_GET_MANY, User, ids=list(ids))

    def save(self, user: User) -> None:
        """Write the new values of a user that is locked. Raises EmailTaken where another has the address."""
        try:
            self._session.run(
                _SAVE,
                user=user.id,
                new_email=user.email,
                new_key=user.email_key,
                verified=user.email_verified,
                name=user.display_name,
                new_version=user.version,
                now=user.update_time,
            )
        except pg.UniqueViolation:
            raise EmailTaken from None

    def delete(self, user_id: UUID) -> None:
        """Remove the user, and by cascade all that hangs on it."""
        self._session.run(_DELETE, user=user_id)

    def password_hash(self, user_id: UUID) -> str | None:
        """The encoded argon2id hash."""
        return self._session.first(_GET_PASSWORD, _hash, user=user_id)

    def add_password(self, user_id: UUID, encoded: str, now: datetime) -> None:
        """The first password of a user."""
        self._session.run(_ADD_PASSWORD, user=user_id, new_hash=encoded, now=now)

    def set_password(self, user_id: UUID, encoded: str, now: datetime) -> None:
        """Another password."""
        self._session.run(_SET_PASSWORD, user=user_id, new_hash=encoded, now=now)

    def rehash(self, user_id: UUID, old: str, new: str) -> None:
        """The same password under other parameters, unless it was changed meanwhile."""
        self._session.run(_REHASH, user=user_id, old_hash=old, new_hash=new)

    def is_known_source(self, user_id: UUID, source: str, since: datetime) -> bool:
        """Whether the user has signed in from there since then."""
        return self._session.first(_IS_KNOWN, _id, user=user_id, address=source, since=since) is not None

    def remember_source(self, user_id: UUID, source: str, now: datetime) -> None:
        """Note that the user has proven themselves from there."""
        self._session.run(_REMEMBER, user=user_id, address=source, now=now)

    def known_sources(self, user_id: UUID) -> list[KnownSource]:
        """Where the user has signed in from, the latest first."""
        return self._session.all(_KNOWN_SOURCES, KnownSource, user=user_id)

    def sweep_sources(self, before: datetime) -> int:
        """Forget from where nobody has signed in since; how many."""
        return self._session.run(_SWEEP_SOURCES, before=before)

    def is_operator(self, user_id: UUID) -> bool:
        """Whether the user operates the instance."""
        return bool(self._session.first(_IS_OPERATOR, _operator, user=user_id))

    def add_operator(self, user_id: UUID, now: datetime) -> bool:
        """Make the user an operator; False where they are one."""
        return self._session.run(_ADD_OPERATOR, user=user_id, now=now) == 1

    def remove_operator(self, user_id: UUID) -> bool:
        """Make the user an operator no more; False where they are none."""
        return self._session.run(_REMOVE_OPERATOR, user=user_id) == 1

    def operators(self) -> list[User]:
        """Every operator, by address."""
        return self._session.all(_OPERATORS, User)


def _hash(hash: str) -> str:  # the column's name
    return hash


def _id(user_id: UUID) -> UUID:
    return user_id


def _operator(operator: bool) -> bool:
    return operator
