"""The invalidation feed: tells every process, at once, what is no longer as it was; above all grants, sessions, keys.

Commits that somebody waits for NOTIFY it; each process that caches or serves streams listens. Its heartbeat bounds how
stale a cache can be: an entry counts only while the last heartbeat is younger than `MAX_SILENCE_SECONDS`.

What somebody only watches is told behind the commit, and may be lost (`UnitOfWork.announce`): no cache hangs on it.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson
import psycopg
import structlog

CHANNEL = "plinth_invalidation"
HEARTBEAT_SECONDS = 0.25
MAX_SILENCE_SECONDS = 1.0

_log = structlog.get_logger("plinth.feed")


@dataclass(frozen=True, slots=True)
class GrantChanged:
    """What a user may do in a workspace changed; without a user, what anyone may do there."""

    workspace_id: UUID
    user_id: UUID | None = None

    @property
    def of(self) -> UUID:
        """The workspace."""
        return self.workspace_id


@dataclass(frozen=True, slots=True)
class SessionRevoked:
    """A session ended before its time."""

    session_id: UUID

    @property
    def of(self) -> UUID:
        """The session."""
        return self.session_id


@dataclass(frozen=True, slots=True)
class UserSessionsRevoked:
    """What is known of a user's sessions is no longer true: some ended, or the user's own rights changed."""

    user_id: UUID

    @property
    def of(self) -> UUID:
        """The user."""
        return self.user_id


@dataclass(frozen=True, slots=True)
class ApiKeyRevoked:
    """An API key was revoked."""

    api_key_id: UUID

    @property
    def of(self) -> UUID:
        """The key."""
        return self.api_key_id


@dataclass(frozen=True, slots=True)
class ResourceChanged:
    """A resource changed that somebody may be watching: it is to be read anew."""

    resource_id: UUID

    @property
    def of(self) -> UUID:
        """The resource."""
        return self.resource_id


Invalidation = GrantChanged | SessionRevoked | UserSessionsRevoked | ApiKeyRevoked | ResourceChanged
# What is heard: all of a kind, or those `of` one thing. The latter costs nothing while others change.
Topic = type[Any] | tuple[type[Any], UUID]
# What access hangs on. It changes seldom, unlike what is watched.
ACCESS: tuple[type[Invalidation], ...] = (GrantChanged, SessionRevoked, UserSessionsRevoked, ApiKeyRevoked)
Listener = Callable[[Invalidation | None], None]

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*ACCESS, ResourceChanged)}


def encode(invalidation: Invalidation) -> str:
    """As the payload of a NOTIFY."""
    return orjson.dumps({"kind": type(invalidation).__name__, **asdict(invalidation)}).decode()


def decode(payload: str) -> Invalidation:
    """From the payload of a NOTIFY. Raises ValueError."""
    fields = orjson.loads(payload)
    try:
        kind = _KINDS[fields.pop("kind")]
        decoded: Invalidation = kind(**{name: UUID(value) if value else None for name, value in fields.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not an invalidation") from error
    return decoded


class Feed(Protocol):
    """What caches need of a feed."""

    def subscribe(self, listener: Listener, topics: Collection[Topic] = ACCESS) -> Callable[[], None]:
        """Call `listener` with each of these, and with None when any may have been missed; answers how to stop."""
        ...

    def heard(self) -> float:
        """Up to when (monotonic seconds) nothing can have been missed."""
        ...

    def healthy(self) -> bool:
        """Whether that is less than MAX_SILENCE_SECONDS ago."""
        ...


class InvalidationHub:
    """The process's own end of the feed: sources publish to it, caches and open streams subscribe."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}
        self._by_topic: dict[Topic, dict[object, Listener]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._sources: dict[str, float] = {}
        self._heard = float("-inf")

    def subscribe(self, listener: Listener, topics: Collection[Topic] = ACCESS) -> Callable[[], None]:
        """Call `listener` with each of these, and with None when any may have been missed; answers how to stop."""
        subscription = object()
        with self._lock:
            self._listeners[subscription] = listener
            for topic in topics:
                self._by_topic[topic][subscription] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(subscription, None)
                for topic in topics:
                    self._by_topic[topic].pop(subscription, None)
                    if not self._by_topic[topic]:
                        del self._by_topic[topic]

        return unsubscribe

    def publish(self, invalidation: Invalidation | None) -> None:
        """Tell every subscriber of this process whom it concerns."""
        with self._lock:
            if invalidation is None:
                concerned = list(self._listeners.values())
            else:
                kind = type(invalidation)
                topics: tuple[Topic, ...] = (kind, (kind, invalidation.of))
                concerned = [one for topic in topics for one in self._by_topic.get(topic, {}).values()]
        for listener in concerned:
            listener(invalidation)

    def expect(self, source: str) -> None:
        """From now on the hub is healthy only while this source is."""
        with self._lock:
            self._sources[source] = self._heard = float("-inf")

    def expects(self) -> bool:
        """Whether there is a source to hear."""
        return bool(self._sources)

    def beat(self, source: str, sent: float) -> None:
        """A heartbeat that was sent at `sent` (monotonic seconds) came back from the source."""
        with self._lock:
            self._sources[source] = sent
            self._heard = min(self._sources.values())

    def heard(self) -> float:
        """Up to when (monotonic seconds) nothing of any source can have been missed."""
        return self._heard

    def healthy(self) -> bool:
        """Whether every source was heard within MAX_SILENCE_SECONDS."""
        return time.monotonic() - self._heard < MAX_SILENCE_SECONDS


class PostgresFeed:
    """Feeds the hub from LISTEN on the database; a round trip every HEARTBEAT_SECONDS is its heartbeat.

    PostgreSQL hands a listener what is pending before it answers its next query, so a heartbeat that came back
    proves that nothing committed before it was sent is still outstanding.
    """

    SOURCE = "postgres"

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], hub: InvalidationHub) -> None:
        self._connect = connect
        self._hub = hub
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="plinth-feed", daemon=True)
        hub.expect(self.SOURCE)

    def start(self) -> None:
        """Begin to listen, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection."""
        self._stopping.set()
        self._thread.join(timeout=2 * MAX_SILENCE_SECONDS)

    def _follow(self) -> None:
        delay = 0.05
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"listen {CHANNEL}")
                    self._hub.publish(None)
                    delay = 0.05
                    while not self._stopping.is_set():
                        self._listen(connection)
            except psycopg.Error as error:
                _log.warning("feed.lost", error=type(error).__name__, retry_seconds=delay)
                self._stopping.wait(delay)
                delay = min(delay * 2, MAX_SILENCE_SECONDS)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        sent = time.monotonic()
        connection.execute("select")
        self._drain(connection, timeout=0)
        self._hub.beat(self.SOURCE, sent)
        self._drain(connection, timeout=HEARTBEAT_SECONDS)

    def _drain(self, connection: psycopg.Connection[Any], timeout: float) -> None:
        for notify in connection.notifies(timeout=timeout):
            try:
                self._hub.publish(decode(notify.payload))
            except ValueError:
                # Another release may send what this one does not know: forget everything rather than miss it.
                self._hub.publish(None)
