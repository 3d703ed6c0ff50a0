"""The keys that access tokens are signed with: made, rotated and published."""

import base64
import hashlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from plinth.identity.v1 import events_pb2
from services.identity.model.sessions import Session
from services.identity.model.signing_keys import KeyState, Plan, SigningKey, plan
from services.identity.repository import IdentityRepositories
from services.kernel.clock import Clock
from services.kernel.config import Settings
from services.kernel.ids import new_id
from services.kernel.names import ResourceName
from services.kernel.secrets import Keyring
from services.kernel.tokens import AUDIENCE, ISSUER
from services.kernel.unit_of_work import UnitOfWork, Units

SIGNING_KEY = ResourceName("signingKeys/{kid}", words=frozenset({"kid"}))

_REREAD = timedelta(minutes=1)
_P256_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """The key that signs now."""

    kid: str
    private_key: ec.EllipticCurvePrivateKey
    token_ttl: timedelta

    def sign(self, session: Session, now: datetime) -> tuple[str, datetime]:
        """An access token (RFC 9068) for the session, and when it ends: no later than the session."""
        expire_time = min(now + self.token_ttl, session.expire_time)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(session.user_id),
            "sid": str(session.id),
            "iat": int(now.timestamp()),
            "exp": int(expire_time.timestamp()),
            "jti": str(new_id()),
        }
        headers = {"kid": self.kid, "typ": "at+jwt"}
        return jwt.encode(claims, self.private_key, algorithm="ES256", headers=headers), expire_time


@dataclass(frozen=True, slots=True, repr=False)
class _KeySet:
    signer: Signer
    jwks: bytes
    read_time: datetime


class SigningKeys:
    """Hands out the signer and the public keys, and rotates them when they are due.

    Whoever finds that a rotation is due does it, one process at a time. The next key is published a whole life before
    it signs, so a process that rereads the keys once a minute always knows those that others sign with.
    """

    def __init__(self, units: Units[IdentityRepositories], clock: Clock, keyring: Keyring, settings: Settings) -> None:
        self._units = units
        self._clock = clock
        self._keyring = keyring
        self._key_ttl = settings.signing_key_ttl
        self._token_ttl = settings.access_token_ttl
        self._known: _KeySet | None = None
        self._lock = threading.Lock()

    def signer(self) -> Signer:
        """The key to sign with. Opens a unit of work now and then, so none may be open."""
        return self._current().signer

    def jwks(self) -> bytes:
        """Every key that a valid token may be signed with, and the next one, as a JSON Web Key Set (RFC 7517)."""
        return self._current().jwks

    def _current(self) -> _KeySet:
        now = self._clock.now()
        known = self._known
        if known is None or now - known.read_time >= _REREAD:
            with self._lock:
                if self._known is known:
                    self._known = self._read(now)
                known = self._known
        assert known is not None  # noqa: S101  # set just before, by us or by who held the lock
        return known

    def _read(self, now: datetime) -> _KeySet:
        with self._units.system() as uow:
            keys = uow.repo.signing_keys.list_all()
        if not self._plan(keys, now).is_empty:
            keys = self._rotate(now)
        active = next(key for key in keys if key.state is KeyState.ACTIVE)
        private_key = load_der_private_key(self._keyring.decrypt(active.private_key, context=active.context), None)
        if not isinstance(private_key, ec.EllipticCurvePrivateKey):
            raise TypeError("a signing key is an elliptic curve key")
        jwks = orjson.dumps({"keys": [orjson.loads(key.public_jwk) for key in keys]})
        return _KeySet(Signer(active.kid, private_key, self._token_ttl), jwks, now)

    def _rotate(self, now: datetime) -> list[SigningKey]:
        with self._units.system() as uow:
            uow.repo.signing_keys.lock_rotation()
            # Another process may have done it while we waited.
            due = self._plan(uow.repo.signing_keys.list_all(), now)
            for kid in due.delete:
                uow.repo.signing_keys.delete(kid)
            for kid in due.retire:
                uow.repo.signing_keys.set_state(kid, KeyState.RETIRED, now)
            if due.activate is not None:
                uow.repo.signing_keys.set_state(due.activate, KeyState.ACTIVE, now)
                _announce(uow, due.activate)
            # Where no key waits to be activated, the first new one signs at once.
            for number in range(due.create):
                first_signs = number == 0 and due.creates_active
                key = self._new_key(KeyState.ACTIVE if first_signs else KeyState.NEXT, now)
                uow.repo.signing_keys.add(key)
                if first_signs:
                    _announce(uow, key.kid)
            keys = uow.repo.signing_keys.list_all()
            uow.commit()
            return keys

    def _plan(self, keys: list[SigningKey], now: datetime) -> Plan:
        return plan(keys, now, key_ttl=self._key_ttl, token_ttl=self._token_ttl)

    def _new_key(self, state: KeyState, now: datetime) -> SigningKey:
        private_key = ec.generate_private_key(ec.SECP256R1())
        numbers = private_key.public_key().public_numbers()
        jwk = {"crv": "P-256", "kty": "EC", "x": _base64url(numbers.x), "y": _base64url(numbers.y)}
        # The thumbprint of RFC 7638: the members above, in this order, without spaces.
        kid = _encode(hashlib.sha256(orjson.dumps(jwk)).digest())
        der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        public = orjson.dumps({**jwk, "kid": kid, "alg": "ES256", "use": "sig"}).decode()
        unsealed = SigningKey(kid, state, public, b"", now, now)
        sealed = self._keyring.encrypt(der, context=unsealed.context)
        return SigningKey(kid, state, public, sealed, now, now)


def _announce(uow: UnitOfWork[IdentityRepositories], kid: str) -> None:
    uow.emit(SIGNING_KEY.format(kid=kid), events_pb2.SigningKeyRotated(kid=kid))


def _base64url(number: int) -> str:
    return _encode(number.to_bytes(_P256_BYTES, "big"))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
