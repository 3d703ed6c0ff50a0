"""The gRPC adapters of identity: convert, call, convert."""

from typing import Any

from google.api.httpbody_pb2 import HttpBody

from plinth.identity.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from services.identity import convert
from services.identity.service import IdentityServices
from services.kernel.wire import masked_text, optional_time

# The context is grpc.ServicerContext; AuthService alone uses it, for cookies.
Context = Any


class AuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """AuthService."""

    def __init__(self, services: IdentityServices) -> None:
        self._registration = services.registration
        self._sign_in = services.sign_in
        self._passwords = services.passwords
        self._signing_keys = services.signing_keys

    def Register(
        self, request: auth_service_pb2.RegisterRequest, context: Context
    ) -> auth_service_pb2.RegisterResponse:
        self._registration.register(request.email, request.password, request.display_name)
        return auth_service_pb2.RegisterResponse()

    def VerifyEmail(
        self, request: auth_service_pb2.VerifyEmailRequest, context: Context
    ) -> auth_service_pb2.VerifyEmailResponse:
        self._registration.verify(request.token)
        return auth_service_pb2.VerifyEmailResponse()

    def ResendVerification(
        self, request: auth_service_pb2.ResendVerificationRequest, context: Context
    ) -> auth_service_pb2.ResendVerificationResponse:
        self._registration.resend(request.email)
        return auth_service_pb2.ResendVerificationResponse()

    def SignIn(self, request: auth_service_pb2.SignInRequest, context: Context) -> auth_service_pb2.SignInResponse:
        signed_in = self._sign_in.sign_in(request.email, request.password)
        context.send_initial_metadata(convert.cookies_of(signed_in, wanted=request.cookie))
        return convert.signed_in_to_proto(signed_in, in_cookies=request.cookie)

    def Refresh(self, request: auth_service_pb2.RefreshRequest, context: Context) -> auth_service_pb2.RefreshResponse:
        signed_in = self._sign_in.refresh(convert.refresh_token_in(request, context.invocation_metadata()))
        context.send_initial_metadata(convert.cookies_of(signed_in, wanted=request.cookie))
        return convert.refreshed_to_proto(signed_in, in_cookies=request.cookie)

    def SignOut(self, request: auth_service_pb2.SignOutRequest, context: Context) -> auth_service_pb2.SignOutResponse:
        self._sign_in.sign_out()
        context.send_initial_metadata(convert.no_cookies())
        return auth_service_pb2.SignOutResponse()

    def StartPasswordReset(
        self, request: auth_service_pb2.StartPasswordResetRequest, context: Context
    ) -> auth_service_pb2.StartPasswordResetResponse:
        self._passwords.start_reset(request.email)
        return auth_service_pb2.StartPasswordResetResponse()

    def FinishPasswordReset(
        self, request: auth_service_pb2.FinishPasswordResetRequest, context: Context
    ) -> auth_service_pb2.FinishPasswordResetResponse:
        self._passwords.finish_reset(request.token, request.new_password)
        return auth_service_pb2.FinishPasswordResetResponse()

    def GetJwks(self, request: auth_service_pb2.GetJwksRequest, context: Context) -> HttpBody:
        jwks = self._signing_keys.jwks()
        return convert.jwks_to_proto(jwks)


