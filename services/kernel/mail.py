"""Mail: a row in the commit that it belongs to, sent by a background sender through a port.

The body may hold a token, so it is stored encrypted, and erased once an SMTP server has taken it. Without a server the
rows stay for a month, and `plinth mail` shows them.
"""

import random
import smtplib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import formatdate
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import structlog
from sqlalchemy import Text, and_, bindparam, delete, insert, or_, select, update

from services.kernel import tables
from services.kernel.clock import Clock
from services.kernel.config import ConfigError
from services.kernel.db import Session, compiled
from services.kernel.errors import PlinthError
from services.kernel.ids import new_id
from services.kernel.secrets import Keyring

_log = structlog.get_logger("plinth.mail")

_MAX_ATTEMPTS = 12
_FIRST_DELAY = timedelta(seconds=5)
_MAX_DELAY = timedelta(hours=1)
_POLL_SECONDS = 2.0
_SMTP_TIMEOUT_SECONDS = 20.0
# Longer than all the steps of one delivery may take.
_LEASE = timedelta(minutes=5)
# Nobody waits for a mail of the day before yesterday: a server that is set late must not be flooded with old links.
_STALE = timedelta(days=2)
_SENT_KEPT = timedelta(days=7)
# Given up, or never tried as there is no server: by then no link in it works any more.
_UNSENT_KEPT = timedelta(days=30)

