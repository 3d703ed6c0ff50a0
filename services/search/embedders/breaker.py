"""Spares queries the wait for a provider that does not answer: they fall back to words at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from services.kernel.deadline import seconds_left
from services.search.embedders.port import ProviderBusy, ProviderRefused, ProviderUnavailable, TextRefused
from services.search.embedders.rate_limit import Time

# How long a provider is left alone at least, even if it would have somebody come sooner, and at most.
_REST, _LONG_REST = timedelta(seconds=10), timedelta(minutes=1)
# Whoever gives it less time than this does not speak for the others.
_PATIENCE_SECONDS = 1.0
_log = structlog.get_logger("plinth.search")


class Breaker:
    """Of one provider, for all threads of a process: after a failure it rests, and then one query goes ahead."""

    def __init__(self, clock: Time) -> None:
        self._time = clock
        self._lock = threading.Lock()
        self._failure: ProviderUnavailable | ProviderRefused | None = None
        self._until = 0.0
        self._probing = False

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Around whatever asks the provider. Raises what it raised last, for as long as it rests.

        What it says of one text it does not say of others.
        """
        patient = seconds_left(_PATIENCE_SECONDS) >= _PATIENCE_SECONDS
        probing = self._begin()
        try:
            yield
        except ProviderBusy:
            raise
        except TextRefused:
            self._answered(probing)
            raise
        except (ProviderUnavailable, ProviderRefused) as error:
            if patient:
                self._fail(error)
            raise
        else:
            self._answered(probing)
        finally:
            if probing:
                self._probing = False

    def _begin(self) -> bool:
        """Whether this is the one that goes ahead."""
        with self._lock:
            failure = self._failure
            if failure is None:
                return False
            left = self._until - self._time.monotonic()
            if left <= 0 and not self._probing:
                self._probing = True
                return True
        if isinstance(failure, ProviderRefused):
            raise ProviderRefused(failure.reason)
        raise ProviderUnavailable(str(failure), timedelta(seconds=max(left, 1.0)))

    def _answered(self, probing: bool) -> None:
        """It is back, says the one that went ahead. Whoever began before it failed does not know better."""
        if probing:
            with self._lock:
                self._failure = None

    def _fail(self, error: ProviderUnavailable | ProviderRefused) -> None:
        # Of a refusal somebody has to be told first.
        wanted = _LONG_REST if isinstance(error, ProviderRefused) else error.retry_after or _REST
        rest = min(max(wanted, _REST), _LONG_REST)
        with self._lock:
            self._failure = error
            self._until = self._time.monotonic() + rest.total_seconds()
        # Once for all the queries that do not get there.
        _log.warning("search.by_words_alone", reason=str(error), seconds=rest.total_seconds())
