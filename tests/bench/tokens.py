"""How the bare servicer and the peer verify an access token: once, and from then on by its hash."""

import hashlib
import json
import time
from uuid import UUID

import jwt

_BEARER = "Bearer "
_ISSUER = _AUDIENCE = "plinth"
_MAX_CACHED = 50_000


class NotSignedIn(Exception):
    """There is no token, or no good one."""


class Tokens:
    """Verifies ES256 access tokens with the keys of a JSON Web Key Set."""

    def __init__(self, jwks: str) -> None:
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in json.loads(jwks)["keys"]}
        self._verified: dict[bytes, tuple[UUID, float]] = {}

    def user_of(self, authorization: str) -> UUID:
        """Whose token it is. Raises NotSignedIn."""
        if not authorization.startswith(_BEARER):
            raise NotSignedIn
        token = authorization[len(_BEARER) :]
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is None:
            if len(self._verified) >= _MAX_CACHED:
                self._verified.clear()
            verified = self._verified[digest] = self._verify(token)
        user_id, expires = verified
        if expires <= time.time():
            raise NotSignedIn
        return user_id

    def _verify(self, token: str) -> tuple[UUID, float]:
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=_AUDIENCE, issuer=_ISSUER)
            return UUID(claims["sub"]), float(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise NotSignedIn from None
