"""Stage `auth`: who calls. The token says who; what they may do is the grant's to say."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import jwt

from interceptors.cache import FeedCache
from interceptors.call import Call, Principal
from interceptors.policy import Access
from interceptors.ports import ApiKeys, ApiKeyState, Keys, Sessions, SessionState
from interceptors.service_token import ServiceTokens
from interceptors.stages import Stage
from services.kernel.cookies import Cookie
from services.kernel.errors import Unauthenticated
from services.kernel.feed import ApiKeyRevoked, Feed, Invalidation, SessionRevoked, UserSessionsRevoked
from services.kernel.secrets import hash_token
from services.kernel.tokens import API_KEY_PREFIX, AUDIENCE, ISSUER

_MAX_TOKEN_CHARS = 4096
_MAX_CACHED_TOKENS = 50_000
_BEARER = "bearer "

K = TypeVar("K", bound=Hashable)
S = TypeVar("S", SessionState, ApiKeyState)


class CredentialsMissing(Unauthenticated):
    """The method wants to know who calls, and nothing says so."""

    reason = "CREDENTIALS_MISSING"

    def __init__(self) -> None:
        super().__init__("Sign in, or send an API key.")


class TokenInvalid(Unauthenticated):
    """The credentials are not ours, or no longer good. Which of it, is not told."""

    reason = "TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("The token is not valid, or no longer.")


@dataclass(frozen=True, slots=True)
class _AccessToken:
    person: Principal
    user_id: UUID
    session_id: UUID
    expires: float


class Auth(Stage):
    """Verifies tokens offline, and asks the feed-kept caches whether the session or key behind them still lives."""

    def __init__(self, keys: Keys, sessions: Sessions, api_keys: ApiKeys, tokens: ServiceTokens, feed: Feed) -> None:
        self._keys = keys
        self._sessions = sessions
        self._api_keys = api_keys
        self._service_tokens = tokens
        self._live_sessions: FeedCache[UUID, SessionState] = FeedCache(feed, _concerns_session)
        self._live_api_keys: FeedCache[bytes, ApiKeyState] = FeedCache(feed, _concerns_api_key)
        self._verified: dict[bytes, _AccessToken | tuple[str, float]] = {}

    def enter(self, call: Call) -> None:
        """Raises CredentialsMissing or TokenInvalid."""
        if call.local_caller:
            call.principal = Principal(service=call.local_caller)
        elif call.policy.access is not Access.PUBLIC:
            call.principal = self._identify(call)

    def recheck(self, call: Call) -> None:
        """Raises TokenInvalid when the session or key behind an open stream has ended.

        An access token that expires meanwhile does not end it: the session behind the token decides.
        """
        session_id = call.principal.session_id
        if session_id is not None:
            call.principal = _person(self._session(session_id))
        elif call.principal.api_key is not None:
            self.enter(call)

    def refreshed(self, principal: Principal) -> Principal:
        """The same person with what is true right now; asked before an operator's method is refused."""
        session_id = principal.session_id
        if session_id is None:
            return principal
        state = self._live_sessions.refresh(session_id, lambda: self._sessions.find(session_id))
        return principal if state is None else _person(state)

    def _identify(self, call: Call) -> Principal:
        authorization = call.metadata.get("authorization", "")
        if authorization:
            if authorization[: len(_BEARER)].lower() != _BEARER:
                raise TokenInvalid
            token = authorization[len(_BEARER) :].strip()
        else:
            token = call.metadata.get("x-api-key", "")
            if not token:
                return self._by_cookie(call)
            if not token.startswith(API_KEY_PREFIX):
                raise TokenInvalid
        return self._by_api_key(token) if token.startswith(API_KEY_PREFIX) else self._by_jwt(token)

    def _by_cookie(self, call: Call) -> Principal:
        """Of a browser, whose pages add no header to an EventSource. It holds what SignIn put there: nothing else."""
        token = Cookie.ACCESS.find(call.context.invocation_metadata() or ())
        if not token:
            raise CredentialsMissing
        call.by_cookie = True
        principal = self._by_jwt(token)
        if principal.service is not None:
            raise TokenInvalid
        return principal

    def _by_api_key(self, secret: str) -> Principal:
        _check_form(secret)
        digest = hash_token(secret)
        state = _alive(self._live_api_keys, digest, lambda: self._api_keys.find(secret))
        return Principal(user_id=state.user_id, api_key=state)

    def _by_jwt(self, token: str) -> Principal:
        _check_form(token)
        digest = hash_token(token)
        verified = self._verified.get(digest)
        if verified is None:
            verified = self._verify(token)
            if len(self._verified) >= _MAX_CACHED_TOKENS:
                self._verified.clear()
            self._verified[digest] = verified
        if isinstance(verified, tuple):
            service, expires = verified
            if expires <= time.time():
                raise TokenInvalid
            return Principal(service=service)
        if verified.expires <= time.time():
            raise TokenInvalid
        state = self._session(verified.session_id)
        if state.user_id != verified.user_id:
            raise TokenInvalid
        return _person(state) if state.operator else verified.person

    def _session(self, session_id: UUID) -> SessionState:
        return _alive(self._live_sessions, session_id, lambda: self._sessions.find(session_id))

    def _verify(self, token: str) -> _AccessToken | tuple[str, float]:
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            if self._service_tokens.knows(kid):
                return self._service_tokens.verify(token, kid)
            key = self._keys.find(kid)
            if key is None:
                raise TokenInvalid
            claims = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["sub", "sid", "iat", "exp", "aud", "iss"]},
            )
            user_id, session_id = UUID(claims["sub"]), UUID(claims["sid"])
            return _AccessToken(Principal(user_id, session_id), user_id, session_id, float(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError, AttributeError, TypeError):
            raise TokenInvalid from None


def _check_form(token: str) -> None:
    if len(token) > _MAX_TOKEN_CHARS or not token.isascii():
        raise TokenInvalid


def _alive(cache: FeedCache[K, S], key: K, find: Callable[[], S | None]) -> S:
    """The session or key, if it lives; what has run out in the cache may have been prolonged, so it is read again."""
    now = datetime.now(UTC)
    state = cache.get(key, find)
    if state is not None and state.expire_time <= now:
        state = cache.refresh(key, find)
    if state is None or state.expire_time <= now:
        raise TokenInvalid
    return state


def _person(state: SessionState) -> Principal:
    return Principal(user_id=state.user_id, session_id=state.session_id, operator=state.operator)


def _concerns_session(invalidation: Invalidation, session_id: UUID, state: SessionState) -> bool:
    match invalidation:
        case SessionRevoked():
            return invalidation.session_id == session_id
        case UserSessionsRevoked():
            return invalidation.user_id == state.user_id
        case _:
            return False


def _concerns_api_key(invalidation: Invalidation, _: bytes, state: ApiKeyState) -> bool:
    match invalidation:
        case ApiKeyRevoked():
            return invalidation.api_key_id == state.api_key_id
        case UserSessionsRevoked():
            return invalidation.user_id == state.user_id
        case _:
            return False
