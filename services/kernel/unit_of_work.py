"""One use case, one unit of work, one commit: rows, events, audit, mail and invalidations together or not at all."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar
from uuid import UUID

import psycopg
from google.protobuf.message import Message
from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import idempotency, mail, outbox
from services.kernel.caller import Caller, current_caller
from services.kernel.clock import Clock
from services.kernel.db import Database, Scope, Session, compiled
from services.kernel.feed import CHANNEL, Invalidation, InvalidationHub, ResourceChanged, encode
from services.kernel.jobs.enqueue import enqueue
from services.kernel.jobs.model import NewJob

R = TypeVar("R")

_NOTIFY = compiled(select(func.pg_notify(CHANNEL, bindparam("payload"))))
_NOTIFY_ALL = compiled(select(func.pg_notify(CHANNEL, func.unnest(bindparam("payloads", type_=ARRAY(Text))))))
_open: ContextVar["UnitOfWork[object] | None"] = ContextVar("plinth_unit_of_work", default=None)
_NOBODY = Caller()


class StubCallInUnitOfWork(RuntimeError):
    """A call to another service while a unit of work holds a connection: enough of them at once would deadlock."""


def forbid_open_unit() -> None:
    """Every stub call passes here first. Raises StubCallInUnitOfWork."""
    if _open.get() is not None:
        raise StubCallInUnitOfWork("close the unit of work before calling another service")


@dataclass(frozen=True, slots=True)
class Resources:
    """What units of work share in a process."""

    database: Database
    clock: Clock
    hub: InvalidationHub
    mailbox: mail.Mailbox


class UnitOfWork(Generic[R]):
    """An open transaction with the domain's repositories in `repo`. Leaving it without `commit` rolls back."""

    repo: R
    session: Session

    def __init__(self, resources: Resources, scope: Scope, repositories: Callable[[Session], R]) -> None:
        self._resources = resources
        self._scope = scope
        self._repositories = repositories
        self._transaction = resources.database.transaction(scope)
        self._emitted: list[outbox.Emitted] = []
        self._invalidations: list[Invalidation] = []
        self._announced: dict[ResourceChanged, None] = {}
        self._mailed = False
        self._token: Token[UnitOfWork[object] | None] | None = None
        self._held = False

    def __enter__(self) -> Self:
        if _open.get() is not None:
            raise RuntimeError("a unit of work is open already")
        self.session = self._transaction.__enter__()
        self._token = _open.set(self)  # type: ignore[arg-type]  # only whether one is open matters there
        try:
            claim = idempotency.current_claim()
            if claim is not None:
                claim.take(self.session, self._resources.clock.now())
            self.repo = self._repositories(self.session)
        except BaseException as error:
            self._close(error)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self._held or error is not None:
            self._close(error)

    def emit(
        self,
        subject: str,
        event: Message,
        *,
        workspace_id: UUID | None = None,
        restricted: bool = False,
        audited: bool = True,
    ) -> None:
        """Tell of an event about `subject` (a resource name) once this commits, and leave its audit row.

        They belong to the workspace of the session, or to the one that a user's or system session states. A
        `restricted` one holds what not everyone in the workspace may know: subscribers inside the mesh get it, and
        neither who reads or watches events nor webhooks do. What a machine does by itself is not `audited`.
        """
        self._emitted.append(
            outbox.emitted(
                subject,
                event,
                workspace_id=workspace_id or self._scope.workspace_id,
                caller=_caller(),
                now=self._resources.clock.now(),
                restricted=restricted,
                audited=audited,
            )
        )

    def enqueue(self, job: NewJob) -> UUID:
        """Hand a job to the workers in this commit; its id, or that of the live job which holds its unique key.

        It belongs to the workspace of the session, or to the one that a user's or system session states.
        """
        return self.enqueue_all([job])[0]

    def enqueue_all(self, new: Sequence[NewJob]) -> list[UUID]:
        """Hand many jobs to the workers in this commit; their ids, in order."""
        return enqueue(
            self.session, new, workspace_id=self._scope.workspace_id, caller=_caller(), now=self._resources.clock.now()
        )

    def mail(self, message: mail.Mail) -> None:
        """Send a mail once this commits."""
        self._resources.mailbox.append(self.session, message, self._resources.clock.now())
        self._mailed = True

    def invalidate(self, *invalidations: Invalidation) -> None:
        """Tell every process, once this commits, what its caches must forget; this one before `commit` returns."""
        for invalidation in invalidations:
            self.session.run(_NOTIFY, payload=encode(invalidation))
            self._invalidations.append(invalidation)

    def announce(self, *changes: ResourceChanged) -> None:
        """Tell whoever watches these, right behind the commit. It may be lost: they look now and then by themselves."""
        self._announced.update(dict.fromkeys(changes))

    def commit(self) -> None:
        """Make all of it last. Under a request_id the commit waits until the answer can be stored with it."""
        claim = idempotency.current_claim()
        if claim is None:
            self._commit()
        else:
            claim.hold(self)
            self._held = True

    def release(self, store: Callable[[Session], object]) -> None:
        """Commit what was held back for the answer, with what `store` adds to it. Raises what `transaction` raises."""
        try:
            store(self.session)
            self._commit()
        except BaseException as error:
            self._close(error)
            raise
        self._close(None)

    def abandon(self) -> None:
        """Roll back what was held back for the answer."""
        self._close(None)

    def _commit(self) -> None:
        # Last of all: what is emitted holds the locks of its subjects until the commit, and no longer.
        outbox.flush(self.session, self._emitted)
        self._emitted.clear()
        self.session.commit()
        for invalidation in self._invalidations:
            self._resources.hub.publish(invalidation)
        self._invalidations.clear()
        self._tell_watchers()
        if self._mailed:
            self._resources.mailbox.wake()

    def _tell_watchers(self) -> None:
        if self._announced:
            # Not in the commit: one that has a NOTIFY keeps all others that have one waiting until it is on disk.
            with suppress(psycopg.Error):
                self.session.run(_NOTIFY_ALL, payloads=[encode(change) for change in self._announced])
            self._announced.clear()

    def _close(self, error: BaseException | None) -> None:
        if self._token is not None:
            _open.reset(self._token)
            self._token = None
            if error is None:
                self._transaction.__exit__(None, None, None)
            else:
                self._transaction.__exit__(type(error), error, error.__traceback__)


class Units(Generic[R]):
    """Opens the units of work of one domain, under its roles. Calling it opens a tenant's."""

    def __init__(self, resources: Resources, domain: str, repositories: Callable[[Session], R]) -> None:
        self._resources = resources
        self._role = f"plinth_{domain}"
        self._repositories = repositories

    def __call__(self, workspace_id: UUID | None = None) -> UnitOfWork[R]:
        """In the caller's workspace; or in a stated one, to found it or to accept an invite into it."""
        caller = _caller()
        scope = Scope(self._role, workspace_id or caller.require_workspace(), caller.user_id)
        return UnitOfWork(self._resources, scope, self._repositories)

    def user(self, user_id: UUID | None = None) -> UnitOfWork[R]:
        """On the rows of the calling user; or of a stated one, where a public method has just proven who it is."""
        scope = Scope(self._role, None, user_id or _caller().require_user())
        return UnitOfWork(self._resources, scope, self._repositories)

    def system(self) -> UnitOfWork[R]:
        """Under the domain's system role: only for the look-ups that come before anyone is known."""
        return UnitOfWork(self._resources, Scope(f"{self._role}_system"), self._repositories)


def _caller() -> Caller:
    try:
        return current_caller()
    except LookupError:
        return _NOBODY
