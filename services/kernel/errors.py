"""Errors as the domains raise them: a status code, a reason of the contract, and metadata.

A domain names its own errors by deriving from one class per status. The chain's errors stage alone turns them into
a `google.rpc.Status`. Codes are those of google.rpc.Code; reasons stand in `plinth/errors/v1/error_reason.proto`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The canonical status codes that Plinth answers with (google.rpc.Code)."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is out of bounds; `field` is its path in the request, in proto names."""

    field: str
    description: str


class PlinthError(Exception):
    """An error that the client may see.

    `message` is for people, `reason` for programs, `metadata` says which resource; none of them may hold a secret.
    """

    code: ClassVar[Code]
    reason: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        violations: Sequence[FieldViolation] = (),
        **metadata: str,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.metadata = metadata


class InvalidArgument(PlinthError):
    """The request itself is wrong, whatever the state of the system."""

    code = Code.INVALID_ARGUMENT


class Unauthenticated(PlinthError):
    """Who calls could not be established."""

    code = Code.UNAUTHENTICATED


class PermissionDenied(PlinthError):
    """The caller is known in this workspace, and may not do this."""

    code = Code.PERMISSION_DENIED


class NotFound(PlinthError):
    """No such thing, or none that this caller may know of."""

    code = Code.NOT_FOUND


class AlreadyExists(PlinthError):
    """What the caller would create is there already."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(PlinthError):
    """The state of the system forbids it; retrying does not help until that state changes."""

    code = Code.FAILED_PRECONDITION


class Aborted(PlinthError):
    """A concurrent change got in between; read again and retry."""

    code = Code.ABORTED


class ResourceExhausted(PlinthError):
    """A limit of rate, quota or room is reached."""

    code = Code.RESOURCE_EXHAUSTED


class Unavailable(PlinthError):
    """A part is out of reach for the moment; the same call may be retried."""

    code = Code.UNAVAILABLE


class DeadlineExceeded(PlinthError):
    """The caller's deadline passed before the work was done."""

    code = Code.DEADLINE_EXCEEDED


class ResourceNotFound(NotFound):
    """Nothing of that name exists in the caller's workspace."""

    reason = "NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__("The resource does not exist.", resource=name)


class NameInvalid(InvalidArgument):
    """A resource name does not parse."""

    reason = "NAME_INVALID"

    def __init__(self, field: str, pattern: str) -> None:
        violation = FieldViolation(field, f"must be a resource name of the form {pattern}")
        super().__init__("The resource name does not parse.", violations=[violation], field=field)


class NameMismatch(InvalidArgument):
    """A resource name is another one than the URL or the other names of the request say; `problem` is for people."""

    reason = "NAME_INVALID"

    def __init__(self, field: str, problem: str) -> None:
        violation = FieldViolation(field, problem)
        super().__init__("The resource name does not go with the rest.", violations=[violation], field=field)


class FieldsInvalid(InvalidArgument):
    """One or more fields of the request are out of bounds."""

    reason = "FIELDS_INVALID"

    def __init__(self, *violations: FieldViolation) -> None:
        super().__init__("The request has invalid fields.", violations=violations)


class LacksPermission(PermissionDenied):
    """The caller is in the workspace, with a role that does not hold the permission."""

    reason = "PERMISSION_DENIED"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}.", permission=permission)


class SessionRequired(PermissionDenied):
    """The call is for a person who is signed in; an API key may not make it."""

    reason = "SESSION_REQUIRED"

    def __init__(self) -> None:
        super().__init__("This is for people who are signed in; an API key may not do it.")


class EmailNotVerified(FailedPrecondition):
    """The user has not yet shown that the e-mail address is theirs."""

    reason = "EMAIL_NOT_VERIFIED"

    def __init__(self) -> None:
        super().__init__("The address has to be proven first, by the link in the mail.")


class PageTokenInvalid(InvalidArgument):
    """The page token is damaged, or was issued for another query."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self) -> None:
        violation = FieldViolation("page_token", "is damaged, or belongs to another query")
        super().__init__("The page token is not valid for this query.", violations=[violation])


class FilterInvalid(InvalidArgument):
    """The filter of a list does not parse, or compares what it cannot; `position` counts its characters from 1."""

    reason = "FILTER_INVALID"

    def __init__(self, position: int, problem: str) -> None:
        violation = FieldViolation("filter", f"at character {position}: {problem}")
        super().__init__("The filter is not valid.", violations=[violation], position=str(position))


class OrderByInvalid(InvalidArgument):
    """The order of a list does not parse, or names what it cannot be sorted by; `position` as in FilterInvalid."""

    reason = "ORDER_BY_INVALID"

    def __init__(self, position: int, problem: str) -> None:
        violation = FieldViolation("order_by", f"at character {position}: {problem}")
        super().__init__("The order is not valid.", violations=[violation], position=str(position))


class EtagRequired(InvalidArgument):
    """A change of an existing resource came without its etag."""

    reason = "ETAG_REQUIRED"

    def __init__(self, name: str) -> None:
        super().__init__(
            "The etag of the resource is required.",
            violations=[FieldViolation("etag", "is required; read the resource to learn it")],
            resource=name,
        )


class EtagMismatch(Aborted):
    """The resource changed since the caller read it."""

    reason = "ETAG_MISMATCH"

    def __init__(self, name: str) -> None:
        super().__init__("The resource has changed since it was read.", resource=name)


class RequestIdReused(InvalidArgument):
    """The request_id was used before, with another payload."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        violation = FieldViolation("request_id", "was used for another request")
        super().__init__("The request_id was used for another request.", violations=[violation], request_id=request_id)


class RequestInProgress(Aborted):
    """Another call with this request_id has not ended yet."""

    reason = "REQUEST_IN_PROGRESS"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            "A call with this request_id is under way.", retry_after=timedelta(seconds=1), request_id=request_id
        )


class ConcurrentUpdate(Aborted):
    """Two writes met in the database and this one gave way."""

    reason = "CONCURRENT_UPDATE"

    def __init__(self) -> None:
        super().__init__("The change met a concurrent one; try again.", retry_after=timedelta(milliseconds=100))


class DependencyUnavailable(Unavailable):
    """A part that the call needs cannot be reached."""

    reason = "DEPENDENCY_UNAVAILABLE"

    def __init__(self, dependency: str) -> None:
        super().__init__(
            "A part that this call needs is not reachable.", retry_after=timedelta(seconds=1), dependency=dependency
        )


class CallDeadlineExceeded(DeadlineExceeded):
    """The deadline of the call passed while it was waiting or working."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("The deadline passed before the call was done.")


class Overloaded(ResourceExhausted):
    """There is no room for the call right now."""

    reason = "OVERLOADED"

    def __init__(self, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__("The server has no room for this call right now.", retry_after=retry_after)


class ShuttingDown(Unavailable):
    """The server finishes what it has begun and takes on nothing more."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("The server is shutting down.", retry_after=timedelta(seconds=1))


class CursorInvalid(InvalidArgument):
    """The cursor of a stream cannot be read, or lies ahead of the event log."""

    reason = "CURSOR_INVALID"

    def __init__(self) -> None:
        violation = FieldViolation("cursor", "is none that a stream has given")
        super().__init__("The cursor is not valid.", violations=[violation])


class CursorExpired(FailedPrecondition):
    """Events after the cursor are no longer kept, so a stream from there would have a gap."""

    reason = "CURSOR_EXPIRED"

    def __init__(self) -> None:
        super().__init__("Events after the cursor are no longer kept: read the present state, and watch from now on.")
