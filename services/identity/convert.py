"""Between the identity model and its protobuf messages."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.identity.v1 import (
    api_key_pb2,
    api_key_service_pb2,
    auth_service_pb2,
    session_pb2,
    session_service_pb2,
    user_pb2,
    user_service_pb2,
)
from services.identity.model.api_keys import ApiKey
from services.identity.model.links import Link
from services.identity.model.personal_data import PersonalData
from services.identity.model.sessions import SESSION, OwnSession, SessionState, SignedIn
from services.identity.model.users import KnownSource, User
from services.kernel.cookies import Cookie
from services.kernel.etags import etag_of
from services.kernel.feed import ApiKeyRevoked, SessionRevoked, UserSessionsRevoked
from services.kernel.names import API_KEY, USER
from services.kernel.wire import timestamp


def user_to_proto(user: User) -> user_pb2.User:
    """A user."""
    return user_pb2.User(
        name=user.name,
        email=user.email,
        email_verified=user.email_verified,
        display_name=user.display_name,
        create_time=timestamp(user.create_time),
        update_time=timestamp(user.update_time),
        etag=etag_of(user.version),
    )


def user_id_in(name: str) -> UUID:
    """The id in `users/{user}`. Raises NameInvalid."""
    return USER.ids(name)[0]


def user_ids_in(names: Sequence[str]) -> list[UUID]:
    """The ids in several names. Raises NameInvalid."""
    return [USER.ids(name, field="names")[0] for name in names]


def signed_in_to_proto(signed_in: SignedIn, *, in_cookies: bool) -> auth_service_pb2.SignInResponse:
    """A session that has begun; without the tokens where cookies hold them."""
    return auth_service_pb2.SignInResponse(
        access_token="" if in_cookies else signed_in.access_token,
        refresh_token="" if in_cookies else signed_in.refresh_token,
        expire_time=timestamp(signed_in.expire_time),
        user=user_to_proto(signed_in.user),
        session=signed_in.session.name,
        refresh_expire_time=timestamp(signed_in.session.expire_time),
    )


def refreshed_to_proto(signed_in: SignedIn, *, in_cookies: bool) -> auth_service_pb2.RefreshResponse:
    """A session that goes on; without the tokens where cookies hold them."""
    return auth_service_pb2.RefreshResponse(
        access_token="" if in_cookies else signed_in.access_token,
        refresh_token="" if in_cookies else signed_in.refresh_token,
        expire_time=timestamp(signed_in.expire_time),
        user=user_to_proto(signed_in.user),
        session=signed_in.session.name,
        refresh_expire_time=timestamp(signed_in.session.expire_time),
    )


def cookies_of(signed_in: SignedIn, *, wanted: bool) -> list[tuple[str, str]]:
    """The headers that give a browser both tokens, each until it ends; none where it did not ask for cookies."""
    if not wanted:
        return []
    return [
        Cookie.ACCESS.set(signed_in.access_token, signed_in.expire_time),
        Cookie.REFRESH.set(signed_in.refresh_token, signed_in.session.expire_time),
    ]


def no_cookies() -> list[tuple[str, str]]:
    """The headers that take both away; who has none does not mind."""
    return [cookie.clear() for cookie in Cookie]


def refresh_token_in(request: auth_service_pb2.RefreshRequest, metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The token that is to be exchanged: the request's own, or that of the browser's cookie; empty for none."""
    return Cookie.REFRESH.find(metadata) if request.cookie else request.refresh_token


def session_to_proto(own: OwnSession) -> session_pb2.Session:
    """A session, as its user sees it."""
    session = own.session
    return session_pb2.Session(
        name=session.name,
        user_agent=session.user_agent,
        source=session.source,
        create_time=timestamp(session.create_time),
        last_used_time=timestamp(session.last_used_time),
        expire_time=timestamp(session.expire_time),
        current=own.current,
    )


def session_id_in(name: str) -> UUID:
    """The id in `me/sessions/{session}`. Raises NameInvalid."""
    return SESSION.ids(name)[0]


