"""What a process tells Prometheus of itself beside its calls."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.kernel.db import Database
from services.kernel.feed import Feed


class ProcessGauges(Collector):
    """The invalidation feed and the connection pool."""

    def __init__(self, feed: Feed, database: Database) -> None:
        self._feed = feed
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """Read at each scrape."""
        yield GaugeMetricFamily(
            "plinth_feed_healthy",
            "1 while the invalidation feed was heard within the last second; caches are bypassed while it is 0.",
            value=float(self._feed.healthy()),
        )
        open_connections, idle, waiting = self._database.pool_state()
        yield GaugeMetricFamily("plinth_db_connections", "Open database connections.", value=open_connections)
        yield GaugeMetricFamily("plinth_db_connections_idle", "Those that no call uses.", value=idle)
        yield GaugeMetricFamily("plinth_db_waiting", "Calls that wait for a connection.", value=waiting)


class LoopLag(Collector):
    """How late the asyncio loop of the streams process runs its timers; `measure` says, in seconds."""

    def __init__(self, measure: Callable[[], float]) -> None:
        self._measure = measure

    def collect(self) -> Iterator[Metric]:
        """The latest measurement."""
        yield GaugeMetricFamily(
            "plinth_loop_lag_seconds", "How late the loop ran its latest timer.", value=self._measure()
        )
