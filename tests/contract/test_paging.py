"""Every list is paged alike (AIP-158): sizes are coerced, tokens are bound to their query and authorize nothing."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from interceptors.policy import MethodPolicy
from plinth.options.v1 import text_pb2
from services.kernel.paging import MAX_PAGE_SIZE
from tests.contract.calls import METHODS, Outcome, name_of
from tests.contract.factories import RESOURCES, new_scene
from tests.contract.fields import Leaf, has_field, leaves
from tests.contract.requests import Contract, Prepared
from tests.contract.rows import Rows
from tests.support.waiting import until

LISTS = [policy for policy in METHODS if has_field(policy, "page_token")]
_NOT_FILTERS = ("parent", "name", "page_size", "page_token")


def _filters(policy: MethodPolicy) -> list[Leaf]:
    return [leaf for leaf in leaves(policy) if leaf.field.name not in _NOT_FILTERS]


FILTERED = [(policy, leaf) for policy in LISTS for leaf in _filters(policy)]


def _id(value: object) -> str:
    return value.name if isinstance(value, Leaf) else name_of(value)


def _items(outcome: Outcome) -> list[Message]:
    """The repeated resources of a list's answer."""
    [field] = [field for field in outcome.response.DESCRIPTOR.fields if field.is_repeated]
    return list(getattr(outcome.response, field.name))


@pytest.fixture(scope="session")
def full(contract: Contract, rows: Rows) -> Mapping[str, Prepared]:
    """A call of each list, by path, that has at least two items to show: all of one workspace, where all is quiet."""
    scene = new_scene(contract.people)
    for make in RESOURCES.values():
        make(scene)
        make(scene)
    contract.people.workspace_of(scene.owner)
    calls = {policy.path: contract.prepare(policy, scene) for policy in LISTS}
    until(lambda: rows.all_told(scene), "all that happened is in the lists of what happened")
    return calls


@pytest.fixture
def call(policy: MethodPolicy, full: Mapping[str, Prepared]) -> Prepared:
    """The call of this list; its request is the test's to change."""
    return full[policy.path].copied()


def _token(call: Prepared, contract: Contract) -> str:
    """The token of the second page of pages of one."""
    call.request.page_size = 1
    outcome = contract.make(call)
    assert len(_items(outcome)) == 1
    assert outcome.response.next_page_token, "there is but one page: the factories should make more"
    return str(outcome.response.next_page_token)


@pytest.mark.parametrize("policy", LISTS, ids=name_of)
def test_pages_of_one_show_what_one_page_shows(call: Prepared, contract: Contract) -> None:
    call.request.page_size = MAX_PAGE_SIZE
    whole = _items(contract.make(call))
    call.request.page_size = 1
    shown: list[Message] = []
    while True:
        outcome = contract.make(call)
        shown += _items(outcome)
        call.request.page_token = outcome.response.next_page_token
        if not call.request.page_token:
            break
    assert shown == whole
    assert len(whole) > 1


@pytest.mark.parametrize("policy", LISTS, ids=name_of)
def test_a_size_above_the_most_is_coerced(call: Prepared, contract: Contract) -> None:
    call.request.page_size = MAX_PAGE_SIZE + 1
    assert contract.make(call).answered


@pytest.mark.parametrize("policy", LISTS, ids=name_of)
def test_a_token_is_good_for_its_own_list_alone(
    policy: MethodPolicy, call: Prepared, full: Mapping[str, Prepared], contract: Contract
) -> None:
    token = _token(call, contract)
    # The same list of another tenant, and other lists of this one.
    others = [contract.unmade(policy), *(other for path, other in full.items() if path != policy.path)]
    for other in others:
        asked = other.copied()
        asked.request.page_token = token
        _refused(contract.make(asked), other.policy.full_name)


@pytest.mark.parametrize(("policy", "leaf"), FILTERED, ids=_id)
def test_a_token_is_good_for_its_own_filter_alone(leaf: Leaf, call: Prepared, contract: Contract) -> None:
    call.request.page_token = _token(call, contract)
    leaf.write(call.request, _another(leaf, call.request))
    _refused(contract.make(call), leaf.name)


@pytest.mark.parametrize("policy", LISTS, ids=name_of)
def test_a_token_that_was_tampered_with_is_refused(call: Prepared, contract: Contract) -> None:
    token = _token(call, contract)
    for at in (0, len(token) // 2, len(token) - 2):
        call.request.page_token = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        _refused(contract.make(call), f"changed at {at}")


def _another(leaf: Leaf, request: Any) -> Any:
    """A valid value of a filter that is not set yet."""
    match leaf.kind:
        case "bool":
            return not leaf.read(request)
        case "enum" | "int":
            return 1
        case "google.protobuf.Timestamp":
            return Timestamp(seconds=1)
        case _:
            text = "users/x" if leaf.rules.string.Extensions[text_pb2.reference] else "a.b"
            text = str(uuid4()) if leaf.rules.string.uuid else text
            return [text] if leaf.field.is_repeated else text


def _refused(outcome: Outcome, what: str) -> None:
    refusal = outcome.refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"), (what, refusal)
    assert refusal.fields == ["page_token"], what
