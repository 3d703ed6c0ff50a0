"""What the contract says in words: every method tells its errors, every reason has an example, no secret is printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from interceptors.policy import MethodPolicy
from plinth.errors.v1 import error_reason_pb2
from tests.contract.calls import METHODS, POLICIES, name_of
from tests.contract.fields import leaves
from tests.contract.hostile import is_bounded
from tools import deps

WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
REASONS = {name.removeprefix("ERROR_REASON_") for name in dict(error_reason_pb2.ErrorReason.items())}
SECRET = re.compile(r"(^|_)(password|secret|token|code|key|assertion)$")
# A page token opens nothing.
NO_SECRET = ("page_token", "next_page_token")
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


def test_what_people_write_is_judged_in_words() -> None:
    """All but certain characters: that is a text of people's, and whom it is refused is told why in a sentence."""
    patterns = {
        leaf.field.full_name: leaf.rules.string.pattern
        for policy in METHODS
        for leaf in leaves(policy)
        if leaf.kind == "string"
    }
    assert {name for name, pattern in patterns.items() if "[^" in pattern} == set()


def test_every_text_in_a_request_is_bounded() -> None:
    unbounded = {
        leaf.field.full_name
        for policy in METHODS
        for leaf in leaves(policy)
        if leaf.kind in ("string", "bytes", "map") and not is_bounded(leaf)
    }
    assert unbounded == set()
