"""Use cases of a session: sign in, refresh, sign out."""

import os

from plinth.identity.v1 import events_pb2
from services.identity.errors import CredentialsInvalid, RefreshTokenInvalid, RefreshTokenReused
from services.identity.model.sessions import (
    KEY_BYTES,
    RevokeReason,
    Session,
    SignedIn,
    Verdict,
    expiry,
    format_token,
    judge,
    parse_token,
)
from services.identity.model.throttle import source_of
from services.identity.model.users import User
from services.identity.repository import IdentityRepositories
from services.identity.service.credentials import Credentials, Proven
from services.identity.service.ending import end_session
from services.identity.service.signing_keys import Signer, SigningKeys
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.config import Settings
from services.kernel.ids import new_id
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import UnitOfWork, Units

_MAX_USER_AGENT = 256


class SignIn:
    """Mints tokens: every way to one leads through here."""

    def __init__(
        self,
        units: Units[IdentityRepositories],
        clock: Clock,
        keyring: Keyring,
        credentials: Credentials,
        keys: SigningKeys,
        settings: Settings,
    ) -> None:
        self._units = units
        self._clock = clock
        self._keyring = keyring
        self._credentials = credentials
        self._keys = keys
        self._ttl = settings.refresh_token_ttl
        self._grace = settings.refresh_grace

    def sign_in(self, email: str, password: str) -> SignedIn:
        """Start a session. Raises CredentialsInvalid, SignInThrottled or Overloaded."""
        proven = self._credentials.by_email(email, password)
        if proven is None:
            raise CredentialsInvalid
        signer = self._keys.signer()
        with self._units.user(proven.user.id) as uow:
            # Held, so that a reset or deletion that runs meanwhile either ends this session or comes first.
            user = uow.repo.users.lock(proven.user.id)
            if user is None or uow.repo.users.password_hash(user.id) != proven.password_hash:
                raise CredentialsInvalid
            signed_in = self._start(uow, user, proven, signer)
            uow.commit()
            return signed_in

    def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token. Raises RefreshTokenInvalid or RefreshTokenReused."""
        token = parse_token(refresh_token)
        if token is None:
            raise RefreshTokenInvalid
        with self._units.system() as uow:
            found = uow.repo.sessions.get(token.session_id)
        if found is None:
            raise RefreshTokenInvalid
        key = self._keyring.decrypt(found.refresh_key, context=found.context)
        if not token.verify(key):
            raise RefreshTokenInvalid
        signer = self._keys.signer()
        with self._units.user(found.user_id) as uow:
            # One refresh of a session at a time: whoever comes second sees what the first one made of it.
            session = uow.repo.sessions.lock(found.id, found.user_id)
            user = uow.repo.users.get(found.user_id)
            now = self._clock.now()
            if session is None or user is None or not session.is_live(now):
                raise RefreshTokenInvalid
            match judge(token.generation, session.generation, session.rotate_time, now, self._grace):
                case Verdict.REUSE:
                    end_session(uow, session, RevokeReason.TOKEN_REUSED, now)
                    uow.commit()
                    raise RefreshTokenReused
                case Verdict.ROTATE:
                    session = uow.repo.sessions.rotate(
                        session,
                        token.generation + 1,
                        now,
                        source=current_caller().source,
                        expire_time=expiry(session.create_time, now, self._ttl),
                    )
                    uow.commit()
                case Verdict.REPEAT:
                    pass
        access_token, expire_time = signer.sign(session, now)
        successor = format_token(key, session.id, session.generation)
        return SignedIn(user, session, access_token, successor, expire_time)

    def sign_out(self) -> None:
        """End the session that the call came with."""
        session_id = current_caller().require_session()
        with self._units.user() as uow:
            session = uow.repo.sessions.get(session_id)
            if session is not None:
                end_session(uow, session, RevokeReason.SIGNED_OUT, self._clock.now())
            uow.commit()

    def _start(self, uow: UnitOfWork[IdentityRepositories], user: User, proven: Proven, signer: Signer) -> SignedIn:
        now, caller, session_id = self._clock.now(), current_caller(), new_id()
        key = os.urandom(KEY_BYTES)
        session = Session(
            id=session_id,
            user_id=user.id,
            refresh_key=self._keyring.encrypt(key, context=Session.context_of(session_id)),
            generation=1,
            rotate_time=now,
            user_agent=caller.user_agent[:_MAX_USER_AGENT],
            source=caller.source,
            create_time=now,
            last_used_time=now,
            expire_time=expiry(now, now, self._ttl),
            revoke_time=None,
            revoke_reason="",
        )
        uow.repo.sessions.add(session)
        uow.repo.users.remember_source(user.id, source_of(caller.source), now)
        if proven.rehashed is not None:
            uow.repo.users.rehash(user.id, proven.password_hash, proven.rehashed)
        uow.emit(user.name, events_pb2.SessionStarted(user=user.name, session_id=str(session.id)))
        access_token, expire_time = signer.sign(session, now)
        return SignedIn(user, session, access_token, format_token(key, session.id, 1), expire_time)
