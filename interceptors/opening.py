"""Stage `opening`: the request itself. A client stream shows its first message here, and unreadable bytes end here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from interceptors.call import Call
from interceptors.policy import Access, MethodPolicy
from interceptors.stages import Stage
from services.kernel.errors import FieldsInvalid, FieldViolation

# A client stream is judged on its first message, which must not be long in coming.
FIRST_MESSAGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a request that is not read, and says what is wrong with it."""

    wrong: str


_NO_MESSAGE = Malformed("is not a message of this method's type")


class BrokenOff:
    """Stands for the answers of a download that will not come."""


# No message begins like this. A transcoder that meets it breaks the connection off; after a status, which comes too
# late for HTTP to tell, it would end the body as if all had been said (Envoy 1.40).
_UNREADABLE = b"\xff"


class Opening(Stage):
    """Makes sure that there is a request to judge."""

    def enter(self, call: Call) -> None:
        """Raises FieldsInvalid where there is none, or none that can be read."""
        if call.first_message is not None:
            call.request = call.first_message()
            call.first_message = None
        readable(call.request)


def readable(message: Any) -> Any:
    """The message as it is. Raises FieldsInvalid where there is none, or none that can be read."""
    if message is None:
        message = _NO_MESSAGE
    if isinstance(message, Malformed):
        raise FieldsInvalid(FieldViolation("", message.wrong))
    return message


def tolerant(handler: "grpc.RpcMethodHandler[Any, Any]", policy: MethodPolicy) -> Any:
    """The same handler, but what cannot be parsed or is too large becomes `Malformed`: gRPC would answer INTERNAL.

    A `BrokenOff` among its answers is written, too.
    """
    parse: Callable[[bytes], Any] | None = handler.request_deserializer
    write: Callable[[Any], bytes] | None = handler.response_serializer
    # What services send each other is bounded by the server alone.
    limit = None if policy.access is Access.INTERNAL else policy.max_request_bytes

    def parse_or_mark(data: bytes) -> Any:
        if limit is not None and len(data) > limit:
            return Malformed(f"is larger than {limit} bytes")
        try:
            return parse(data) if parse is not None else data
        except DecodeError:
            return _NO_MESSAGE

    def write_or_break(message: Any) -> bytes:
        if isinstance(message, BrokenOff):
            return _UNREADABLE
        return write(message) if write is not None else message

    changed: dict[str, Any] = {"request_deserializer": parse_or_mark}
    if policy.downloads:
        changed["response_serializer"] = write_or_break
    return handler._replace(**changed)  # type: ignore[attr-defined]  # it is a named tuple
