"""What a process tells Prometheus of itself beside its calls."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.kernel import event_lag
from services.kernel.clock import Clock
from services.kernel.db import Database, Session
from services.kernel.event_log import EventSource
from services.kernel.feed import InvalidationHub
from services.kernel.fresh import Fresh


class ProcessGauges(Collector):
    """The invalidation feed, where the process hears one, and the connection pool."""

    def __init__(self, feed: InvalidationHub, database: Database) -> None:
        self._feed = feed
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """Read at each scrape."""
        if self._feed.expects():
            yield GaugeMetricFamily(
                "plinth_feed_healthy",
                "1 while the invalidation feed was heard within the last second; caches are bypassed while it is 0.",
                value=float(self._feed.healthy()),
            )
        open_connections, idle, waiting = self._database.pool_state()
        yield GaugeMetricFamily("plinth_db_connections", "Open database connections.", value=open_connections)
        yield GaugeMetricFamily("plinth_db_connections_idle", "Those that no call uses.", value=idle)
        yield GaugeMetricFamily("plinth_db_waiting", "Calls that wait for a connection.", value=waiting)


class EventLogLag(Collector):
    """How far the sequencer is behind the commits, and each subscriber behind the log."""

    def __init__(
        self, source: EventSource, open_session: Callable[[], AbstractContextManager[Session]], clock: Clock
    ) -> None:
        self._source = source
        self._open_session = open_session
        self._clock = clock
        self._metrics = Fresh(lambda: list(self._ask()))

    def collect(self) -> Iterator[Metric]:
        """For Prometheus; nothing while the database is out of reach."""
        yield from self._metrics.get() or ()

    def _ask(self) -> Iterator[Metric]:
        head = self._source.head()
        with self._open_session() as session:
            waiting = event_lag.waiting(session, self._clock.now())
            subscribers = event_lag.subscribers(session, head, self._clock.now())
        yield GaugeMetricFamily(
            "plinth_sequencer_waiting", "Committed events that have no position yet.", value=waiting.events
        )
        yield GaugeMetricFamily(
            "plinth_sequencer_oldest_seconds", "The age of the oldest of them.", value=waiting.seconds
        )
        positions = GaugeMetricFamily(
            "plinth_subscriber_lag",
            "Positions between a subscriber's cursor and the log's head.",
            labels=["subscriber"],
        )
        seconds = GaugeMetricFamily(
            "plinth_subscriber_lag_seconds", "The age of the first event after its cursor.", labels=["subscriber"]
        )
        for subscriber in subscribers:
            positions.add_metric([subscriber.name], subscriber.positions)
            seconds.add_metric([subscriber.name], subscriber.seconds)
        yield positions
        yield seconds


class StreamGauges(Collector):
    """The streams process: how many streams it serves, and how late its asyncio loop runs, in seconds."""

    def __init__(self, streams: Callable[[], int], lag: Callable[[], float]) -> None:
        self._streams = streams
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """As it is now, and as it was measured last."""
        yield GaugeMetricFamily("plinth_streams_open", "Streams that are being served.", value=self._streams())
        yield GaugeMetricFamily("plinth_loop_lag_seconds", "How late the loop ran its latest timer.", value=self._lag())
