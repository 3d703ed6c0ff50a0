"""CloudEvents 1.0: what an event of ours is outside of the mesh, and what is a valid one of somebody else's.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md. Its JSON form is here, the protobuf form in
`cloudevents_protobuf`. The package `cloudevents` gives an event that lacks its id or version one, takes times that
RFC 3339 does not, and has neither batches nor the protobuf form.

Webhooks send the JSON form. Batches, and all that reads events, are for transports of the log, such as NATS JetStream,
and for receivers, which tests play.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import orjson
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage

from services.kernel.clock import format_time
from services.kernel.events import Event

JSON = "application/cloudevents+json"
JSON_BATCH = "application/cloudevents-batch+json"

AttributeValue = bool | int | str | bytes | datetime

_SCHEMA = "urn:protobuf:"
_TYPE_URL = "type.googleapis.com/"
_DATA = ("data", "data_base64")
_CORE = ("specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time")
_INT32 = range(-(2**31), 2**31)
_NAME = re.compile(r"[a-z0-9]+")
# Strings hold no control characters, no surrogates and no noncharacters.
_NO_TEXT = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(n << 16 | 0xFFFE)}{chr(n << 16 | 0xFFFF)}" for n in range(17))
    + "]"
)
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+"  # noqa: S105  # a part of a media type
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*"))*')
_JSON_TYPE = re.compile(r"[^/]+/(?:[^;]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


class NotACloudEvent(ValueError):
    """It breaks a rule of CloudEvents 1.0; the message names the attribute, and never its value."""


@dataclass(frozen=True, slots=True)
class Json:
    """Data that is a JSON value: what `orjson.loads` makes."""

    value: object


# Text is of a content type other than JSON; a message is for the protobuf form.
Data = Json | str | bytes | AnyMessage


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event with its context attributes. Raises NotACloudEvent for one that is not valid."""

    id: str
    source: str
    type: str
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    time: datetime | None = None
    extensions: Mapping[str, AttributeValue] = field(default_factory=lambda: MappingProxyType({}))
    data: Data | None = None

    def __post_init__(self) -> None:
        for name in ("id", "source", "type", "datacontenttype", "dataschema", "subject"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise NotACloudEvent(f"{name} must be a string that is not empty")
            if value is not None and _NO_TEXT.search(value):
                raise NotACloudEvent(f"{name} holds characters that no text has")
        if not _URI_REFERENCE.fullmatch(self.source):
            raise NotACloudEvent("source must be a URI reference")
        if self.dataschema is not None and not _is_uri(self.dataschema):
            raise NotACloudEvent("dataschema must be a URI")
        if self.datacontenttype is not None and not _MEDIA_TYPE.fullmatch(self.datacontenttype):
            raise NotACloudEvent("datacontenttype must be a media type (RFC 2046)")
        if self.time is not None and self.time.tzinfo is None:
            raise NotACloudEvent("time must have an offset")
        if isinstance(self.data, str) and is_json(self.datacontenttype):
            raise NotACloudEvent("text needs a content type that is not JSON")
        for name, extension in self.extensions.items():
            _check_extension(name, extension)


def json_form(event: Event) -> CloudEvent:
    """An event of ours with its message as JSON. Raises KeyError where the message's stubs were not imported."""
    return _form(event, "application/json", Json(json_format.MessageToDict(event.message())))


def protobuf_form(event: Event) -> CloudEvent:
    """An event of ours with its message as it is."""
    message = AnyMessage(type_url=_TYPE_URL + event.data_schema, value=event.data)
    return _form(event, "application/protobuf", message)


def event_of(cloud_event: CloudEvent) -> Event:
    """The event of ours that either form was made of. Raises NotACloudEvent for one of somebody else's."""
    schema = (cloud_event.dataschema or "").removeprefix(_SCHEMA)
    given = cloud_event.extensions
    workspace, actor, trace = (given.get(name, "") for name in ("workspaceid", "actor", "traceparent"))
    try:
        return Event(
            position=int(str(given["sequence"])),
            id=UUID(cloud_event.id),
            workspace_id=UUID(str(workspace)) if workspace else None,
            type=cloud_event.type,
            source=cloud_event.source,
            subject=cloud_event.subject or "",
            time=cloud_event.time or datetime.min.replace(tzinfo=UTC),
            data_schema=schema,
            data=_message_bytes(schema, cloud_event.data),
            actor=str(actor),
            traceparent=str(trace),
            restricted=bool(given.get("restricted", False)),
        )
    except (KeyError, ValueError, json_format.ParseError) as error:
        raise NotACloudEvent("the event is none of Plinth's") from error


def encode_json(event: CloudEvent) -> bytes:
    """The event in structured mode, as application/cloudevents+json."""
    return orjson.dumps(_json_object(event))


def encode_json_batch(events: Sequence[CloudEvent]) -> bytes:
    """The events as application/cloudevents-batch+json."""
    return orjson.dumps([_json_object(event) for event in events])


def decode_json(text: bytes) -> CloudEvent:
    """Read an event in structured mode. Raises NotACloudEvent."""
    return _from_json_object(_loads(text))


def decode_json_batch(text: bytes) -> list[CloudEvent]:
    """Read a batch. Raises NotACloudEvent where any of its events is none."""
    events = _loads(text)
    if not isinstance(events, list):
        raise NotACloudEvent("a batch must be an array")
    return [_from_json_object(event) for event in events]


def is_json(content_type: str | None) -> bool:
    """Whether data of this content type is JSON; without one it is."""
    return content_type is None or bool(_JSON_TYPE.fullmatch(content_type))


def parse_time(text: str) -> datetime:
    """A moment of RFC 3339, to the microsecond. Raises NotACloudEvent."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise NotACloudEvent("time must be a moment of RFC 3339")
    date, hour, minute, second, fraction, offset = match.groups()
    # A leap second is the first of the next minute here, as POSIX counts.
    leap = second == "60"
    try:
        moment = datetime.fromisoformat(f"{date}T{hour}:{minute}:{'59' if leap else second}{offset.upper()}")
        moment += timedelta(seconds=leap, microseconds=int((fraction or ".0")[1:7].ljust(6, "0")))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotACloudEvent("time must be a moment of RFC 3339") from None


def _form(event: Event, content_type: str, data: Data) -> CloudEvent:
    given: dict[str, AttributeValue] = {
        "sequence": f"{event.position:019d}",
        "workspaceid": str(event.workspace_id or ""),
        "actor": event.actor,
        "traceparent": event.traceparent,
        "restricted": event.restricted,
    }
    return CloudEvent(
        id=str(event.id),
        source=event.source,
        type=event.type,
        datacontenttype=content_type,
        dataschema=_SCHEMA + event.data_schema,
        subject=event.subject,
        time=event.time,
        extensions=MappingProxyType({name: value for name, value in given.items() if value}),
        data=data,
    )


def _message_bytes(schema: str, data: Data | None) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, AnyMessage):
        return data.value
    if not isinstance(data, Json) or not isinstance(data.value, dict):
        raise NotACloudEvent("data must be a message")
    message = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(schema))()
    return json_format.ParseDict(data.value, message).SerializeToString()


def _json_object(event: CloudEvent) -> dict[str, object]:
    members: dict[str, object] = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type}
    for name in ("datacontenttype", "dataschema", "subject"):
        if (value := getattr(event, name)) is not None:
            members[name] = value
    if event.time is not None:
        members["time"] = format_time(event.time)
    members |= {name: _json_attribute(value) for name, value in event.extensions.items()}
    match event.data:
        case Json(value):
            members["data"] = value
        case str(text):
            members["data"] = text
        case bytes(content):
            members["data_base64"] = base64.b64encode(content).decode()
        case AnyMessage():
            members["data_base64"] = base64.b64encode(event.data.value).decode()
    return members


def _json_attribute(value: AttributeValue) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return format_time(value) if isinstance(value, datetime) else value


def _from_json_object(members: object) -> CloudEvent:
    if not isinstance(members, dict):
        raise NotACloudEvent("an event must be an object")
    given = {name: value for name, value in members.items() if value is not None}
    for name in ("specversion", "id", "source", "type"):
        if name not in given:
            raise NotACloudEvent(f"{name} is missing")
    if given["specversion"] != "1.0":
        raise NotACloudEvent("specversion must be 1.0")
    time = given.get("time")
    if time is not None and not isinstance(time, str):
        raise NotACloudEvent("time must be a moment of RFC 3339")
    return CloudEvent(
        id=given["id"],
        source=given["source"],
        type=given["type"],
        datacontenttype=given.get("datacontenttype"),
        dataschema=given.get("dataschema"),
        subject=given.get("subject"),
        time=parse_time(time) if time is not None else None,
        extensions=_json_extensions(members),
        data=_json_data(given),
    )


def _json_extensions(members: Mapping[str, object]) -> Mapping[str, AttributeValue]:
    extensions: dict[str, AttributeValue] = {}
    for name, value in members.items():
        if name in _CORE or name in _DATA:
            continue
        _check_name(name)
        if isinstance(value, bool | int | str):
            extensions[name] = value
        elif value is not None:
            raise NotACloudEvent(f"{name} must be a boolean, an integer or a string")
    return MappingProxyType(extensions)


def _json_data(given: Mapping[str, object]) -> Data | None:
    if all(name in given for name in _DATA):
        raise NotACloudEvent("data and data_base64 exclude each other")
    encoded, data = given.get("data_base64"), given.get("data")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise NotACloudEvent("data_base64 must be a string")
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise NotACloudEvent("data_base64 must be base64") from None
    if data is None:
        return None
    content_type = given.get("datacontenttype")
    is_text = isinstance(content_type, str) and not is_json(content_type)
    return data if isinstance(data, str) and is_text else Json(data)


def _loads(text: bytes) -> object:
    try:
        loaded: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotACloudEvent("it must be JSON") from None
    return loaded


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _CORE or name in _DATA:
        raise NotACloudEvent("names of extensions are lower-case letters and digits")


def _check_extension(name: str, value: AttributeValue) -> None:
    _check_name(name)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT32:
        raise NotACloudEvent(f"{name} must be an integer of 32 bits")
    if isinstance(value, str) and _NO_TEXT.search(value):
        raise NotACloudEvent(f"{name} holds characters that no text has")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise NotACloudEvent(f"{name} must have an offset")


def _is_uri(text: str) -> bool:
    return bool(_URI_REFERENCE.fullmatch(text) and _URI_SCHEME.match(text))