class UserServicer(user_service_pb2_grpc.UserServiceServicer):
    """UserService."""

    def __init__(self, services: IdentityServices) -> None:
        self._profile = services.profile
        self._passwords = services.passwords
        self._email_change = services.email_change
        self._directory = services.directory

    def GetMe(self, request: user_service_pb2.GetMeRequest, context: Context) -> user_service_pb2.GetMeResponse:
        user = self._profile.get()
        return user_service_pb2.GetMeResponse(user=convert.user_to_proto(user))

    def UpdateMe(
        self, request: user_service_pb2.UpdateMeRequest, context: Context
    ) -> user_service_pb2.UpdateMeResponse:
        display_name = masked_text(request.user, request.update_mask, "display_name")
        user = self._profile.update(display_name, request.user.etag)
        return user_service_pb2.UpdateMeResponse(user=convert.user_to_proto(user))

    def ChangePassword(
        self, request: user_service_pb2.ChangePasswordRequest, context: Context
    ) -> user_service_pb2.ChangePasswordResponse:
        self._passwords.change(request.current_password, request.new_password)
        return user_service_pb2.ChangePasswordResponse()

    def StartEmailChange(
        self, request: user_service_pb2.StartEmailChangeRequest, context: Context
    ) -> user_service_pb2.StartEmailChangeResponse:
        self._email_change.start(request.new_email, request.password)
        return user_service_pb2.StartEmailChangeResponse()

    def FinishEmailChange(
        self, request: user_service_pb2.FinishEmailChangeRequest, context: Context
    ) -> user_service_pb2.FinishEmailChangeResponse:
        user = self._email_change.finish(request.token)
        return user_service_pb2.FinishEmailChangeResponse(user=convert.user_to_proto(user))

    def ExportMe(
        self, request: user_service_pb2.ExportMeRequest, context: Context
    ) -> user_service_pb2.ExportMeResponse:
        data = self._profile.export()
        return convert.personal_data_to_proto(data)

    def DeleteMe(
        self, request: user_service_pb2.DeleteMeRequest, context: Context
    ) -> user_service_pb2.DeleteMeResponse:
        self._profile.delete(request.etag)
        return user_service_pb2.DeleteMeResponse()

    def GetUser(self, request: user_service_pb2.GetUserRequest, context: Context) -> user_service_pb2.GetUserResponse:
        user = self._directory.get(convert.user_id_in(request.name))
        return user_service_pb2.GetUserResponse(user=convert.user_to_proto(user))

    def BatchGetUsers(
        self, request: user_service_pb2.BatchGetUsersRequest, context: Context
    ) -> user_service_pb2.BatchGetUsersResponse:
        users = self._directory.get_many(convert.user_ids_in(request.names))
        return user_service_pb2.BatchGetUsersResponse(users=map(convert.user_to_proto, users))

    def FindUserByEmail(
        self, request: user_service_pb2.FindUserByEmailRequest, context: Context
    ) -> user_service_pb2.FindUserByEmailResponse:
        user = self._directory.find_by_email(request.email)
        return user_service_pb2.FindUserByEmailResponse(user=convert.user_to_proto(user) if user else None)


class SessionServicer(session_service_pb2_grpc.SessionServiceServicer):
    """SessionService, but for its stream."""

    def __init__(self, services: IdentityServices) -> None:
        self._sessions = services.sessions

    def ListSessions(
        self, request: session_service_pb2.ListSessionsRequest, context: Context
    ) -> session_service_pb2.ListSessionsResponse:
        found, next_token = self._sessions.list_own(request.page_size, request.page_token)
        return session_service_pb2.ListSessionsResponse(
            sessions=map(convert.session_to_proto, found), next_page_token=next_token
        )

    def RevokeSession(
        self, request: session_service_pb2.RevokeSessionRequest, context: Context
    ) -> session_service_pb2.RevokeSessionResponse:
        self._sessions.revoke(convert.session_id_in(request.name))
        return session_service_pb2.RevokeSessionResponse()

    def RevokeOtherSessions(
        self, request: session_service_pb2.RevokeOtherSessionsRequest, context: Context
    ) -> session_service_pb2.RevokeOtherSessionsResponse:
        count = self._sessions.revoke_others()
        return session_service_pb2.RevokeOtherSessionsResponse(revoked_count=count)

    def GetSessionState(
        self, request: session_service_pb2.GetSessionStateRequest, context: Context
    ) -> session_service_pb2.GetSessionStateResponse:
        state = self._sessions.state(convert.uuid_in(request.session_id))
        return convert.session_state_to_proto(state)


class ApiKeyServicer(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """ApiKeyService."""

    def __init__(self, services: IdentityServices) -> None:
        self._api_keys = services.api_keys

    def CreateApiKey(
        self, request: api_key_service_pb2.CreateApiKeyRequest, context: Context
    ) -> api_key_service_pb2.CreateApiKeyResponse:
        asked = request.api_key
        expire_time = optional_time(asked, "expire_time", inside="api_key.")
        key, secret = self._api_keys.create(asked.display_name, asked.permissions, expire_time)
        return api_key_service_pb2.CreateApiKeyResponse(api_key=convert.api_key_to_proto(key), secret=secret)

    def ListApiKeys(
        self, request: api_key_service_pb2.ListApiKeysRequest, context: Context
    ) -> api_key_service_pb2.ListApiKeysResponse:
        found, next_token = self._api_keys.list_page(request.page_size, request.page_token)
        return api_key_service_pb2.ListApiKeysResponse(
            api_keys=map(convert.api_key_to_proto, found), next_page_token=next_token
        )

    def RevokeApiKey(
        self, request: api_key_service_pb2.RevokeApiKeyRequest, context: Context
    ) -> api_key_service_pb2.RevokeApiKeyResponse:
        key = self._api_keys.revoke(convert.api_key_id_in(request.name))
        return api_key_service_pb2.RevokeApiKeyResponse(api_key=convert.api_key_to_proto(key))

    def VerifyApiKey(
        self, request: api_key_service_pb2.VerifyApiKeyRequest, context: Context
    ) -> api_key_service_pb2.VerifyApiKeyResponse:
        key = self._api_keys.verify(request.key)
        return convert.api_key_state_to_proto(key)
