"""What the contract says in words: every method tells its errors, every reason has an example, no secret is printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from buf.validate import validate_pb2
from interceptors.policy import MethodPolicy
from interceptors.validation import form_of
from plinth.errors.v1 import error_reason_pb2
from plinth.options.v1 import text_pb2
from tests.contract.calls import METHODS, POLICIES, name_of
from tests.contract.fields import leaves
from tests.contract.hostile import is_bounded
from tests.contract.requests import Contract
from tools import deps

WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
REASONS = {name.removeprefix("ERROR_REASON_") for name in dict(error_reason_pb2.ErrorReason.items())}
SECRET = re.compile(r"(^|_)(password|secret|token|code|key|assertion)$")
# A page token opens nothing.
NO_SECRET = ("page_token", "next_page_token")
FORM = re.compile(r"[A-Za-z]+(/([A-Za-z]+|\{([a-z]+\|)*uuid\}))+( or [A-Za-z/{}]+)?")
_SERVICE, _METHOD, _ENUM, _VALUE = 6, 2, 5, 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """Every file of ours, with its comments."""
    deps.gather()
    out = tmp_path_factory.mktemp("image") / "image.binpb"
    proto = deps.ROOT / "proto"
    ours = [str(path.relative_to(proto)) for path in sorted(proto.rglob("*.proto"))]
    roots = [f"--proto_path={root}" for root in (proto, deps.PROTO, WELL_KNOWN)]
    assert protoc.main(["protoc", *roots, "--include_source_info", f"--descriptor_set_out={out}", *ours]) == 0
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _comment(file: FileDescriptorProto, *path: int) -> str:
    found = [place.leading_comments for place in file.source_code_info.location if tuple(place.path) == path]
    return found[0].strip() if found else ""


@pytest.fixture(scope="module")
def comments(files: list[FileDescriptorProto]) -> dict[str, str]:
    """The comment of every method, by its full name."""
    return {
        f"{file.package}.{service.name}.{method.name}": _comment(file, _SERVICE, s, _METHOD, m)
        for file in files
        for s, service in enumerate(file.service)
        for m, method in enumerate(service.method)
    }


def test_every_method_of_the_contract_is_under_test(comments: dict[str, str]) -> None:
    assert set(comments) == {policy.full_name for policy in METHODS}


@pytest.mark.parametrize("policy", METHODS, ids=name_of)
def test_a_method_ends_its_comment_with_its_errors(policy: MethodPolicy, comments: dict[str, str]) -> None:
    *_, last = re.split(r"\n\s*\n", comments[policy.full_name])
    assert last.strip().startswith("Errors:")
    named = set(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", last))
    assert named <= REASONS
    assert named or "none of its own" in last


def test_every_reason_has_an_example(files: list[FileDescriptorProto]) -> None:
    [file] = [file for file in files if file.name == "plinth/errors/v1/error_reason.proto"]
    [reasons] = file.enum_type
    for number, value in enumerate(reasons.value):
        if value.number:
            assert "Example: " in " ".join(_comment(file, _ENUM, 0, _VALUE, number).split()), value.name


def test_a_permission_is_domain_dot_verb() -> None:
    assert [one for one in POLICIES.permissions if not re.fullmatch(r"[a-z]+\.[a-z]+", one)] == []


# The descriptor is Any: its class depends on the implementation of protobuf.
def _fields() -> Iterator[Any]:
    for policy in METHODS:
        for message in (policy.request_class, policy.response_class):
            yield from message.DESCRIPTOR.fields


def test_secrets_are_not_printed() -> None:
    """Whatever is called like a secret carries debug_redact, so that no log shows it."""
    bare = {
        field.full_name
        for field in _fields()
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING
        and SECRET.search(field.name)
        and field.name not in NO_SECRET
        and not field.GetOptions().debug_redact
    }
    assert bare == set()


def _text_rules() -> Iterator[validate_pb2.StringRules]:
    """The rules of every text that any message of a request holds: alone, in a list, as a map's key or value."""
    pending: list[Any] = [policy.request_class.DESCRIPTOR for policy in METHODS]
    seen: set[str] = set()
    while pending:
        message = pending.pop()
        if message.full_name in seen or not message.full_name.startswith("plinth."):
            continue
        seen.add(message.full_name)
        for field in message.fields:
            rules = field.GetOptions().Extensions[validate_pb2.field]
            texts = (rules, rules.repeated.items, rules.map.keys, rules.map.values)
            yield from (one.string for one in texts if one.HasField("string"))
            pending += [field.message_type] if field.message_type is not None else []


def test_a_pattern_is_that_of_a_resource_name_whose_form_can_be_told() -> None:
    patterns = {rules.pattern for rules in _text_rules() if rules.pattern}
    assert patterns
    assert {one for one in map(form_of, patterns) if not FORM.fullmatch(one)} == set()


def test_every_rule_of_ours_has_a_sentence() -> None:
    rules = [
        rule
        for extension in text_pb2.DESCRIPTOR.extensions_by_name.values()
        for rule in extension.GetOptions().Extensions[validate_pb2.predefined].cel
    ]
    assert rules
    assert [rule.id for rule in rules if not rule.message.startswith("must ")] == []


@pytest.mark.parametrize(
    ("method", "field", "value", "told"),
    [
        (
            "tenancy.v1.MemberService/UpdateMember",
            "member.role",
            "x",
            "must be a resource name of the form workspaces/{uuid}/roles/{owner|admin|member|viewer|uuid}",
        ),
        (
            "projects.v1.ActivityService/ListActivity",
            "parent",
            "x",
            "must be a resource name of the form workspaces/{uuid} or workspaces/{uuid}/projects/{uuid}",
        ),
        (
            "events.v1.EventService/ReplayEvents",
            "target",
            "x",
            "must be `workspaces/{uuid}/webhookEndpoints/{uuid}`, or a subscriber of Plinth, e.g. `projects.activity`",
        ),
        (
            "events.v1.EventService/ListEvents",
            "types",
            ["Task"],
            "must be a type of event, e.g. `task.created`, or of several, e.g. `task.*`",
        ),
        ("search.v1.SearchService/ExplainHit", "chunk", "x", "must be a valid UUID"),
        (
            "identity.v1.ApiKeyService/ListApiKeys",
            "page_token",
            "!",
            "must be as Plinth gave it: letters, digits, - and _",
        ),
        (
            "documents.v1.DocumentService/UpdateDocument",
            "document.metadata",
            {"Client": "ACME"},
            "must be lower-case letters, digits and _, and begin with a letter",
        ),
        (
            "identity.v1.UserService/UpdateMe",
            "user.display_name",
            "\u202eadA",
            "must be one line without control characters",
        ),
    ],
)
def test_what_is_wrong_is_told_in_words(method: str, field: str, value: object, told: str, contract: Contract) -> None:
    [policy] = [policy for policy in METHODS if policy.path == f"/plinth.{method}"]
    [leaf] = [leaf for leaf in leaves(policy) if leaf.name == field]
    call = contract.prepare(policy)
    leaf.write(call.request, value)
    assert contract.make(call).refusal.told == [told]


def test_every_text_in_a_request_is_bounded() -> None:
    unbounded = {
        leaf.field.full_name
        for policy in METHODS
        for leaf in leaves(policy)
        if leaf.kind in ("string", "bytes", "map") and not is_bounded(leaf)
    }
    assert unbounded == set()
