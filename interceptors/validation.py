"""Stage `validation`: the rules that the contract states for each field (protovalidate)."""

import re
from typing import Any

import protovalidate
from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.stages import Stage
from services.kernel.errors import FieldsInvalid, FieldViolation

_MAX_VIOLATIONS = 20
# Of the key of a map, which may be of any length and must not crowd out the rest of the answer.
_MAX_KEY = 64
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# An end of a name that is one of some words or a UUID, and one that may be missing.
_WORDS = re.compile(r"\(([a-z|]+)\|\{uuid\}\)$")
_OPTIONAL = re.compile(r"^(.*)\((/.*)\)\?$")


class Validation(Stage):
    """Refuses a request that breaks a rule, with every field that does."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def warm(self, messages: list[Message]) -> None:
        """Compile the rules of these messages now: the first validation of a type takes milliseconds."""
        for message in messages:
            self._validator.collect_violations(message)

    def enter(self, call: Call) -> None:
        """Raises FieldsInvalid."""
        if call.request is None:
            return
        violations = self._validator.collect_violations(call.request)
        if violations:
            raise FieldsInvalid(*(_violation(one) for one in violations[:_MAX_VIOLATIONS]))


def form_of(pattern: str) -> str:
    """The pattern of a resource name, and the contract has no other, for people: `workspaces/{uuid}/members/{uuid}`."""
    form = pattern.removeprefix("^").removesuffix("$").replace(_UUID, "{uuid}")
    return _OPTIONAL.sub(r"\1 or \1\2", _WORDS.sub(r"{\1|uuid}", form))


def _violation(violation: Any) -> FieldViolation:  # its types are another protobuf runtime's
    proto = violation.proto
    path = ""
    for element in proto.field.elements if proto.field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{str(subscript.value)[:_MAX_KEY]}]"
    if proto.rule_id == "string.pattern":
        return FieldViolation(path, f"must be a resource name of the form {form_of(violation.rule_value)}")
    return FieldViolation(path, proto.message)
