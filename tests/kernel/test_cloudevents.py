"""CloudEvents 1.0: what is valid and what is not, and that each form comes back as it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from plinth.tenancy.v1 import events_pb2
from services.kernel import cloudevents_protobuf as protobuf
from services.kernel.clock import format_time
from services.kernel.cloudevents import (
    AttributeValue,
    CloudEvent,
    Data,
    Json,
    NotACloudEvent,
    decode_json,
    decode_json_batch,
    encode_json,
    encode_json_batch,
    event_of,
    json_form,
    parse_time,
    protobuf_form,
)
from services.kernel.events import Event
from services.kernel.ids import new_id

LEAST = {"specversion": "1.0", "id": "a-1", "source": "/sensors/7", "type": "com.example.read"}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _event(**changes: object) -> CloudEvent:
    return decode_json(orjson.dumps(LEAST | changes))


class TestValid:
    def test_the_least_that_an_event_can_be(self) -> None:
        assert _event() == CloudEvent("a-1", "/sensors/7", "com.example.read")

    def test_optional_attributes_that_are_null_are_not_there(self) -> None:
        nothing = dict.fromkeys(["datacontenttype", "dataschema", "subject", "time", "data", "data_base64", "myext"])
        assert _event(**nothing) == _event()

    def test_every_attribute_of_the_core(self) -> None:
        event = _event(
            datacontenttype="text/plain; charset=utf-8",
            dataschema="https://example.com/s",
            subject="s",
            time="2026-03-01T12:00:00Z",
        )
        assert (event.datacontenttype, event.dataschema) == ("text/plain; charset=utf-8", "https://example.com/s")
        assert (event.subject, event.time) == ("s", NOON)

    @pytest.mark.parametrize("source", ["https://example.com", "/a/b", "#fragment", "urn:x:1", "a%20b", "mailto:a@b.c"])
    def test_a_source_is_a_uri_reference(self, source: str) -> None:
        assert _event(source=source).source == source

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-03-01T12:00:00Z", NOON),
            ("2026-03-01t12:00:00z", NOON),
            ("2026-03-01T12:00:00.000000000Z", NOON),
            ("2026-03-01T13:30:00+01:30", NOON),
            ("2026-03-01T04:00:00-08:00", NOON),
            ("2026-03-01T12:00:00-00:00", NOON),
            ("2026-03-01T12:00:00.1234567Z", NOON + timedelta(microseconds=123456)),
            ("2026-12-31T23:59:60Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_times_of_rfc_3339(self, text: str, moment: datetime) -> None:
        assert _event(time=text).time == parse_time(text) == moment

    @pytest.mark.parametrize("value", [True, False, 0, 2**31 - 1, -(2**31), "text", "", "TWE=", "2026-03-01T12:00:00Z"])
    def test_extensions(self, value: object) -> None:
        assert _event(myext1=value).extensions == {"myext1": value}

    @pytest.mark.parametrize("media_type", ["text/plain", "application/vnd.a.b+json", 'a/b; q="x;y"', "a/b;c=d ; e=f"])
    def test_media_types(self, media_type: str) -> None:
        assert _event(datacontenttype=media_type).datacontenttype == media_type

    @pytest.mark.parametrize(
        ("content_type", "data", "read"),
        [
            (None, {"a": 1}, Json({"a": 1})),
            (None, "text", Json("text")),
            (None, False, Json(False)),
            ("application/json", "text", Json("text")),
            ("application/vnd.x+json; v=1", [1], Json([1])),
            ("text/plain", "text", "text"),
            ("text/xml", "<a/>", "<a/>"),
            ("text/xml", {"a": 1}, Json({"a": 1})),
        ],
    )
    def test_data(self, content_type: str | None, data: object, read: Data) -> None:
        assert _event(datacontenttype=content_type, data=data).data == read

    def test_binary_data(self) -> None:
        assert _event(data_base64="AP8=").data == b"\x00\xff"


class TestInvalid:
    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
    @pytest.mark.parametrize("value", [None, "", 25, {"a": "b"}, ["a"], True])
    def test_what_is_required_is_a_string_that_is_not_empty(self, name: str, value: object) -> None:
        with pytest.raises(NotACloudEvent, match=name):
            _event(**{name: value})

    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
    def test_what_is_required_is_there(self, name: str) -> None:
        members = {key: value for key, value in LEAST.items() if key != name}
        with pytest.raises(NotACloudEvent, match=name):
            decode_json(orjson.dumps(members))

    @pytest.mark.parametrize("version", ["0.3", "0.9", "1", "1.1", 1.0])
    def test_other_versions(self, version: object) -> None:
        with pytest.raises(NotACloudEvent):
            _event(specversion=version)

    @pytest.mark.parametrize("name", ["datacontenttype", "dataschema", "subject", "time"])
    @pytest.mark.parametrize("value", ["", 1, {}])
    def test_what_is_optional_is_not_empty_when_it_is_there(self, name: str, value: object) -> None:
        with pytest.raises(NotACloudEvent, match=name):
            _event(**{name: value})

    @pytest.mark.parametrize(
        "text",
        [
            "noon",
            "2026-03-01",
            "2026-03-01T12:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00X",
            "2026-03-01T12:00:00+05",
            "2026-03-01T12:00:00+0500",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00+05:60",
            "2026-03-01T12:00:00+aa:00",
            "2026-03-01T24:00:00Z",
            "2026-02-30T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:61Z",
            "٢٠٢٦-03-01T12:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+12:00",
        ],
    )
    def test_times_that_rfc_3339_does_not_know(self, text: str) -> None:
        with pytest.raises(NotACloudEvent, match="time"):
            _event(time=text)

    @pytest.mark.parametrize("name", ["MyExt", "my.ext", "my_ext", "my-ext", "my ext", "ä", ""])
    @pytest.mark.parametrize("value", ["x", None])
    def test_names_of_extensions(self, name: str, value: object) -> None:
        with pytest.raises(NotACloudEvent, match="names"):
            _event(**{name: value})

    @pytest.mark.parametrize("value", [1.5, 2**31, -(2**31) - 1, {"a": 1}, [1], "\x00", "a\x7f", "￾"])
    def test_values_of_extensions(self, value: object) -> None:
        with pytest.raises(NotACloudEvent, match="myext"):
            _event(myext=value)

    @pytest.mark.parametrize("source", ["a b", "<a>", "%zz", "ä"])
    def test_sources_that_are_no_uri_reference(self, source: str) -> None:
        with pytest.raises(NotACloudEvent, match="source"):
            _event(source=source)

    @pytest.mark.parametrize("schema", ["/relative", "not a uri", "#x"])
    def test_schemas_that_are_no_uri(self, schema: str) -> None:
        with pytest.raises(NotACloudEvent, match="dataschema"):
            _event(dataschema=schema)

    @pytest.mark.parametrize("media_type", ["xyz", "a/", "/b", "a/b/c", "a b/c", "a/b;", "a/b; c"])
    def test_content_types_that_are_no_media_type(self, media_type: str) -> None:
        with pytest.raises(NotACloudEvent, match="datacontenttype"):
            _event(datacontenttype=media_type)

    @pytest.mark.parametrize("data", [{"data": "x", "data_base64": "eA=="}, {"data_base64": "?"}, {"data_base64": 1}])
    def test_data_that_cannot_be(self, data: dict[str, object]) -> None:
        with pytest.raises(NotACloudEvent, match="data"):
            _event(**data)

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"x"', b"1", b"null", b"\xff"])
    def test_what_is_no_object(self, text: bytes) -> None:
        with pytest.raises(NotACloudEvent):
            decode_json(text)

    def test_an_event_that_was_made_by_hand_is_checked_too(self) -> None:
        bad: list[dict[str, Any]] = [
            {"id": ""},
            {"time": NOON.replace(tzinfo=None)},
            {"extensions": {"id": "x"}},
            {"extensions": {"myext": NOON.replace(tzinfo=None)}},
            {"data": "text"},
            {"data": "text", "datacontenttype": "application/json"},
        ]
        for changes in bad:
            with pytest.raises(NotACloudEvent):
                CloudEvent(**{"id": "1", "source": "s", "type": "t"} | changes)


class TestBatch:
    def test_of_none_of_one_and_of_the_same_twice(self) -> None:
        for events in ([], [_event()], [_event(), _event(), _event(subject="s")]):
            assert decode_json_batch(encode_json_batch(events)) == events
            assert protobuf.decode_protobuf_batch(protobuf.encode_protobuf_batch(events)) == events

    @pytest.mark.parametrize(
        "batch",
        [LEAST, "x", [LEAST, "not an object"], [LEAST, LEAST | {"specversion": "0.3"}], [{"specversion": "1.0"}], [[]]],
    )
    def test_one_that_is_not_valid_spoils_it(self, batch: object) -> None:
        with pytest.raises(NotACloudEvent):
            decode_json_batch(orjson.dumps(batch))


_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: (
        name not in ("specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time", "data")
    )
)
_MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone(timedelta(hours=1))))  # noqa: DTZ001
_SCALARS: st.SearchStrategy[AttributeValue] = st.booleans() | st.integers(-(2**31), 2**31 - 1) | _TEXT
_JSON_DATA = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | _TEXT, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner)
).map(Json)


@st.composite
def _events(draw: st.DrawFn, extensions: st.SearchStrategy[AttributeValue]) -> CloudEvent:
    content_type, data = draw(
        st.tuples(st.just("text/plain"), st.none() | _TEXT)
        | st.tuples(st.none() | st.just("application/json"), st.none() | _JSON_DATA)
        | st.tuples(st.just("image/png"), st.binary())
    )
    return CloudEvent(
        id=draw(_TEXT.filter(bool)),
        source=draw(st.sampled_from(["/a", "https://example.com/x", "urn:uuid:1"])),
        type=draw(_TEXT.filter(bool)),
        datacontenttype=content_type,
        dataschema=draw(st.none() | st.just("https://example.com/schema")),
        subject=draw(st.none() | _TEXT.filter(bool)),
        time=draw(st.none() | _MOMENTS),
        extensions=draw(st.dictionaries(_NAMES, extensions, max_size=4)),
        data=data,
    )


class TestForms:
    @given(_events(_SCALARS))
    def test_an_event_comes_back_out_of_json(self, event: CloudEvent) -> None:
        assert decode_json(encode_json(event)) == event

    @given(_events(_SCALARS | st.binary() | _MOMENTS))
    def test_an_event_comes_back_out_of_protobuf(self, event: CloudEvent) -> None:
        assert protobuf.decode_protobuf(protobuf.encode_protobuf(event)) == event

    def test_what_json_has_no_type_for_is_text_there(self) -> None:
        event = CloudEvent("1", "s", "t", extensions={"bin": b"Ma", "moment": NOON})
        assert decode_json(encode_json(event)).extensions == {"bin": "TWE=", "moment": "2026-03-01T12:00:00Z"}

    @given(_MOMENTS)
    def test_a_moment_comes_back(self, moment: datetime) -> None:
        assert parse_time(format_time(moment)) == moment


class TestProtobuf:
    """Against the messages of the specification's own cloudevents.proto, byte for byte."""

    WIRE = b"\x0a\x03a-1\x12\x0a/sensors/7\x1a\x031.0\x22\x10com.example.read"

    def test_the_least_that_an_event_can_be(self) -> None:
        assert protobuf.encode_protobuf(_event()) == self.WIRE
        assert protobuf.decode_protobuf(self.WIRE) == _event()

    def test_each_kind_of_attribute_has_its_field(self) -> None:
        for number, value in ((1, True), (2, 7), (3, "x"), (4, b"x")):
            encoded = protobuf.encode_protobuf(CloudEvent("1", "s", "t", extensions={"e": value}))
            assert bytes([number << 3 | (2 if isinstance(value, str | bytes) else 0)]) in encoded
            assert protobuf.decode_protobuf(encoded).extensions == {"e": value}

    @pytest.mark.parametrize("change", ["spec_version", "id", "source", "type"])
    def test_what_is_required_is_there(self, change: str) -> None:
        message = protobuf.EventMessage.FromString(self.WIRE)
        message.ClearField(change)
        with pytest.raises(NotACloudEvent):
            protobuf.decode_protobuf(message.SerializeToString())

    def test_attributes_of_the_wrong_kind_or_of_none_are_refused(self) -> None:
        for name, field, value in (
            ("time", "ce_integer", 1),
            ("subject", "ce_boolean", True),
            ("time", "ce_string", "x"),
        ):
            message = protobuf.EventMessage.FromString(self.WIRE)
            setattr(message.attributes[name], field, value)
            with pytest.raises(NotACloudEvent):
                protobuf.decode_protobuf(message.SerializeToString())
        message = protobuf.EventMessage.FromString(self.WIRE)
        message.attributes["empty"].SetInParent()
        with pytest.raises(NotACloudEvent):
            protobuf.decode_protobuf(message.SerializeToString())

    def test_a_moment_out_of_bounds_is_refused(self) -> None:
        message = protobuf.EventMessage.FromString(self.WIRE)
        message.attributes["time"].ce_timestamp.seconds = 2**60
        with pytest.raises(NotACloudEvent):
            protobuf.decode_protobuf(message.SerializeToString())

    def test_text_that_should_be_json_and_is_not_is_refused(self) -> None:
        message = protobuf.EventMessage.FromString(self.WIRE)
        message.text_data = "{"
        with pytest.raises(NotACloudEvent):
            protobuf.decode_protobuf(message.SerializeToString())

    @pytest.mark.parametrize("encoded", [b"\xff", b"{}", b"\x0a\x05ab"])
    def test_what_is_no_message_is_refused(self, encoded: bytes) -> None:
        for decode in (protobuf.decode_protobuf, protobuf.decode_protobuf_batch):
            with pytest.raises(NotACloudEvent):
                decode(encoded)


