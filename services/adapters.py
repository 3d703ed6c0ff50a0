"""What the chain needs, asked of the domains through their stubs; in this process or another, it cannot tell."""

import base64
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import grpc
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from google.protobuf.timestamp_pb2 import Timestamp

from interceptors.ports import ApiKeyState, SessionState
from plinth.identity.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
)
from plinth.tenancy.v1 import access_service_pb2, access_service_pb2_grpc
from services.kernel.caller import Grant
from services.kernel.feed import (
    ApiKeyRevoked,
    GrantChanged,
    Invalidation,
    InvalidationHub,
    SessionRevoked,
    UserSessionsRevoked,
)
from services.kernel.names import USER, WORKSPACE

# An unknown key id makes us ask for the keys again, but a flood of forged ones must not make us ask all the time.
_MIN_REFRESH_SECONDS = 1.0
_RECONNECT_SECONDS = 0.25
_log = structlog.get_logger("plinth.feed")


class StubKeys:
    """The public keys of identity's GetJwks."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._asked = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str) -> EllipticCurvePublicKey | None:
        """The key of this id; None where there is none."""
        if kid not in self._keys:
            with self._lock:
                if kid not in self._keys and time.monotonic() - self._asked >= _MIN_REFRESH_SECONDS:
                    self._refresh()
        return self._keys.get(kid)

    def _refresh(self) -> None:
        body = self._stub.GetJwks(auth_service_pb2.GetJwksRequest())
        self._asked = time.monotonic()
        self._keys = {jwk["kid"]: _public_key(jwk) for jwk in orjson.loads(body.data)["keys"]}


def _public_key(jwk: dict[str, str]) -> EllipticCurvePublicKey:
    """From a JWK of kty EC, crv P-256 (RFC 7518 §6.2)."""
    x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[part] + "=="), "big") for part in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()


class StubSessions:
    """Sessions, from identity's GetSessionState."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = session_service_pb2_grpc.SessionServiceStub(channel)

    def find(self, session_id: UUID) -> SessionState | None:
        """The session; None where it ended or never was."""
        state = self._stub.GetSessionState(session_service_pb2.GetSessionStateRequest(session_id=str(session_id)))
        if not state.live:
            return None
        return SessionState(session_id, UUID(state.user_id), state.operator, _time(state.expire_time))


class StubApiKeys:
    """API keys, from identity's VerifyApiKey."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)

    def find(self, secret: str) -> ApiKeyState | None:
        """The key with this secret; None where it ended or never was."""
        state = self._stub.VerifyApiKey(api_key_service_pb2.VerifyApiKeyRequest(key=secret))
        if not state.live:
            return None
        return ApiKeyState(
            UUID(state.api_key_id),
            UUID(state.workspace_id),
            UUID(state.user_id),
            frozenset(state.permissions),
            _time(state.expire_time),
        )


class StubGrants:
    """Grants, from tenancy's GetGrant."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = access_service_pb2_grpc.AccessServiceStub(channel)

    def find(self, workspace_id: UUID, user_id: UUID) -> Grant | None:
        """The grant; None for who is no member."""
        answer = self._stub.GetGrant(
            access_service_pb2.GetGrantRequest(
                workspace=WORKSPACE.format(workspace=workspace_id), user=USER.format(user=user_id)
            )
        )
        if not answer.HasField("grant"):
            return None
        return Grant(workspace_id, user_id, answer.grant.role, frozenset(answer.grant.permissions))


class StubFeed:
    """Feeds the hub from a Watch stream of another process: for domains whose database this process does not share.

    Each message is a heartbeat; its time is when the one before it arrived, as what happened since may still be on
    the way.
    """

    def __init__(
        self, source: str, hub: InvalidationHub, follow: Callable[[], Iterator[Sequence[Invalidation] | None]]
    ):
        self._source = source
        self._hub = hub
        self._follow_stream = follow
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"plinth-feed-{source}", daemon=True)
        hub.expect(source)

    def start(self) -> None:
        """Begin to follow, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more; the thread ends with the stream's next message."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                before = time.monotonic()
                for invalidations in self._follow_stream():
                    if self._stopping.is_set():
                        return
                    for invalidation in [None] if invalidations is None else invalidations:
                        self._hub.publish(invalidation)
                    self._hub.beat(self._source, before)
                    before = time.monotonic()
            except grpc.RpcError as error:
                _log.warning("feed.lost", source=self._source, code=str(getattr(error, "code", lambda: "")()))
            self._stopping.wait(_RECONNECT_SECONDS)


def follow_grants(channel: grpc.Channel) -> Callable[[], Iterator[Sequence[Invalidation] | None]]:
    """Tenancy's WatchGrants, as a StubFeed reads it."""
    stub = access_service_pb2_grpc.AccessServiceStub(channel)

    def follow() -> Iterator[Sequence[Invalidation] | None]:
        for message in stub.WatchGrants(access_service_pb2.WatchGrantsRequest()):
            changes = [
                GrantChanged(WORKSPACE.ids(change.workspace)[0], USER.ids(change.user)[0] if change.user else None)
                for change in message.changes
            ]
            yield None if message.reset else changes

    return follow


def follow_revocations(channel: grpc.Channel) -> Callable[[], Iterator[Sequence[Invalidation] | None]]:
    """Identity's WatchRevocations, as a StubFeed reads it."""
    stub = session_service_pb2_grpc.SessionServiceStub(channel)

    def follow() -> Iterator[Sequence[Invalidation] | None]:
        for message in stub.WatchRevocations(session_service_pb2.WatchRevocationsRequest()):
            yield None if message.reset else [_invalidation(revocation) for revocation in message.revocations]

    return follow


def _invalidation(revocation: session_service_pb2.Revocation) -> Invalidation:
    match revocation.WhichOneof("subject"):
        case "session_id":
            return SessionRevoked(UUID(revocation.session_id))
        case "api_key_id":
            return ApiKeyRevoked(UUID(revocation.api_key_id))
        case _:
            return UserSessionsRevoked(UUID(revocation.user_id))


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
