"""The protobuf form of CloudEvents 1.0, for transports of the log, such as NATS JetStream.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/protobuf-format.md. No installed package brings its
messages, so they are described here, field by field as in cloudevents.proto, and made at import.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
from google.protobuf import any_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

from services.kernel.cloudevents import AttributeValue, CloudEvent, Data, Json, NotACloudEvent, is_json, parse_time

PROTOBUF = "application/cloudevents+protobuf"
PROTOBUF_BATCH = "application/cloudevents-batch+protobuf"

_PACKAGE = "io.cloudevents.v1"
_F = FieldDescriptorProto
_ATTRIBUTE = f".{_PACKAGE}.CloudEvent.CloudEventAttributeValue"
_ENTRY = f".{_PACKAGE}.CloudEvent.AttributesEntry"
_ANY, _TIMESTAMP = ".google.protobuf.Any", ".google.protobuf.Timestamp"


def _field(name: str, number: int, kind: int, *, message: str = "", repeated: bool = False, one_of: bool = False) -> _F:
    field = _F(name=name, number=number, label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL)
    field.type = kind  # type: ignore[assignment]  # the enum's value
    if message:
        field.type_name = message
    if one_of:
        field.oneof_index = 0
    return field


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="io/cloudevents/v1/cloudevents.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend([any_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name])
    event = file.message_type.add(name="CloudEvent")
    event.field.extend(
        [
            _field("id", 1, _F.TYPE_STRING),
            _field("source", 2, _F.TYPE_STRING),
            _field("spec_version", 3, _F.TYPE_STRING),
            _field("type", 4, _F.TYPE_STRING),
            _field("attributes", 5, _F.TYPE_MESSAGE, message=_ENTRY, repeated=True),
            _field("binary_data", 6, _F.TYPE_BYTES, one_of=True),
            _field("text_data", 7, _F.TYPE_STRING, one_of=True),
            _field("proto_data", 8, _F.TYPE_MESSAGE, message=_ANY, one_of=True),
        ]
    )
    event.oneof_decl.add(name="data")
    entry = event.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    entry.field.extend(
        [_field("key", 1, _F.TYPE_STRING), _field("value", 2, _F.TYPE_MESSAGE, message=_ATTRIBUTE)],
    )
    value: DescriptorProto = event.nested_type.add(name="CloudEventAttributeValue")
    value.field.extend(
        [
            _field("ce_boolean", 1, _F.TYPE_BOOL, one_of=True),
            _field("ce_integer", 2, _F.TYPE_INT32, one_of=True),
            _field("ce_string", 3, _F.TYPE_STRING, one_of=True),
            _field("ce_bytes", 4, _F.TYPE_BYTES, one_of=True),
            _field("ce_uri", 5, _F.TYPE_STRING, one_of=True),
            _field("ce_uri_ref", 6, _F.TYPE_STRING, one_of=True),
            _field("ce_timestamp", 7, _F.TYPE_MESSAGE, message=_TIMESTAMP, one_of=True),
        ]
    )
    value.oneof_decl.add(name="attr")
    batch = file.message_type.add(name="CloudEventBatch")
    batch.field.append(_field("events", 1, _F.TYPE_MESSAGE, message=f".{_PACKAGE}.CloudEvent", repeated=True))
    return file


descriptor_pool.Default().AddSerializedFile(_described().SerializeToString())
# `Any`: their fields are known to the descriptors alone.
EventMessage: Any = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.CloudEvent")
)
BatchMessage: Any = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.CloudEventBatch")
)


def encode_protobuf(event: CloudEvent) -> bytes:
    """The event as application/cloudevents+protobuf."""
    encoded: bytes = _message(event).SerializeToString()
    return encoded


def encode_protobuf_batch(events: Sequence[CloudEvent]) -> bytes:
    """The events as application/cloudevents-batch+protobuf."""
    encoded: bytes = BatchMessage(events=map(_message, events)).SerializeToString()
    return encoded


def decode_protobuf(encoded: bytes) -> CloudEvent:
    """Read an event. Raises NotACloudEvent."""
    return _from_message(_parsed(EventMessage, encoded))


def decode_protobuf_batch(encoded: bytes) -> list[CloudEvent]:
    """Read a batch. Raises NotACloudEvent where any of its events is none."""
    return [_from_message(message) for message in _parsed(BatchMessage, encoded).events]


def _message(event: CloudEvent) -> Any:
    message = EventMessage(id=event.id, source=event.source, spec_version="1.0", type=event.type)
    for name in ("datacontenttype", "subject"):
        if (text := getattr(event, name)) is not None:
            message.attributes[name].ce_string = text
    if event.dataschema is not None:
        message.attributes["dataschema"].ce_uri = event.dataschema
    if event.time is not None:
        message.attributes["time"].ce_timestamp.FromDatetime(event.time)
    for name, value in event.extensions.items():
        _set_attribute(message.attributes[name], value)
    match event.data:
        case Json(parsed):
            message.text_data = orjson.dumps(parsed).decode()
        case str(text):
            message.text_data = text
        case bytes(content):
            message.binary_data = content
        case any_pb2.Any():
            message.proto_data.CopyFrom(event.data)
    return message


def _set_attribute(attribute: Any, value: AttributeValue) -> None:
    match value:
        case bool():
            attribute.ce_boolean = value
        case int():
            attribute.ce_integer = value
        case str():
            attribute.ce_string = value
        case bytes():
            attribute.ce_bytes = value
        case datetime():
            attribute.ce_timestamp.FromDatetime(value)


def _from_message(message: Any) -> CloudEvent:
    if message.spec_version != "1.0":
        raise NotACloudEvent("specversion must be 1.0")
    attributes = {name: _attribute(name, value) for name, value in message.attributes.items()}
    texts = {name: _text(name, attributes.pop(name, None)) for name in ("datacontenttype", "dataschema", "subject")}
    time = attributes.pop("time", None)
    if isinstance(time, str):
        time = parse_time(time)
    if time is not None and not isinstance(time, datetime):
        raise NotACloudEvent("time must be a moment")
    return CloudEvent(
        id=message.id,
        source=message.source,
        type=message.type,
        **texts,
        time=time,
        extensions=MappingProxyType(attributes),
        data=_data(message, texts["datacontenttype"]),
    )


def _attribute(name: str, value: Any) -> AttributeValue:
    kind = value.WhichOneof("attr")
    if kind is None:
        raise NotACloudEvent(f"{name} has no value")
    given: AttributeValue = getattr(value, kind)
    if not isinstance(given, timestamp_pb2.Timestamp):
        return given
    try:
        return given.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise NotACloudEvent(f"{name} must be a moment") from None


def _text(name: str, value: AttributeValue | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise NotACloudEvent(f"{name} must be a string")


def _data(message: Any, content_type: str | None) -> Data | None:
    match message.WhichOneof("data"):
        case "binary_data":
            content: bytes = message.binary_data
            return content
        case "proto_data":
            packed = any_pb2.Any()
            packed.CopyFrom(message.proto_data)
            return packed
        case "text_data":
            text: str = message.text_data
            if not is_json(content_type):
                return text
            try:
                return Json(orjson.loads(text))
            except orjson.JSONDecodeError:
                raise NotACloudEvent("data must be JSON, as its content type says") from None
    return None


def _parsed(kind: Any, encoded: bytes) -> Any:
    try:
        return kind.FromString(encoded)
    except DecodeError:
        raise NotACloudEvent("it must be a message of CloudEvents' protobuf form") from None
