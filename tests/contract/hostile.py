"""Values that nobody means well with, for each kind of field, and what must become of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from interceptors.policy import MethodPolicy
from plinth.options.v1 import text_pb2
from tests.contract.fields import Leaf, behaviors

UUID = "01992f00-0000-7000-8000-000000000000"
# Longer than any field may be, and well below what one message may hold.
TOO_LONG = 100_000
TOO_MANY = 10_000

# Postgres cannot store the first; the others break lines, terminals and logs.
CONTROL = {
    "NUL": "\x00",
    "NUL inside": "a\x00b",
    "BEL": "be\x07ll",
    "newline": "two\nlines",
    "escape": "\x1b[31mred",
    "DEL": "\x7f",
    "C1": "next\x85line",
}
# Allowed in some fields and not in others: nowhere may they break anything.
ODD = {
    "right to left": "\u202eresu\u202c",
    "combining": "e" + "\u0301" * 50,
    "beyond the BMP": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🏳️‍🌈",
    "noncharacter": "\uffff\ufdd0",
    "private use": "\ue000",
    "only spaces": "   ",
    "dotless i": "ıİſ",
    "SQL": "'; drop table users; --",
    "LIKE": "%_\\",
    "template": "${jndi:x} {{7*7}} %(x)s {0}",
    "format": "%s%n%x",
    "path": "../../etc/passwd",
}
BAD_NAMES = {
    "no name": "x",
    "another number": "workspaces/1",
    "upper case": f"workspaces/{UUID.upper()}",
    "braces": f"workspaces/{{{UUID}}}",
    "too deep": f"workspaces/{UUID}/members/{UUID}/roles/{UUID}/more/{UUID}",
    "a slash behind": f"workspaces/{UUID}/",
    "a newline behind": f"workspaces/{UUID}\n",
    "a space before": f" workspaces/{UUID}",
    "another collection": f"nothings/{UUID}",
    "a wildcard": "workspaces/-",
    "up and out": f"workspaces/{UUID}/../{UUID}",
    "escaped": f"workspaces%2F{UUID}",
}
BAD_EMAILS = {"no at": "nobody", "two ats": "a@b@c", "no domain": "a@", "a space": "a b@example.com", "<>": "<a@b.c>"}
BAD_UUIDS = {"no uuid": "not-a-uuid", "short": UUID[:-1], "long": UUID + "0"}
BAD_TOKENS = {
    "a word": "next",
    "base64 of nothing of ours": "AAAAAAAAAAAAAAAAAAAAAAAA",
    "no base64": "ab_-c",
    "one letter": "A",
    "signs": "!!!",
    "padding": "====",
    "a number": "2",
}
_ENOUGH = (
    "too long",
    "NUL",
    "combining",
    "name: no name",
    "after year 9999",
    "negative nanos",
    "enum 9999",
    "negative",
)


@dataclass(frozen=True)
class Hostile:
    """A value for one field. `refused`: it must be INVALID_ARGUMENT; else it may also be meant, and succeed."""

    what: str
    value: Any  # of the field's type
    refused: bool


def hostile_values(policy: MethodPolicy, leaf: Leaf) -> Iterator[Hostile]:
    """What to try on a field of a method's request."""
    # What the server alone sets is ignored in a request, unless it breaks a rule.
    minded = not leaf.output_only
    match leaf.kind:
        case "string":
            # An update without a mask leaves alone what is not set (AIP-134).
            optional = policy.method.startswith("Update") and len(leaf.path) > 1
            values = _texts(leaf, minded, absent_refused=leaf.required and not optional)
        case "enum":
            values = (Hostile(f"enum {number}", number, True) for number in (9999, -1, 2**31 - 1))
        case "int":
            values = _numbers(leaf, minded)
        case "bytes":
            values = _bytes(policy, leaf, minded)
        case "map":
            values = _maps(leaf, minded)
        case "google.api.HttpBody":
            values = _bodies()
        case "google.protobuf.Timestamp":
            values = _moments(minded)
        case "google.protobuf.FieldMask":
            values = _masks()
        case _:
            return
    if leaf.output_only:
        # A value that is passed over is passed over like the next: a few say it all.
        values = (one for one in values if one.what in _ENOUGH)
    if not leaf.is_list:
        yield from values
        return
    for one in values:
        yield Hostile(f"an item: {one.what}", [one.value], one.refused)
    items = [f"many.items{n}" for n in range(TOO_MANY)] if leaf.kind == "string" else [1] * TOO_MANY
    yield Hostile("too many items", items, minded)


