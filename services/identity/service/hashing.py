"""Argon2id (RFC 9106), and how many may run at once: each takes a core and tens of milliseconds."""

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from services.identity.model.passwords import normalized
from services.kernel.config import Settings
from services.kernel.deadline import seconds_left
from services.kernel.errors import Overloaded

_MAX_WAIT_SECONDS = 2.0


class PasswordHashes:
    """Makes and checks password hashes, one a core at a time.

    A few more callers may wait for their turn, for a while; the rest are refused at once, so that sign-ins never hold
    all threads of the server: a quarter stays for other calls.
    """

    def __init__(self, settings: Settings, *, cores: int | None = None) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=Type.ID,
        )
        turns = min(cores or os.cpu_count() or 1, settings.threads)
        self._turns = threading.Semaphore(turns)
        self._places = threading.Semaphore(max(turns, settings.threads * 3 // 4))
        # What the password of nobody is checked against, so that it takes as long as anybody's.
        self._decoy = self._hasher.hash(secrets.token_urlsafe())

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One's turn to hash or verify. Raises Overloaded when it does not come soon."""
        if not self._places.acquire(blocking=False):
            raise Overloaded
        try:
            if not self._turns.acquire(timeout=seconds_left(_MAX_WAIT_SECONDS)):
                raise Overloaded
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()

    def hash(self, password: str) -> str:
        """The encoded hash; to be called in one's turn."""
        return self._hasher.hash(normalized(password))

    def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits, to be called in one's turn; without a hash the same work for nothing."""
        try:
            self._hasher.verify(encoded or self._decoy, normalized(password))
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)
