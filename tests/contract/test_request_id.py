"""A request_id makes a repeat harmless (AIP-155): one effect, one answer, and no other payload under the same id."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest

from interceptors.policy import Access, MethodPolicy
from tests.contract.calls import METHODS, name_of, those
from tests.contract.factories import ENDS_ACCESS
from tests.contract.fields import Leaf, leaves
from tests.contract.requests import Contract, Prepared
from tests.contract.rows import Rows

IDEMPOTENT = those(lambda policy: policy.has_request_id)
REPEATABLE = [policy for policy in IDEMPOTENT if policy.request_class not in ENDS_ACCESS]
# What repeats by nature, or is repeated with an etag, needs no request_id.
_STANDARD = ("Get", "List", "Update", "Delete", "Remove", "Revoke", "Watch", "Export", "Test", "Explain", "Batch")
# The same part at the same offset changes nothing.
_BY_OFFSET = "plinth.documents.v1.DocumentService.AppendUpload"


def _changeable(policy: MethodPolicy) -> Leaf | None:
    """A field by which the payload can differ while the call is still about the same workspace."""
    named = [name.path for name in policy.names]
    for leaf in leaves(policy):
        if leaf.kind not in ("string", "bool") or leaf.output_only or leaf.field.is_repeated:
            continue
        # Of names, one inside the workspace.
        if leaf.field.name != "request_id" and (leaf.path not in named or leaf.resource.count("*") > 1):
            return leaf
    return None


def _prepared(policy: MethodPolicy, contract: Contract) -> Prepared:
    call = contract.prepare(policy)
    call.request.request_id = str(uuid4())
    return call


@pytest.mark.parametrize("policy", REPEATABLE, ids=name_of)
def test_four_times_at_once_and_once_more_has_one_effect_and_one_answer(
    policy: MethodPolicy, contract: Contract, rows: Rows
) -> None:
    call = _prepared(policy, contract)
    with ThreadPoolExecutor(4) as pool:
        outcomes = [future.result() for future in [pool.submit(contract.make, call) for _ in range(4)]]
    answers = [outcome.response for outcome in outcomes if outcome.answered]
    assert answers
    assert all(answer == answers[0] for answer in answers)
    # Who found the other still at work was told to come back.
    assert all(outcome.refusal.reason == "REQUEST_IN_PROGRESS" for outcome in outcomes if not outcome.answered)
    after = rows.of(call.scene)
    assert contract.make(call).response == answers[0]
    assert rows.of(call.scene) == after
    leaf = _changeable(policy)
    if leaf is not None:
        _refuses_another_payload(call, leaf, contract, rows)


def _refuses_another_payload(call: Prepared, leaf: Leaf, contract: Contract, rows: Rows) -> None:
    leaf.write(call.request, _another(leaf, call, contract))
    after = rows.of(call.scene)
    refusal = contract.make(call).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"), refusal
    assert refusal.fields == ["request_id"]
    assert rows.of(call.scene) == after


@pytest.mark.parametrize("policy", REPEATABLE, ids=name_of)
def test_an_id_is_ones_own(policy: MethodPolicy, contract: Contract) -> None:
    """Two tenants who happen on the same id do not meet."""
    first, second = contract.prepare(policy), contract.prepare(policy)
    first.request.request_id = second.request.request_id = str(uuid4())
    assert contract.make(first).answered
    assert contract.make(second).answered


@pytest.mark.parametrize("policy", IDEMPOTENT, ids=name_of)
def test_a_call_that_failed_may_be_made_again_under_the_same_id(policy: MethodPolicy, contract: Contract) -> None:
    """Only successes are kept: here the first try is refused for a field that breaks a rule."""
    call = _prepared(policy, contract)
    valid = call.request.SerializeToString()
    for leaf in leaves(policy):
        if leaf.kind == "string" and leaf.field.name != "request_id" and not leaf.field.is_repeated:
            leaf.write(call.request, "x" * 5000)
    if call.request.SerializeToString() != valid:
        assert contract.make(call).code is grpc.StatusCode.INVALID_ARGUMENT
    call.request.ParseFromString(valid)
    assert contract.make(call).answered


def test_every_create_and_every_verb_with_an_effect_takes_one() -> None:
    acting = those(
        lambda p: p.access in (Access.PERMISSION, Access.AUTHENTICATED) and not p.method.startswith(_STANDARD)
    )
    # A stream carries none: the same bytes under the same name change nothing.
    without = {p.full_name for p in acting if not (p.has_request_id or p.read_only or p.request_streaming)}
    assert without == {_BY_OFFSET}


def test_a_public_method_takes_none() -> None:
    """It has no principal whose id it could be."""
    assert not [policy for policy in METHODS if policy.has_request_id and policy.access is Access.PUBLIC]


def _another(leaf: Leaf, call: Prepared, contract: Contract) -> Any:
    if leaf.kind == "bool":
        return not leaf.read(call.request)
    return contract.other_value(leaf, call.request, call.scene)
