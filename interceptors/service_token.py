"""Service tokens: how one process of the mesh proves to another which service it calls for.

ES256 JWTs (RFC 7519) of five minutes, `sub: service:tenancy`. The key pair is derived from the master key that all
processes of a mesh share, so nothing is looked up and nothing is stored.
"""

import hashlib
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from services.kernel.secrets import Keyring

_PURPOSE = "plinth service tokens"
_AUDIENCE = "plinth-mesh"
_LIFETIME_SECONDS = 300
_RENEW_SECONDS = 60
_SUBJECT = "service:"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class ServiceTokens:
    """Issues tokens for this process's services, and verifies those of others."""

    def __init__(self, keyring: Keyring) -> None:
        keys = [_key_of(secret) for secret in keyring.derive_all(_PURPOSE)]
        self._signing_key = keys[0]
        self._kid = _kid_of(keys[0])
        self._verifying = {_kid_of(key): key.public_key() for key in keys}
        self._issued: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def knows(self, kid: str) -> bool:
        """Whether a token with this `kid` is a service token of this mesh."""
        return kid in self._verifying

    def issue(self, service: str) -> str:
        """A token for a service of this process; kept until shortly before it expires."""
        now = time.time()
        with self._lock:
            token, expires = self._issued.get(service, ("", 0.0))
            if expires - now < _RENEW_SECONDS:
                expires = now + _LIFETIME_SECONDS
                claims = {"sub": _SUBJECT + service, "aud": _AUDIENCE, "iat": int(now), "exp": int(expires)}
                token = jwt.encode(claims, self._signing_key, algorithm="ES256", headers={"kid": self._kid})
                self._issued[service] = token, expires
        return token

    def verify(self, token: str, kid: str) -> tuple[str, float]:
        """The service that the token names, and when it expires (Unix seconds). Raises jwt.InvalidTokenError."""
        claims = jwt.decode(
            token,
            self._verifying[kid],
            algorithms=["ES256"],
            audience=_AUDIENCE,
            options={"require": ["sub", "aud", "iat", "exp"]},
        )
        subject = str(claims["sub"])
        if not subject.startswith(_SUBJECT):
            raise jwt.InvalidTokenError("not a service")
        return subject.removeprefix(_SUBJECT), float(claims["exp"])


def _key_of(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _kid_of(key: ec.EllipticCurvePrivateKey) -> str:
    numbers = key.public_key().public_numbers()
    return "mesh-" + hashlib.sha256(f"{numbers.x:x}.{numbers.y:x}".encode()).hexdigest()[:16]
