"""The errors of identity; each reason stands in `plinth/errors/v1/error_reason.proto`, 100-199."""

from collections.abc import Iterable
from datetime import timedelta

from services.kernel.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)


class CredentialsInvalid(Unauthenticated):
    """Address and password do not fit together, or there is no such user: which of them is not told."""

    reason = "CREDENTIALS_INVALID"

    def __init__(self) -> None:
        super().__init__("The address or the password is wrong.")


class SignInThrottled(ResourceExhausted):
    """Too many failures in a row; the next attempt has to wait."""

    reason = "SIGN_IN_THROTTLED"

    def __init__(self, factor: str, retry_after: timedelta) -> None:
        super().__init__("Too many failures; wait before the next attempt.", retry_after=retry_after, factor=factor)


class LinkInvalid(FailedPrecondition):
    """The token of a mailed link is unknown, used, replaced or expired."""

    reason = "LINK_INVALID"

    def __init__(self) -> None:
        super().__init__("The link is not valid any more; ask for a new one.")


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is unknown, or its session ended."""

    reason = "REFRESH_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("The refresh token is not valid; sign in again.")


class RefreshTokenReused(Unauthenticated):
    """A refresh token came back after it was replaced: its session ended."""

    reason = "REFRESH_TOKEN_REUSED"

    def __init__(self) -> None:
        super().__init__("The refresh token was used before, so its session has ended; sign in again.")


class PasswordRefused(InvalidArgument):
    """The new password is too easy to guess."""

    reason = "PASSWORD_REFUSED"

    def __init__(self, field: str, rule: str, description: str) -> None:
        super().__init__(
            "The password is too easy to guess.", violations=[FieldViolation(field, description)], rule=rule
        )


class PasswordWrong(PermissionDenied):
    """The password that a signed-in user gave is not theirs."""

    reason = "PASSWORD_WRONG"

    def __init__(self) -> None:
        super().__init__("The password is wrong.")


class EmailTaken(AlreadyExists):
    """The new address belongs to another user since the link was mailed."""

    reason = "EMAIL_TAKEN"

    def __init__(self) -> None:
        super().__init__("The address belongs to another user.")


class SignInRequired(FailedPrecondition):
    """The session began too long ago for this."""

    reason = "SIGN_IN_REQUIRED"

    def __init__(self, max_age: timedelta) -> None:
        super().__init__(
            "Sign in again to prove that it is you, then repeat this.",
            max_age_seconds=str(int(max_age.total_seconds())),
        )


class PermissionsExceedGrant(PermissionDenied):
    """A key cannot be given what its creator may not do."""

    reason = "PERMISSIONS_EXCEED_GRANT"

    def __init__(self, missing: Iterable[str]) -> None:
        super().__init__(
            "A key can be given no permission that its creator lacks.", permissions=",".join(sorted(missing))
        )
