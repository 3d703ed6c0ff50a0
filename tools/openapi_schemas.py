"""JSON Schemas of protobuf messages, as protojson writes and reads them (and Envoy's transcoder with it)."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from tools.contract import Contract, extension, parse_options
from tools.envoy_routes import Json
from tools.openapi_rules import (
    field_options,
    keywords,
    message_rules,
    refuses_absence,
    rule_sentences,
    rules,
    text_rule_sentences,
)

FIELD_BEHAVIOR = "google.api.field_behavior"
_REQUIRED, _OUTPUT_ONLY, _INPUT_ONLY, _IDENTIFIER = 2, 3, 4, 8

_INTEGER_32 = {"type": "integer", "format": "int32", "minimum": -(1 << 31), "maximum": (1 << 31) - 1}
_UNSIGNED_32 = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": (1 << 32) - 1}
# 64 bits do not fit JavaScript's numbers, so protojson writes them as strings.
_INTEGER_64 = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_UNSIGNED_64 = {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INTEGER_32,
    FieldDescriptor.TYPE_SINT32: _INTEGER_32,
    FieldDescriptor.TYPE_SFIXED32: _INTEGER_32,
    FieldDescriptor.TYPE_UINT32: _UNSIGNED_32,
    FieldDescriptor.TYPE_FIXED32: _UNSIGNED_32,
    FieldDescriptor.TYPE_INT64: _INTEGER_64,
    FieldDescriptor.TYPE_SINT64: _INTEGER_64,
    FieldDescriptor.TYPE_SFIXED64: _INTEGER_64,
    FieldDescriptor.TYPE_UINT64: _UNSIGNED_64,
    FieldDescriptor.TYPE_FIXED64: _UNSIGNED_64,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}

# Messages that protojson writes in a form of their own.
WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields in lowerCamelCase, with commas."},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    "google.protobuf.BoolValue": {"type": ["boolean", "null"]},
    "google.protobuf.StringValue": {"type": ["string", "null"]},
    "google.protobuf.BytesValue": {"type": ["string", "null"], "contentEncoding": "base64"},
    "google.protobuf.Int32Value": {**_INTEGER_32, "type": ["integer", "null"]},
    "google.protobuf.UInt32Value": {**_UNSIGNED_32, "type": ["integer", "null"]},
    "google.protobuf.Int64Value": {**_INTEGER_64, "type": ["string", "null"]},
    "google.protobuf.UInt64Value": {**_UNSIGNED_64, "type": ["string", "null"]},
    "google.protobuf.FloatValue": {"type": ["number", "null"]},
    "google.protobuf.DoubleValue": {"type": ["number", "null"]},
}


class Schemas:
    """The schemas of `components`, made as they are asked for.

    `received` are the messages that appear in answers: a secret among their fields is shown, and what is only written
    is there without a value, so neither is writeOnly.
    """

    def __init__(self, contract: Contract, received: frozenset[str]) -> None:
        self._contract = contract
        self._received = received
        self.components: dict[str, Json] = {}

    def message(self, descriptor: Descriptor, *, partial: bool = False) -> Json:
        """A reference to a message's schema. `partial`: for an update, which may leave out what stays as it is."""
        if (known := WELL_KNOWN.get(descriptor.full_name)) is not None:
            return dict(known)
        name = component_name(descriptor.full_name)
        if partial and self._required(descriptor, partial=True) != self._required(descriptor, partial=False):
            name += ".Update"
        else:
            partial = False
        if name not in self.components:
            # In its place before its fields are: a message may contain itself.
            self.components[name] = {}
            self.components[name] = self.object(descriptor, partial=partial)
        return {"$ref": f"#/components/schemas/{name}"}

    def object(self, descriptor: Descriptor, *, without: frozenset[str] = frozenset(), partial: bool = False) -> Json:
        """The schema of a message itself, without some of its fields."""
        fields = [field for field in descriptor.fields if field.name not in without]
        made: Json = {"type": "object", "properties": {field.json_name: self.field(field) for field in fields}}
        required = [name for name in self._required(descriptor, partial=partial) if name not in without]
        if required:
            made["required"] = [descriptor.fields_by_name[name].json_name for name in required]
        options = parse_options(self._contract.pool, "MessageOptions", descriptor.GetOptions().SerializeToString())
        sentences = rule_sentences(message_rules(options, self._contract))
        return self._described(made, self.comment(descriptor.full_name), sentences)

    def field(self, field: FieldDescriptor) -> Json:
        """The schema of one field: type, rules, who writes it, comment."""
        found = rules(field, self._contract)
        made = self._typed(field)
        made = _merged(made, keywords(found))
        behavior = self.behavior(field)
        if behavior & {_OUTPUT_ONLY, _IDENTIFIER}:
            made["readOnly"] = True
        options = field.GetOptions()
        if options.debug_redact:
            made["format"] = "password"
        containing = field.containing_type
        shown = containing is not None and containing.full_name in self._received
        if (_INPUT_ONLY in behavior or options.debug_redact) and not shown:
            made["writeOnly"] = True
        if options.deprecated:
            made["deprecated"] = True
        sentences = [*rule_sentences(found), *text_rule_sentences(found)]
        return self._described(made, self.comment(field.full_name), sentences)

    def comment(self, full_name: str) -> str:
        """The comment above whatever has that full name, or nothing."""
        return self._contract.comments.get(full_name, "")

    def behavior(self, field: FieldDescriptor) -> set[int]:
        """The numbers of google.api.FieldBehavior that a field states."""
        return set(extension(self._contract.pool, field_options(field, self._contract), FIELD_BEHAVIOR) or ())

    def required(self, field: FieldDescriptor) -> bool:
        """Whether a request without the field is refused."""
        return _REQUIRED in self.behavior(field) or refuses_absence(rules(field, self._contract))

    def _required(self, descriptor: Descriptor, *, partial: bool) -> list[str]:
        if partial:
            return [field.name for field in descriptor.fields if refuses_absence(rules(field, self._contract))]
        return [field.name for field in descriptor.fields if self.required(field)]

    def _typed(self, field: FieldDescriptor) -> Json:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._one(message.fields_by_name["value"])}
        one = self._one(field)
        return {"type": "array", "items": one} if field.is_repeated else one

    def _one(self, field: FieldDescriptor) -> Json:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, descriptor: EnumDescriptor) -> Json:
        name = component_name(descriptor.full_name)
        values = [value.name for value in descriptor.values]
        lines = [
            f"- `{value.name}`: {' '.join(comment.split())}"
            for value in descriptor.values
            if (comment := self.comment(f"{descriptor.full_name}.{value.name}"))
        ]
        made = self._described({"type": "string", "enum": values}, self.comment(descriptor.full_name), [])
        if lines:
            made["description"] = "\n".join([made.get("description", ""), "", *lines]).strip()
        self.components[name] = made
        return {"$ref": f"#/components/schemas/{name}"}

    @staticmethod
    def _described(schema: Json, comment: str, sentences: list[str]) -> Json:
        text = "\n".join(filter(None, [comment, *(f"Rule: {sentence}." for sentence in sentences)]))
        return schema | {"description": text} if text else schema


def component_name(full_name: str) -> str:
    """A message's key among the components: its full name, without the package that all of ours begin with."""
    return full_name.removeprefix("plinth.")


def _merged(schema: Json, further: Json) -> Json:
    """A schema and its field's rules; those of items, and of the values of a map, join the schema of these."""
    for within in ("items", "additionalProperties"):
        if within in further and within in schema:
            further = further | {within: schema[within] | further[within]}
    return schema | further


def received(contract: Contract) -> frozenset[str]:
    """The full names of all messages that methods with a REST form answer with, directly or inside others."""
    pending = [method.descriptor.output_type for method in contract.methods if method.bindings]
    found: set[str] = set()
    while pending:
        descriptor = pending.pop()
        if descriptor.full_name in found:
            continue
        found.add(descriptor.full_name)
        pending += [field.message_type for field in descriptor.fields if field.message_type is not None]
    return frozenset(found)
