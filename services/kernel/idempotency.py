"""One effect per `request_id` (AIP-155): the claim, the effect and the answer are one commit.

The chain opens a claim around a call that carries a request_id. Each unit of work that the call opens first inserts the
claim's row; a second call with the same key waits there for the first one's commit, and then finds its answer. The
commit is held back until the chain has the answer's bytes, so that no effect is ever stored without its answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import and_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel import tables
from services.kernel.db import Session, compiled
from services.kernel.errors import RequestIdReused, RequestInProgress
from services.kernel.secrets import Keyring

KEPT = timedelta(hours=24)
NO_WORKSPACE = UUID(int=0)

_t = tables.idempotency
_KEY = and_(
    _t.c.principal == bindparam("principal"),
    _t.c.workspace_id == bindparam("workspace"),
    _t.c.method == bindparam("method"),
    _t.c.request_id == bindparam("request_id"),
)
_new = insert(_t).values(
    principal=bindparam("principal"),
    workspace_id=bindparam("workspace"),
    method=bindparam("method"),
    request_id=bindparam("request_id"),
    payload_hash=bindparam("payload_hash"),
    create_time=bindparam("now"),
)
# One statement claims a new key and takes over an expired one; it touches no row where the key is live.
_CLAIM = compiled(
    _new.on_conflict_do_update(
        index_elements=["principal", "workspace_id", "method", "request_id"],
        set_={"payload_hash": _new.excluded.payload_hash, "answer": None, "create_time": _new.excluded.create_time},
        where=_t.c.create_time <= bindparam("expired_before"),
    )
)
_FIND = compiled(select(_t.c.payload_hash, _t.c.answer).where(_KEY))
_STORE_ANSWER = compiled(update(_t).where(_KEY).values(answer=bindparam("sealed")))
_SWEEP = compiled(delete(_t).where(_t.c.create_time <= bindparam("expired_before")))


class Replay(Exception):  # not an error: the answer that was given before
    """The call had its effect already; `answer` is the serialized response that it was given."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class HeldCommit(Protocol):
    """A unit of work whose commit waits for the answer."""

    def release(self, store: Callable[[Session], object]) -> None:
        """Run `store` in the transaction, and commit."""

    def abandon(self) -> None:
        """Roll back."""


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a request_id unique: a client's ids never meet those of another."""

    principal: str
    workspace: UUID
    method: str
    request_id: str

    @property
    def params(self) -> dict[str, object]:
        """As the statements' parameters."""
        return {
            "principal": self.principal,
            "workspace": self.workspace,
            "method": self.method,
            "request_id": self.request_id,
        }

    @property
    def context(self) -> str:
        """What the stored answer is encrypted for."""
        return f"kernel.idempotency/{self.principal}/{self.workspace}/{self.method}/{self.request_id}"


class Claim:
    """The claim of one call on its key."""

    def __init__(self, key: Key, payload_hash: bytes, keyring: Keyring) -> None:
        self._key = key
        self._payload_hash = payload_hash
        self._keyring = keyring
        self._held: HeldCommit | None = None

    def take(self, session: Session, now: datetime) -> None:
        """Claim the key in this transaction. Raises Replay, RequestIdReused or RequestInProgress."""
        try:
            if session.run(
                _CLAIM, payload_hash=self._payload_hash, now=now, expired_before=now - KEPT, **self._key.params
            ):
                return
        except LockNotAvailable:
            raise RequestInProgress(self._key.request_id) from None
        found = session.first(_FIND, lambda payload_hash, answer: (payload_hash, answer), **self._key.params)
        if found is None:
            raise RequestInProgress(self._key.request_id)
        payload_hash, answer = found
        if payload_hash != self._payload_hash:
            raise RequestIdReused(self._key.request_id)
        raise Replay(self._keyring.decrypt(answer, context=self._key.context))

    def hold(self, unit: HeldCommit) -> None:
        """Keep the unit open until the answer is known."""
        if self._held is not None:
            raise RuntimeError("a call with a request_id commits once")
        self._held = unit

    def answered(self, answer: bytes) -> None:
        """Store the answer beside the effect, and commit both."""
        if self._held is not None:
            sealed = self._keyring.encrypt(answer, context=self._key.context)
            self._held.release(lambda session: session.run(_STORE_ANSWER, sealed=sealed, **self._key.params))
            self._held = None

    def abandon(self) -> None:
        """Roll back what is still held."""
        if self._held is not None:
            self._held.abandon()
            self._held = None


_claim: ContextVar[Claim | None] = ContextVar("plinth_claim", default=None)


def current_claim() -> Claim | None:
    """The claim of the call under way, if it carries a request_id."""
    return _claim.get()


@contextmanager
def claiming(claim: Claim) -> Iterator[None]:
    """Let the units of work inside take this claim; whatever is still held at the end is rolled back."""
    token = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(token)
        claim.abandon()


@contextmanager
def unclaimed() -> Iterator[None]:
    """What is committed inside is no effect of the call, but prepares one: it lasts, and a repeat may do it again."""
    token = _claim.set(None)
    try:
        yield
    finally:
        _claim.reset(token)


def sweep(session: Session, now: datetime) -> int:
    """Delete the keys that are no longer kept; how many."""
    return session.run(_SWEEP, expired_before=now - KEPT)
