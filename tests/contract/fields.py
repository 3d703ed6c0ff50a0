"""What the descriptors say about the fields of a request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from interceptors.policy import MethodPolicy

_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# A variable that is one of some words, or a UUID.
_WORD_OR_UUID = re.compile(r"\([a-z|]+\|\*\)")
# A name that may go further: the shorter form is one too.
_OPTIONAL_TAIL = re.compile(r"\(/[^()]*\)\?$")
# Deeper than any request of ours goes; well-known types end the walk before.
_MAX_DEPTH = 6


@dataclass(frozen=True)
class Leaf:
    """A field of a request that holds a value, however deep: `("workspace", "display_name")`."""

    path: tuple[str, ...]
    field: FieldDescriptor
    output_only: bool

    @property
    def name(self) -> str:
        """As violations name it: `workspace.display_name`."""
        return ".".join(self.path)

    @property
    def rules(self) -> validate_pb2.FieldRules:
        """The rules of the value; of each item, where the field is a list."""
        rules: validate_pb2.FieldRules = self.field.GetOptions().Extensions[validate_pb2.field]
        return rules.repeated.items if self.is_list else rules

    @property
    def kind(self) -> str:
        """`string`, `bytes`, `enum`, `int`, `bool`, `map`, or the full name of a well-known message."""
        if self.is_map:
            return "map"
        if self.field.type == FieldDescriptor.TYPE_BYTES:
            return "bytes"
        if self.field.message_type is not None:
            return str(self.field.message_type.full_name)
        named = {FieldDescriptor.CPPTYPE_STRING: "string", FieldDescriptor.CPPTYPE_ENUM: "enum"}
        named |= {FieldDescriptor.CPPTYPE_BOOL: "bool"}
        return named.get(self.field.cpp_type, "int")

    @property
    def is_list(self) -> bool:
        """Whether its value is a list; protobuf calls a map repeated, too."""
        return self.field.is_repeated and not self.is_map

    @property
    def is_map(self) -> bool:
        """Whether its value is a dict."""
        return self.field.message_type is not None and self.field.message_type.GetOptions().map_entry

    @property
    def required(self) -> bool:
        """Whether the contract says that it must be set."""
        return field_behavior_pb2.REQUIRED in behaviors(self.field)

    @property
    def resource(self) -> str:
        """The kind of resource that it names, as the factories list them: `workspaces/*/members/*`; else empty."""
        pattern = self.rules.string.pattern.removeprefix("^").removesuffix("$").replace(_UUID, "*")
        pattern = _OPTIONAL_TAIL.sub("", _WORD_OR_UUID.sub("*", pattern))
        return pattern if re.fullmatch(r"[A-Za-z]+(/[A-Za-z]+)*(/\*(/[A-Za-z]+)*)+", pattern) else ""

    def holder(self, request: Message) -> Any:
        """The message in the request that the field belongs to; Any, as its fields depend on the method."""
        found: Any = request
        for part in self.path[:-1]:
            found = getattr(found, part)
        return found

    def read(self, request: Message) -> Any:
        """The value in this request."""
        return getattr(self.holder(request), self.field.name)

    def write(self, request: Message, value: Any) -> None:
        """Put a value (a list or a dict, where the field is one) into this request."""
        holder = self.holder(request)
        holder.SetInParent()
        holder.ClearField(self.field.name)
        if self.is_map:
            getattr(holder, self.field.name).update(value)
        elif self.is_list:
            getattr(holder, self.field.name).extend(value)
        elif self.field.message_type is not None:
            getattr(holder, self.field.name).CopyFrom(value)
        else:
            setattr(holder, self.field.name, value)


def leaves(policy: MethodPolicy) -> list[Leaf]:
    """Every field of a method's request."""
    return list(_walk(policy.request_class.DESCRIPTOR, (), output_only=False))


def has_field(policy: MethodPolicy, name: str) -> bool:
    """Whether the request itself has a field of that name."""
    return name in policy.request_class.DESCRIPTOR.fields_by_name


def behaviors(field: FieldDescriptor) -> set[int]:
    """REQUIRED, OUTPUT_ONLY, IDENTIFIER, … as google.api.field_behavior lists them."""
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


# The descriptor is Any: its class depends on the implementation of protobuf.
def _walk(descriptor: Any, path: tuple[str, ...], *, output_only: bool) -> Iterator[Leaf]:
    if len(path) > _MAX_DEPTH:
        return
    for field in descriptor.fields:
        here = (*path, field.name)
        ignored = output_only or field_behavior_pb2.OUTPUT_ONLY in behaviors(field)
        message = field.message_type
        if message is not None and not message.full_name.startswith("google.") and not field.is_repeated:
            yield from _walk(message, here, output_only=ignored)
        else:
            yield Leaf(here, field, ignored)
