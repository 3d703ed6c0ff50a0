"""Counts failures where every process sees them, and makes the next attempt wait."""

import hashlib
import hmac
from datetime import datetime, timedelta

from services.identity.errors import SignInThrottled
from services.identity.model import throttle
from services.identity.model.throttle import LIMITS, Dimension, Factor
from services.identity.repository import IdentityRepositories
from services.identity.service.apart import apart
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Units

_KEY_BYTES = 16
_NOW = timedelta(0)


class Throttle:
    """One throttle for every way to a token; each factor has counters of its own.

    The counters lie under keyed hashes: the table tells neither who was attacked nor from where.
    """

    def __init__(self, units: Units[IdentityRepositories], keyring: Keyring) -> None:
        self._units = units
        self._secret = keyring.derive("identity.throttles")

    def check(
        self,
        repo: IdentityRepositories,
        factor: Factor,
        account: str,
        source: str,
        now: datetime,
        *,
        known_source: bool,
    ) -> bool:
        """Whether failures of this very pair are on record. Raises SignInThrottled while the attempt has to wait.

        Reads under a system session that is open already.
        """
        keys = self._keys(factor, account, source)
        counters = repo.throttles.find(list(keys.values()))
        waits = (
            throttle.wait(counters.get(keys[dimension]), LIMITS[factor, dimension], now)
            for dimension in throttle.dimensions(known_source=known_source)
        )
        if (longest := max(waits)) > _NOW:
            raise SignInThrottled(factor.value, longest)
        return keys[Dimension.PAIR] in counters

    def fail(self, factor: Factor, account: str, source: str, now: datetime) -> None:
        """Count a failure in every dimension; it stays counted whatever becomes of the call."""
        keys = self._keys(factor, account, source)

        def count() -> None:
            with self._units.system() as uow:
                # In one order everywhere, so that two failures never wait for each other.
                for dimension in sorted(keys, key=lambda dimension: keys[dimension]):
                    counter = uow.repo.throttles.lock(keys[dimension], now)
                    uow.repo.throttles.set(keys[dimension], throttle.failed(counter, LIMITS[factor, dimension], now))
                uow.commit()

        apart(count)

    def clear_pair(self, factor: Factor, account: str, source: str) -> None:
        """Forget the failures of this pair, after a success."""

        def clear() -> None:
            with self._units.system() as uow:
                uow.repo.throttles.clear(self._key(factor, Dimension.PAIR, account, source))
                uow.commit()

        apart(clear)

    def take_mail(self, repo: IdentityRepositories, email_key: str, now: datetime) -> bool:
        """Whether this address may get one more mail now; counts it, in a system session that is open already."""
        limit, key = LIMITS[Factor.MAIL, Dimension.ACCOUNT], self._key(Factor.MAIL, Dimension.ACCOUNT, email_key)
        counter = repo.throttles.lock(key, now)
        if throttle.wait(counter, limit, now) > _NOW:
            return False
        repo.throttles.set(key, throttle.failed(counter, limit, now))
        return True

    def _keys(self, factor: Factor, account: str, source: str) -> dict[Dimension, bytes]:
        return {
            Dimension.PAIR: self._key(factor, Dimension.PAIR, account, source),
            Dimension.ACCOUNT: self._key(factor, Dimension.ACCOUNT, account),
            Dimension.SOURCE: self._key(factor, Dimension.SOURCE, source),
        }

    def _key(self, factor: Factor, dimension: Dimension, *of: str) -> bytes:
        text = "\0".join((factor.value, dimension.value, *of))
        return hmac.digest(self._secret, text.encode(), hashlib.sha256)[:_KEY_BYTES]
