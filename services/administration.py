"""What an operator does beside the mesh, on its database: read the mail that was kept, name operators."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import orjson
import psycopg
from rich.console import Console
from rich.text import Text

from services.identity.repository import IdentityRepositories
from services.identity.service.directory import Operators
from services.kernel.clock import SystemClock
from services.kernel.config import ConfigError, Settings
from services.kernel.db import Database, Scope
from services.kernel.errors import EmailNotVerified, NotFound, ResourceNotFound
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox, StoredMail
from services.kernel.secrets import DecryptionError
from services.kernel.unit_of_work import Resources, Units
from services.runtime import load_keyring, require_app_login


class NoSuchUser(NotFound):
    """No user has proven that the address is theirs."""

    reason = "NOT_FOUND"

    def __init__(self, email: str) -> None:
        super().__init__(
            f"Nobody has registered {email} and confirmed the address; an operator has to have done both.",
            resource=email,
        )


@dataclass(frozen=True, slots=True, repr=False)
class KeptMail:
    """A mail in clear."""

    kind: str
    recipient: str
    subject: str
    text: str
    create_time: datetime


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """One connection, for the length of a command. Raises ConfigError."""
    try:
        require_app_login(settings.database_url)
    except psycopg.OperationalError as error:
        raise ConfigError(f"The database cannot be reached: {str(error).splitlines()[0]}") from None
    database = Database(settings.database_url, pool_size=1)
    try:
        yield database
    finally:
        database.close()


def read_mail(settings: Settings, *, recipient: str = "", count: int = 10) -> list[KeptMail]:
    """The newest mails that no SMTP server took, newest first; all of them, or those to one address."""
    mailbox = Mailbox(load_keyring(settings, make=False))
    with open_database(settings) as database, database.transaction(Scope("plinth_kernel")) as session:
        stored = mailbox.latest(session, count, recipient)
    return [KeptMail(one.kind, one.recipient, one.subject, _text(mailbox, one), one.create_time) for one in stored]


def _text(mailbox: Mailbox, stored: StoredMail) -> str:
    try:
        return mailbox.text(stored)
    except DecryptionError:
        return "(encrypted under a master key that is not here)"


def show_mail(settings: Settings, *, count: int, recipient: str, as_json: bool) -> None:
    """Print them, for people or for programs."""
    console = Console(highlight=False, soft_wrap=True)
    for mail in read_mail(settings, recipient=recipient, count=count):
        if as_json:
            print(orjson.dumps(mail).decode())  # noqa: T201  # for a program to read
            continue
        console.print(Text(f"{mail.create_time:%Y-%m-%d %H:%M:%S} · {mail.kind} · {mail.recipient}", "dim"))
        console.print(Text(mail.subject, "bold"))
        console.print(Text(mail.text))


def add_operator(settings: Settings, email: str) -> None:
    """Make the user with this proven address an operator. Raises NoSuchUser."""
    with _operators_and(settings, email) as operators:
        operators.add(email)


def remove_operator(settings: Settings, email: str) -> None:
    """Make the user with this address an operator no more. Raises NoSuchUser."""
    with _operators_and(settings, email) as operators:
        operators.remove(email)


def list_operators(settings: Settings) -> list[str]:
    """The addresses of all operators."""
    with open_operators(settings) as operators:
        return [user.email for user in operators.list_all()]


@contextmanager
def _operators_and(settings: Settings, email: str) -> Iterator[Operators]:
    try:
        with open_operators(settings) as operators:
            yield operators
    except (ResourceNotFound, EmailNotVerified):
        raise NoSuchUser(email) from None


@contextmanager
def open_operators(settings: Settings) -> Iterator[Operators]:
    """The use cases behind `plinth operator`."""
    clock = SystemClock()
    with open_database(settings) as database:
        resources = Resources(database, clock, InvalidationHub(), Mailbox(load_keyring(settings, make=False)))
        yield Operators(Units(resources, "identity", IdentityRepositories), clock)