def uuid_in(text: str) -> UUID:
    """A session's id; validation has seen it before."""
    return UUID(text)


def session_state_to_proto(state: SessionState | None) -> session_service_pb2.GetSessionStateResponse:
    """What is true of a session; None for one that does not live."""
    if state is None:
        return session_service_pb2.GetSessionStateResponse(live=False)
    return session_service_pb2.GetSessionStateResponse(
        live=True,
        user_id=str(state.user_id),
        expire_time=timestamp(state.expire_time),
        operator=state.operator,
    )


def revocations_to_proto(
    revocations: Sequence[SessionRevoked | UserSessionsRevoked | ApiKeyRevoked] | None,
) -> session_service_pb2.WatchRevocationsResponse:
    """Revocations, or a heartbeat without any; None says that anything may have been revoked."""
    if revocations is None:
        return session_service_pb2.WatchRevocationsResponse(reset=True)
    return session_service_pb2.WatchRevocationsResponse(revocations=map(_revocation, revocations))


def _revocation(revocation: SessionRevoked | UserSessionsRevoked | ApiKeyRevoked) -> session_service_pb2.Revocation:
    match revocation:
        case SessionRevoked():
            return session_service_pb2.Revocation(session_id=str(revocation.session_id))
        case UserSessionsRevoked():
            return session_service_pb2.Revocation(user_id=str(revocation.user_id))
        case ApiKeyRevoked():
            return session_service_pb2.Revocation(api_key_id=str(revocation.api_key_id))


def api_key_to_proto(key: ApiKey) -> api_key_pb2.ApiKey:
    """The record of a key."""
    return api_key_pb2.ApiKey(
        name=key.name,
        display_name=key.display_name,
        prefix=key.prefix,
        permissions=key.permissions,
        creator=USER.format(user=key.creator_id),
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time),
        last_used_time=timestamp(key.last_used_time),
        revoke_time=timestamp(key.revoke_time),
    )


def api_key_id_in(name: str) -> UUID:
    """The id of the key in `workspaces/{workspace}/apiKeys/{api_key}`. Raises NameInvalid."""
    return API_KEY.ids(name)[1]


def api_key_state_to_proto(key: ApiKey | None) -> api_key_service_pb2.VerifyApiKeyResponse:
    """What a key stands for; None for one that does not live."""
    if key is None:
        return api_key_service_pb2.VerifyApiKeyResponse(live=False)
    return api_key_service_pb2.VerifyApiKeyResponse(
        live=True,
        api_key_id=str(key.id),
        workspace_id=str(key.workspace_id),
        user_id=str(key.creator_id),
        permissions=key.permissions,
        expire_time=timestamp(key.expire_time),
    )


def personal_data_to_proto(data: PersonalData) -> user_service_pb2.ExportMeResponse:
    """An export."""
    return user_service_pb2.ExportMeResponse(
        user=user_to_proto(data.user),
        sessions=map(_session_record, data.sessions),
        api_keys=map(api_key_to_proto, data.api_keys),
        known_sources=map(_known_source, data.known_sources),
        pending_links=map(_pending_link, data.links),
        export_time=timestamp(data.export_time),
    )


def _session_record(own: OwnSession) -> user_service_pb2.SessionRecord:
    return user_service_pb2.SessionRecord(
        session=session_to_proto(own),
        revoke_time=timestamp(own.session.revoke_time),
        revoke_reason=own.session.revoke_reason,
    )


def _known_source(source: KnownSource) -> user_service_pb2.KnownSource:
    return user_service_pb2.KnownSource(
        source=source.source,
        create_time=timestamp(source.create_time),
        last_used_time=timestamp(source.last_used_time),
    )


def _pending_link(link: Link) -> user_service_pb2.PendingLink:
    return user_service_pb2.PendingLink(
        purpose=link.purpose.value,
        email=link.email,
        create_time=timestamp(link.create_time),
        expire_time=timestamp(link.expire_time),
    )


def jwks_to_proto(jwks: bytes) -> HttpBody:
    """A JSON Web Key Set as a body."""
    return HttpBody(content_type="application/json", data=jwks)
