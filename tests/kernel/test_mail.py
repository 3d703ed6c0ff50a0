"""Mail: sent once by whoever claims it, tried again when it fails, erased when it is gone."""

import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller

from services.kernel.clock import FrozenClock
from services.kernel.config import ConfigError
from services.kernel.db import Database, Scope, Session
from services.kernel.mail import Mail, Mailbox, MailSender, SmtpTransport, sweep
from services.kernel.secrets import Keyring, MasterKey
from services.kernel.unit_of_work import Resources, Units
from services.mesh.ports import free_port
from tests.kernel.conftest import Owner
from tests.support.acting import at_once

TEXT = "Your link: https://example.com/?token=very-secret"


class PostOffice:
    """An SMTP server's view of what came in. `refusals` are given first, one per attempt."""

    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.refusals: list[str] = []
        self.arrived = threading.Event()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        self.letters.append(message_from_bytes(envelope.content))
        self.arrived.set()
        return "250 OK"


@pytest.fixture(scope="module")
def smtp() -> Iterator[tuple[Controller, PostOffice]]:
    office = PostOffice()
    controller = Controller(office, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller, office
    controller.stop()


@pytest.fixture
def office(smtp: tuple[Controller, PostOffice], owner: Owner) -> PostOffice:
    """Empty, and nothing to send but what the test writes."""
    owner.execute("truncate kernel.mail")
    _, office = smtp
    office.letters.clear()
    office.refusals.clear()
    office.arrived.clear()
    return office


@pytest.fixture
def transport(smtp: tuple[Controller, PostOffice]) -> SmtpTransport:
    controller, _ = smtp
    return SmtpTransport(f"smtp://127.0.0.1:{controller.port}", "Plinth <no-reply@example.com>")


@pytest.fixture
def sessions(database: Database) -> Callable[[], AbstractContextManager[Session]]:
    return lambda: database.transaction(Scope("plinth_kernel"))


@pytest.fixture
def mailbox(keyring: Keyring) -> Mailbox:
    return Mailbox(keyring)


@pytest.fixture
def sender(
    mailbox: Mailbox,
    transport: SmtpTransport,
    sessions: Callable[[], AbstractContextManager[Session]],
    clock: FrozenClock,
) -> MailSender:
    return MailSender(mailbox, transport, sessions, clock)


def _write(units: Units[Session], *recipients: str) -> None:
    with units.system() as uow:
        for recipient in recipients:
            uow.mail(Mail(recipient, "Grüße", TEXT, "invite"))
        uow.commit()


class TestSmtp:
    def test_a_mail_arrives_as_it_was_written(
        self, units: Units[Session], office: PostOffice, sender: MailSender
    ) -> None:
        _write(units, "a@example.com")
        assert sender.send_due() == 1
        (letter,) = office.letters
        assert letter["To"] == "a@example.com"
        assert letter["From"] == "Plinth <no-reply@example.com>"
        assert "Gr" in str(letter["Subject"])
        assert letter["Date"] is not None
        assert TEXT.encode() in letter.get_payload(decode=True)

    def test_is_sent_once(self, units: Units[Session], office: PostOffice, sender: MailSender) -> None:
        _write(units, "a@example.com")
        assert [sender.send_due(), sender.send_due()] == [1, 0]
        assert len(office.letters) == 1

    def test_is_tried_again_under_the_same_id_and_later_each_time(
        self, units: Units[Session], office: PostOffice, sender: MailSender, clock: FrozenClock, owner: Owner
    ) -> None:
        office.refusals = ["451 not now", "554 never"]
        _write(units, "a@example.com")
        (row,) = owner.execute("select id from kernel.mail").fetchall()
        assert sender.send_due() == 1
        assert sender.send_due() == 0, "tried again at once"
        clock.advance(timedelta(seconds=5))
        assert sender.send_due() == 1
        assert sender.send_due() == 0
        clock.advance(timedelta(seconds=10))
        assert sender.send_due() == 1
        assert [letter["Message-ID"] for letter in office.letters] == [f"<{row['id']}@plinth>"]

    def test_the_body_lies_encrypted_and_is_erased_once_it_is_gone(
        self, units: Units[Session], office: PostOffice, sender: MailSender, owner: Owner, clock: FrozenClock
    ) -> None:
        _write(units, "a@example.com")
        (before,) = owner.execute("select body from kernel.mail").fetchall()
        assert b"secret" not in bytes(before["body"])
        sender.send_due()
        (after,) = owner.execute("select body, send_time, next_attempt_time from kernel.mail").fetchall()
        assert after == {"body": None, "send_time": clock.now(), "next_attempt_time": None}
        assert len(office.letters) == 1

    def test_no_server_is_a_reason_to_try_again(
        self,
        units: Units[Session],
        mailbox: Mailbox,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
        office: PostOffice,
        owner: Owner,
    ) -> None:
        nobody = SmtpTransport(f"smtp://127.0.0.1:{free_port()}", "a@example.com")
        _write(units, "a@example.com")
        assert MailSender(mailbox, nobody, sessions, clock).send_due() == 1
        (row,) = owner.execute("select last_error, next_attempt_time, attempts from kernel.mail").fetchall()
        assert row["last_error"] == "ConnectionRefusedError"
        assert row["attempts"] == 1
        assert clock.now() < row["next_attempt_time"] <= clock.now() + timedelta(seconds=5)
        assert office.letters == []

    @pytest.mark.parametrize("url", ["", "example.com:25", "http://example.com", "smtp://", "smtp://example.com:99999"])
    def test_a_url_that_is_none_stops_the_start_and_is_not_shown(self, url: str) -> None:
        with pytest.raises(ConfigError, match="PLINTH_SMTP_URL: must be"):
            SmtpTransport(url, "a@example.com")


class TestSender:
    def test_two_senders_never_send_one_mail_twice(
        self,
        units: Units[Session],
        mailbox: Mailbox,
        transport: SmtpTransport,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
        office: PostOffice,
    ) -> None:
        recipients = [f"{number}@example.com" for number in range(20)]
        _write(units, *recipients)
        tried = at_once(4, lambda: MailSender(mailbox, transport, sessions, clock).send_due())
        assert sum(tried) == 20
        assert Counter(letter["To"] for letter in office.letters) == dict.fromkeys(recipients, 1)

    @pytest.mark.usefixtures("office")
    def test_a_slow_server_lets_no_lease_run_out(
        self,
        units: Units[Session],
        mailbox: Mailbox,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
    ) -> None:
        sent: list[str] = []

        class Slow:
            def send(self, mail_id: UUID, message: Mail) -> None:
                del mail_id
                sent.append(message.recipient)
                clock.advance(timedelta(minutes=1))
                if len(sent) == 3:
                    MailSender(mailbox, self, sessions, clock).send_due()

        _write(units, *(f"{number}@example.com" for number in range(6)))
        MailSender(mailbox, Slow(), sessions, clock).send_due()
        assert sorted(sent) == [f"{number}@example.com" for number in range(6)]

    @pytest.mark.parametrize("error", [ValueError("no header"), smtplib.SMTPRecipientsRefused({}), TimeoutError()])
    @pytest.mark.usefixtures("office")
    def test_a_mail_that_cannot_be_sent_keeps_back_no_other(
        self,
        units: Units[Session],
        mailbox: Mailbox,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
        error: Exception,
    ) -> None:
        sent: list[str] = []

        class Picky:
            def send(self, mail_id: UUID, message: Mail) -> None:
                del mail_id
                if message.recipient == "bad@example.com":
                    raise error
                sent.append(message.recipient)

        _write(units, "bad@example.com", "good@example.com")
        assert MailSender(mailbox, Picky(), sessions, clock).send_due() == 2
        assert sent == ["good@example.com"]

    def test_a_mail_whose_key_is_gone_keeps_back_no_other(
        self,
        resources: Resources,
        units: Units[Session],
        transport: SmtpTransport,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
        office: PostOffice,
        owner: Owner,
    ) -> None:
        _write(units, "a@example.com")
        other = Mailbox(Keyring([MasterKey("other", b"o" * 32)]))
        _write(Units(replace(resources, mailbox=other), "tenancy", lambda session: session), "b@example.com")
        MailSender(other, transport, sessions, clock).send_due()
        assert [letter["To"] for letter in office.letters] == ["b@example.com"]
        left = owner.execute("select last_error from kernel.mail where body is not null").fetchall()
        assert left == [{"last_error": "DecryptionError"}]

    def test_gives_up_in_the_end(
        self, units: Units[Session], office: PostOffice, sender: MailSender, clock: FrozenClock, owner: Owner
    ) -> None:
        office.refusals = ["451 not now"] * 12
        _write(units, "a@example.com")
        tried = 0
        for _ in range(30):
            tried += sender.send_due()
            clock.advance(timedelta(hours=1))
        assert tried == 12
        (row,) = owner.execute("select next_attempt_time, send_time from kernel.mail").fetchall()
        assert row == {"next_attempt_time": None, "send_time": None}

    def test_does_not_send_what_nobody_waits_for_any_more(
        self, units: Units[Session], office: PostOffice, sender: MailSender, clock: FrozenClock
    ) -> None:
        _write(units, "a@example.com")
        clock.advance(timedelta(days=3))
        assert sender.send_due() == 0
        assert office.letters == []

    def test_its_thread_sends_as_soon_as_a_commit_wakes_it(
        self,
        resources: Resources,
        units: Units[Session],
        transport: SmtpTransport,
        sessions: Callable[[], AbstractContextManager[Session]],
        clock: FrozenClock,
        office: PostOffice,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("services.kernel.mail._POLL_SECONDS", 60.0)
        sender = MailSender(resources.mailbox, transport, sessions, clock)
        sender.start()
        _write(units, "a@example.com")
        assert office.arrived.wait(10)
        sender.stop()
        assert not sender._thread.is_alive()


class TestSweep:
    @pytest.fixture
    def kept(
        self, sessions: Callable[[], AbstractContextManager[Session]], clock: FrozenClock, owner: Owner
    ) -> Callable[[timedelta], list[str]]:
        """Who still has a mail in the table when it is swept so much later."""

        def look(later: timedelta) -> list[str]:
            with sessions() as session:
                sweep(session, clock.now() + later)
                session.commit()
            rows = owner.execute("select recipient from kernel.mail order by recipient").fetchall()
            return [row["recipient"] for row in rows]

        return look

    def test_takes_what_was_sent_a_week_ago(
        self,
        units: Units[Session],
        office: PostOffice,
        sender: MailSender,
        clock: FrozenClock,
        kept: Callable[[timedelta], list[str]],
    ) -> None:
        _write(units, "sent@example.com")
        clock.advance(timedelta(days=1))  # it counts when it was sent, not when it was written
        sender.send_due()
        assert len(office.letters) == 1
        assert kept(timedelta(days=7, seconds=-1)) == ["sent@example.com"]
        assert kept(timedelta(days=7)) == []

    def test_takes_what_was_given_up_a_month_ago(
        self,
        units: Units[Session],
        office: PostOffice,
        sender: MailSender,
        owner: Owner,
        kept: Callable[[timedelta], list[str]],
    ) -> None:
        office.refusals = ["451 not now"]
        _write(units, "refused@example.com")
        owner.execute("update kernel.mail set attempts = 11")
        sender.send_due()
        (row,) = owner.execute("select next_attempt_time from kernel.mail").fetchall()
        assert row["next_attempt_time"] is None
        assert kept(timedelta(days=30, seconds=-1)) == ["refused@example.com"]
        assert kept(timedelta(days=30)) == []

    @pytest.mark.usefixtures("office")
    def test_takes_what_no_server_was_there_for_a_month_ago(
        self, units: Units[Session], clock: FrozenClock, kept: Callable[[timedelta], list[str]]
    ) -> None:
        _write(units, "a@example.com")
        clock.advance(timedelta(days=1))
        _write(units, "b@example.com")
        assert kept(timedelta(days=29, seconds=-1)) == ["a@example.com", "b@example.com"]
        assert kept(timedelta(days=29)) == ["b@example.com"]


class TestLocalOutbox:
    def test_shows_the_newest_first_in_clear_and_by_address(
        self, units: Units[Session], mailbox: Mailbox, database: Database, clock: FrozenClock, office: PostOffice
    ) -> None:
        for recipient in ("a@example.com", "b@example.com"):
            _write(units, recipient)
            clock.advance(timedelta(seconds=1))
        with database.transaction(Scope("plinth_kernel")) as session:
            stored = mailbox.latest(session, 10)
            to_a = mailbox.latest(session, 10, "a@example.com")
            one = mailbox.latest(session, 1)
        assert [mail.recipient for mail in stored] == ["b@example.com", "a@example.com"]
        assert [mail.recipient for mail in to_a] == ["a@example.com"]
        assert [mail.recipient for mail in one] == ["b@example.com"]
        assert mailbox.text(stored[0]) == TEXT
        assert office.letters == []

    def test_no_mail_shows_its_text_when_printed(self) -> None:
        assert "secret" not in repr(Mail("a@example.com", "s", TEXT, "invite"))
