"""What every process of the mesh has, whatever it serves: settings, keys, database, feed, tracer, logs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.trace import TracerProvider

from interceptors.service_token import ServiceTokens
from services.kernel.clock import Clock, SystemClock
from services.kernel.config import ConfigError, Settings
from services.kernel.db import Database, Scope, Session
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


def load_keyring(settings: Settings) -> Keyring:
    """The master keys: those of the environment, else those of the key file in the data directory."""
    given = settings.master_keys.get_secret_value()
    return Keyring.parse(given) if given else Keyring.from_file(settings.data_dir / KEY_FILE)


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
