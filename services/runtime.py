"""What every process of the mesh has, whatever it serves: settings, keys, database, feed, tracer, logs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass

import psycopg
from opentelemetry.sdk.trace import TracerProvider

from interceptors.service_token import ServiceTokens
from services.kernel.clock import Clock, SystemClock
from services.kernel.config import ConfigError, Settings
from services.kernel.db import Database, Scope, Session, passes_policies
from services.kernel.feed import InvalidationHub, PostgresFeed
from services.kernel.mail import Mailbox
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.telemetry import LineWriter, configure_logging, tracer_provider
from services.kernel.unit_of_work import Resources

KEY_FILE = "master.key"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process."""

    settings: Settings
    clock: Clock
    keyring: Keyring
    tokens: ServiceTokens
    pager: Pager
    database: Database
    hub: InvalidationHub
    mailbox: Mailbox
    provider: TracerProvider
    writer: LineWriter

    @property
    def resources(self) -> Resources:
        """What units of work share."""
        return Resources(self.database, self.clock, self.hub, self.mailbox)

    def kernel_session(self) -> AbstractContextManager[Session]:
        """A transaction on the kernel's own tables: mail to send, keys to sweep."""
        return self.database.transaction(Scope("plinth_kernel"))


def load_keyring(settings: Settings, *, make: bool = True) -> Keyring:
    """The master keys: those of the environment, else those of the key file in the data directory.

    Where that file is missing, it is made with a new key. Raises ConfigError, also where it must not be made (`make`).
    """
    given = settings.master_keys.get_secret_value()
    if given:
        return Keyring.parse(given)
    path = settings.data_dir / KEY_FILE
    if not make and not path.exists():
        raise ConfigError(f"PLINTH_MASTER_KEYS: is needed, or PLINTH_DATA_DIR: there is no {path}")
    return Keyring.from_file(path)


def require_app_login(database_url: str) -> None:
    """Refuse a login that is past row-level security, and whose sessions the app's own login cannot end.

    Raises ConfigError, and psycopg.OperationalError where the database is out of reach.
    """
    if passes_policies(database_url):
        raise ConfigError(
            "PLINTH_DATABASE_URL: names a login that is a superuser or has BYPASSRLS, which would see every tenant. "
            "Name the app's login, plinth_app; the owner's belongs in PLINTH_MIGRATE_DATABASE_URL"
        )


@contextmanager
def open_runtime(
    settings: Settings, process: str, clock: Clock | None = None, *, lets_in: bool = True
) -> Iterator[Runtime]:
    """Build the parts, and close them in the reverse order. Raises ConfigError.

    A process that lets no caller in (`lets_in`) keeps nothing that the invalidation feed could tell it to forget.
    """
    if not settings.database_url:
        raise ConfigError("PLINTH_DATABASE_URL: is needed; `plinth up` brings its own database")
    configure_logging(settings.log_level)
    # Out of reach now, it may be back in a moment: no reason not to start.
    with suppress(psycopg.OperationalError):
        require_app_login(settings.database_url)
    keyring = load_keyring(settings)
    with ExitStack() as stack:
        writer = LineWriter()
        stack.callback(writer.close)
        provider = tracer_provider(settings, process)
        stack.callback(provider.shutdown)
        database = Database(settings.database_url, pool_size=settings.pool_size)
        stack.callback(database.close)
        hub = InvalidationHub()
        if lets_in:
            feed = PostgresFeed(lambda: database.connect("feed"), hub)
            feed.start()
            stack.callback(feed.stop)
        yield Runtime(
            settings=settings,
            clock=clock or SystemClock(),
            keyring=keyring,
            tokens=ServiceTokens(keyring),
            pager=Pager(keyring.derive("page tokens")),
            database=database,
            hub=hub,
            mailbox=Mailbox(keyring),
            provider=provider,
            writer=writer,
        )