def _texts(leaf: Leaf, minded: bool, *, absent_refused: bool) -> Iterator[Hostile]:
    rules = leaf.rules.string
    # An etag is compared with the true one and with nothing else: any other text is stale.
    opaque = leaf.field.name == "etag"
    yield Hostile("too long", "x" * TOO_LONG, minded)
    yield Hostile("too long, of four bytes each", "𝔵" * (TOO_LONG // 4), minded)
    # A name and a UUID have one form, which all of these lack alike: a few say it all, and the bad names below.
    exact = bool(leaf.resource) or rules.uuid
    for what, text in CONTROL.items():
        if exact and what not in _ENOUGH:
            continue
        # A text that may have several lines says so in its rule.
        lines = rules.Extensions[text_pb2.lines] or rules.Extensions[text_pb2.pasted]
        several_lines = what == "newline" and lines
        yield Hostile(what, text, minded and not opaque and not several_lines)
    for what, text in ODD.items():
        if exact and what not in _ENOUGH:
            continue
        yield Hostile(what, text, False)
    if rules.Extensions[text_pb2.title]:
        yield Hostile("nothing to be seen", "\u200b\u3164", minded)
    if leaf.resource:
        for what, text in BAD_NAMES.items():
            yield Hostile(f"name: {what}", text, minded)
    if rules.email:
        for what, text in BAD_EMAILS.items():
            yield Hostile(f"email: {what}", text, minded)
    if rules.uuid:
        for what, text in BAD_UUIDS.items():
            yield Hostile(f"uuid: {what}", text, minded)
    if leaf.field.name == "page_token":
        for what, text in BAD_TOKENS.items():
            yield Hostile(f"page token: {what}", text, True)
    if not leaf.is_list:
        yield Hostile("absent", "", minded and absent_refused)
    if rules.min_len > 1:
        yield Hostile("too short", "x" * (rules.min_len - 1), minded)


def _numbers(leaf: Leaf, minded: bool) -> Iterator[Hostile]:
    wide = leaf.field.type in (leaf.field.TYPE_INT64, leaf.field.TYPE_SINT64, leaf.field.TYPE_SFIXED64)
    largest = 2**63 - 1 if wide else 2**31 - 1
    # Nothing that our requests count is ever negative.
    yield Hostile("negative", -1, minded)
    yield Hostile("the least", -largest - 1, minded)
    yield Hostile("the greatest", largest, False)


def _bytes(policy: MethodPolicy, leaf: Leaf, minded: bool) -> Iterator[Hostile]:
    longest = leaf.rules.bytes.max_len
    # What is larger than the whole request may be is not read as far as the field.
    if longest < policy.max_request_bytes:
        yield Hostile("too long", b"x" * (longest + 1), minded)
    yield Hostile("absent", b"", False)
    yield Hostile("no text", b"\x00\xff\xfe\x80", False)


def _maps(leaf: Leaf, minded: bool) -> Iterator[Hostile]:
    for what, text in CONTROL.items():
        yield Hostile(f"a key: {what}", {text: "words"}, minded)
        yield Hostile(f"a value: {what}", {"key": text}, minded)
    yield Hostile("odd keys", dict.fromkeys(ODD.values(), "words"), False)
    yield Hostile("odd values", {f"key{n}": text for n, text in enumerate(ODD.values())}, False)
    yield Hostile("no key", {"": "words"}, minded)
    yield Hostile("a key that is too long", {"x" * TOO_LONG: "words"}, minded)
    yield Hostile("a value that is too long", {"key": "x" * TOO_LONG}, minded)
    yield Hostile("too many pairs", {f"key{n}": "words" for n in range(TOO_MANY)}, minded)


def _bodies() -> Iterator[Hostile]:
    """Of a raw body only the bytes count, whatever they are said to be."""
    yield Hostile("no bytes", HttpBody(content_type="text/plain"), False)
    yield Hostile("no text", HttpBody(content_type="text/plain", data=b"\x00\xff\xfe\x80"), False)
    unknown = AnyMessage(type_url="type.googleapis.com/no.such.Message", value=b"\xff")
    odd_type = "".join((*CONTROL.values(), *ODD.values(), "x" * TOO_LONG))
    yield Hostile("no such type", HttpBody(content_type=odd_type, data=b"Words.", extensions=[unknown]), False)


def _moments(minded: bool) -> Iterator[Hostile]:
    yield Hostile("before year 1", Timestamp(seconds=-62135596801), minded)
    yield Hostile("after year 9999", Timestamp(seconds=253402300800), minded)
    yield Hostile("the end of time", Timestamp(seconds=2**63 - 1), minded)
    yield Hostile("negative nanos", Timestamp(seconds=1, nanos=-1), minded)
    yield Hostile("too many nanos", Timestamp(seconds=1, nanos=2_000_000_000), minded)
    yield Hostile("the last moment", Timestamp(seconds=253402300799, nanos=999_999_999), False)
    yield Hostile("year 1", Timestamp(seconds=-62135596800), False)
    yield Hostile("long ago", Timestamp(seconds=0), False)


def _masks() -> Iterator[Hostile]:
    for path in ("no_such_field", "name", "create_time", "", ".", "a,b", "\x00", "x" * TOO_LONG):
        yield Hostile(f"path {path[:20]!r}", FieldMask(paths=[path]), True)
    # protovalidate lets a path below a listed one pass; it changes nothing.
    yield Hostile("a path below a field", FieldMask(paths=["display_name.deeper"]), False)
    yield Hostile("too many paths", FieldMask(paths=["display_name"] * TOO_MANY), False)


def is_bounded(leaf: Leaf) -> bool:
    """Whether the contract bounds a text, bytes, or a map of texts."""
    if leaf.kind == "bytes":
        return bool(leaf.rules.bytes.max_len)
    if leaf.kind == "map":
        rules = leaf.rules.map
        return bool(rules.max_pairs) and _bounds(rules.keys.string) and _bounds(rules.values.string)
    return _bounds(leaf.rules.string)


def _bounds(rules: validate_pb2.StringRules) -> bool:
    """By a length, as a UUID or an address, or as a name."""
    return bool(rules.max_len or rules.len or rules.uuid or rules.email or rules.pattern)


def is_identifier(leaf: Leaf) -> bool:
    """Whether the field is the name of the resource it stands in."""
    return field_behavior_pb2.IDENTIFIER in behaviors(leaf.field)
