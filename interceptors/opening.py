"""Stage `opening`: the request itself. A client stream shows its first message here, and unreadable bytes end here."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from interceptors.call import Call
from interceptors.stages import Stage
from services.kernel.errors import FieldsInvalid, FieldViolation

# A client stream is judged on its first message, which must not be long in coming.
FIRST_MESSAGE_SECONDS = 10.0


class Malformed:
    """Stands for a request whose bytes are not a message of the method's type."""


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
    if message is None or isinstance(message, Malformed):
        raise FieldsInvalid(FieldViolation("", "is not a message of this method's type"))
    return message


def tolerant(handler: "grpc.RpcMethodHandler[Any, Any]") -> Any:
    """The same handler, but bytes that cannot be parsed become `Malformed`: gRPC itself would answer INTERNAL."""
    parse: Callable[[bytes], Any] | None = handler.request_deserializer

    def parse_or_mark(data: bytes) -> Any:
        try:
            return parse(data) if parse is not None else data
        except DecodeError:
            return Malformed()

    return handler._replace(request_deserializer=parse_or_mark)  # type: ignore[attr-defined]  # it is a named tuple
