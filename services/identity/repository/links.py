"""Mailed links."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BindParameter, bindparam, delete, insert, select

from services.identity.model.links import Link, Purpose
from services.identity.tables import links
from services.kernel.db import Session, compiled

_c = links.c
_USER: BindParameter[UUID] = bindparam("user")
_PURPOSE: BindParameter[str] = bindparam("of")
_TOKEN: BindParameter[bytes] = bindparam("hash")

_ADD = compiled(insert(links).values({column.name: bindparam(column.name) for column in links.columns}))
_GET = compiled(select(links).where(_c.token_hash == _TOKEN, _c.purpose == _PURPOSE))
_LOCK = compiled(select(links).where(_c.token_hash == _TOKEN, _c.user_id == _USER).with_for_update())
_LIST = compiled(select(links).where(_c.user_id == _USER).order_by(_c.create_time.desc()))
_DELETE = compiled(delete(links).where(_c.user_id == _USER, _c.purpose == _PURPOSE))
_DELETE_ALL = compiled(delete(links).where(_c.user_id == _USER))
_SWEEP = compiled(delete(links).where(_c.expire_time < bindparam("before")))


class LinkRepository:
    """Reads and writes the links that wait."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, link: Link) -> None:
        """Add a link."""
        columns = {name: getattr(link, name) for name in Link.__slots__} | {"purpose": link.purpose.value}
        self._session.run(_ADD, **columns)

    def get(self, token_hash: bytes, purpose: Purpose) -> Link | None:
        """The link with this token, if it is for this."""
        return self._session.first(_GET, _link, hash=token_hash, of=purpose.value)

    def lock(self, link: Link) -> Link | None:
        """The same link, if it has not been used meanwhile; held until the commit."""
        return self._session.first(_LOCK, _link, hash=link.token_hash, user=link.user_id)

    def list_by_user(self, user_id: UUID) -> list[Link]:
        """Every link of a user, the latest first."""
        return self._session.all(_LIST, _link, user=user_id)

    def delete(self, user_id: UUID, purpose: Purpose) -> None:
        """Make every link of a user for this purpose useless."""
        self._session.run(_DELETE, user=user_id, of=purpose.value)

    def delete_all(self, user_id: UUID) -> None:
        """Make every link of a user useless."""
        self._session.run(_DELETE_ALL, user=user_id)

    def sweep(self, before: datetime) -> int:
        """Forget the links that expired by then; how many."""
        return self._session.run(_SWEEP, before=before)


def _link(
    *,
    token_hash: bytes,
    user_id: UUID,
    purpose: str,
    email: str,
    password_hash: str | None,
    display_name: str | None,
    create_time: datetime,
    expire_time: datetime,
) -> Link:
    return Link(token_hash, user_id, Purpose(purpose), email, password_hash, display_name, create_time, expire_time)