class TestOurs:
    EVENT = Event(
        position=42,
        id=new_id(),
        workspace_id=new_id(),
        type="plinth.tenancy.workspace.created.v1",
        source="//plinth/tenancy",
        subject="workspaces/1",
        time=NOON,
        data_schema="plinth.tenancy.v1.WorkspaceCreated",
        data=events_pb2.WorkspaceCreated(display_name="Acme").SerializeToString(),
        actor="users/1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )

    def test_as_json(self) -> None:
        assert orjson.loads(encode_json(json_form(self.EVENT))) == {
            "specversion": "1.0",
            "id": str(self.EVENT.id),
            "source": "//plinth/tenancy",
            "type": "plinth.tenancy.workspace.created.v1",
            "datacontenttype": "application/json",
            "dataschema": "urn:protobuf:plinth.tenancy.v1.WorkspaceCreated",
            "subject": "workspaces/1",
            "time": "2026-03-01T12:00:00Z",
            "sequence": "0000000000000000042",
            "workspaceid": str(self.EVENT.workspace_id),
            "actor": "users/1",
            "traceparent": self.EVENT.traceparent,
            "data": {"displayName": "Acme"},
        }

    def test_as_protobuf_it_holds_the_message_itself(self) -> None:
        form = protobuf.decode_protobuf(protobuf.encode_protobuf(protobuf_form(self.EVENT)))
        assert isinstance(form.data, AnyMessage)
        message = events_pb2.WorkspaceCreated()
        assert form.data.Unpack(message)
        assert message.display_name == "Acme"

    def test_comes_back_out_of_each_form(self) -> None:
        nobodys = Event(1, new_id(), None, "t", "//plinth/x", "s", NOON, self.EVENT.data_schema, b"", "", "")
        for event in (self.EVENT, nobodys, replace(self.EVENT, restricted=True)):
            assert event_of(decode_json(encode_json(json_form(event)))) == event
            assert event_of(decode_json(encode_json(protobuf_form(event)))) == event
            assert event_of(protobuf.decode_protobuf(protobuf.encode_protobuf(protobuf_form(event)))) == event

    @pytest.mark.parametrize("changes", [{}, {"sequence": "x"}, {"sequence": "1", "id": "no uuid"}])
    def test_somebody_elses_is_none_of_ours(self, changes: dict[str, object]) -> None:
        with pytest.raises(NotACloudEvent):
            event_of(_event(**changes))