_t = tables.mail
_APPEND = compiled(
    insert(_t).values(
        id=bindparam("id"),
        kind=bindparam("kind"),
        recipient=bindparam("recipient"),
        subject=bindparam("subject"),
        body=bindparam("body"),
        create_time=bindparam("now"),
        next_attempt_time=bindparam("now"),
    )
)
_COLUMNS = (_t.c.id, _t.c.kind, _t.c.recipient, _t.c.subject, _t.c.body, _t.c.create_time, _t.c.attempts)
_due = (
    select(_t.c.id)
    .where(_t.c.next_attempt_time <= bindparam("now"), _t.c.create_time > bindparam("stale_before"))
    .order_by(_t.c.next_attempt_time)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIM = compiled(
    update(_t)
    .where(_t.c.id.in_(_due))
    .values(next_attempt_time=bindparam("lease_until"), attempts=_t.c.attempts + 1)
    .returning(*_COLUMNS)
)
_SENT = compiled(
    update(_t)
    .where(_t.c.id == bindparam("mail_id"))
    .values(next_attempt_time=None, send_time=bindparam("now"), body=None)
)
_FAILED = compiled(
    update(_t)
    .where(_t.c.id == bindparam("mail_id"))
    .values(next_attempt_time=bindparam("retry_time"), last_error=bindparam("error"))
)
_SWEEP = compiled(
    delete(_t).where(
        or_(
            _t.c.send_time <= bindparam("sent_before"),
            and_(_t.c.send_time.is_(None), _t.c.create_time <= bindparam("created_before")),
        )
    )
)
_LATEST = compiled(
    select(*_COLUMNS)
    .where(
        _t.c.body.is_not(None), or_(bindparam("recipient", type_=Text) == "", _t.c.recipient == bindparam("recipient"))
    )
    .order_by(_t.c.create_time.desc())
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True, repr=False)
class Mail:
    """A mail to one person. `kind` is a stable word, e.g. `invite`; the text is plain and may hold a token."""

    recipient: str
    subject: str
    text: str
    kind: str


@dataclass(frozen=True, slots=True, repr=False)
class StoredMail:
    """A mail as it lies in the table, its body encrypted."""

    id: UUID
    kind: str
    recipient: str
    subject: str
    body: bytes
    create_time: datetime
    attempts: int


class Mailbox:
    """Where units of work put mails, and the sender and `plinth mail` find them."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self.waiting = threading.Event()

    def append(self, session: Session, message: Mail, now: datetime) -> None:
        """Add a mail to the session's commit."""
        mail_id = new_id()
        body = self._keyring.encrypt(message.text.encode(), context=_context(mail_id))
        session.run(
            _APPEND,
            id=mail_id,
            kind=message.kind,
            recipient=message.recipient,
            subject=message.subject,
            body=body,
            now=now,
        )

    def wake(self) -> None:
        """Tell the sender that there is something new."""
        self.waiting.set()

    def text(self, stored: StoredMail) -> str:
        """The body in clear."""
        return self._keyring.decrypt(stored.body, context=_context(stored.id)).decode()

    def latest(self, session: Session, count: int, recipient: str = "") -> list[StoredMail]:
        """The newest mails that still have a body, newest first; all of them, or those to one address."""
        return session.all(_LATEST, StoredMail, count=count, recipient=recipient)


class Transport(Protocol):
    """Takes a mail off our hands."""

    def send(self, mail_id: UUID, message: Mail) -> None:
        """Send it. Raises when it should be tried again."""
        ...


class SmtpTransport:
    """An SMTP server, named as smtp://user:password@host:587 (STARTTLS where offered) or smtps://…:465."""

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == -1:
            raise ConfigError("PLINTH_SMTP_URL: must be smtp://user:password@host:port or smtps://…")
        self._host, self._tls = parts.hostname, parts.scheme == "smtps"
        self._port = port or (465 if self._tls else 587)
        self._login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._sender = sender

    def send(self, mail_id: UUID, message: Mail) -> None:
        """Send it. Raises OSError or smtplib.SMTPException when it should be tried again."""
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = self._sender, message.recipient, message.subject
        # The same id at every attempt lets the receiver drop a duplicate of an answer that was lost.
        letter["Message-ID"] = f"<{mail_id}@plinth>"
        letter["Date"] = formatdate()
        letter.set_content(message.text)
        connect = smtplib.SMTP_SSL if self._tls else smtplib.SMTP
        with connect(self._host, self._port, timeout=_SMTP_TIMEOUT_SECONDS) as server:
            if not self._tls and server.has_extn("starttls"):
                server.starttls()
            if self._login is not None:
                server.login(*self._login)
            server.send_message(letter)


class MailSender:
    """Sends what is due, with a lease per mail, so that several processes never send one at once."""

    def __init__(
        self,
        mailbox: Mailbox,
        transport: Transport,
        open_session: Callable[[], AbstractContextManager[Session]],
        clock: Clock,
    ) -> None:
        self._mailbox = mailbox
        self._transport = transport
        self._open_session = open_session
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-mail", daemon=True)

    def start(self) -> None:
        """Begin to send, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the mail at hand and end the thread."""
        self._stopping.set()
        self._mailbox.wake()
        self._thread.join(timeout=_SMTP_TIMEOUT_SECONDS)

    def send_due(self) -> int:
        """Send what is due, one after the other, until nothing is or the sender stops; how many were tried."""
        tried = 0
        while not self._stopping.is_set() and (stored := self._claim()) is not None:
            self._send(stored)
            tried += 1
        return tried

    def _claim(self) -> StoredMail | None:
        """The mail that is due longest, leased to this sender alone: one at a time, so that no lease runs out."""
        now = self._clock.now()
        with self._open_session() as session:
            stored = session.first(_CLAIM, StoredMail, now=now, lease_until=now + _LEASE, stale_before=now - _STALE)
            session.commit()
        return stored

    def _send(self, stored: StoredMail) -> None:
        try:
            message = Mail(stored.recipient, stored.subject, self._mailbox.text(stored), stored.kind)
            self._transport.send(stored.id, message)
        except Exception as error:  # noqa: BLE001  # a mail that cannot be sent must not keep back the others
            delay = min(_FIRST_DELAY * 2 ** (stored.attempts - 1), _MAX_DELAY)
            delay *= random.uniform(0.5, 1)  # noqa: S311  # jitter
            retry_time = self._clock.now() + delay if stored.attempts < _MAX_ATTEMPTS else None
            with self._open_session() as session:
                session.run(_FAILED, mail_id=stored.id, retry_time=retry_time, error=type(error).__name__)
                session.commit()
            _log.warning("mail.failed", mail=str(stored.id), attempts=stored.attempts, error=type(error).__name__)
        else:
            with self._open_session() as session:
                session.run(_SENT, mail_id=stored.id, now=self._clock.now())
                session.commit()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._mailbox.waiting.clear()
            try:
                self.send_due()
            except PlinthError as error:
                _log.warning("mail.paused", reason=error.reason)
            except Exception:  # noqa: BLE001  # whatever it was, all mails of the process hang on this thread
                _log.exception("mail.failed")
            self._mailbox.waiting.wait(_POLL_SECONDS)


def sweep(session: Session, now: datetime) -> int:
    """Delete the mails that are no longer kept: sent, given up, or left unsent for want of a server; how many."""
    return session.run(_SWEEP, sent_before=now - _SENT_KEPT, created_before=now - _UNSENT_KEPT)


def _context(mail_id: UUID) -> str:
    return f"kernel.mail/{mail_id}"
