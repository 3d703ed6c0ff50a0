"""Malformed and hostile requests of every method: refused with the field's name, and never a fault of ours."""

from typing import Any

import grpc
import pytest

from interceptors.policy import MethodPolicy
from tests.contract.calls import METHODS, Outcome, name_of
from tests.contract.fields import Leaf, leaves
from tests.contract.hostile import hostile_values
from tests.contract.requests import Contract

# What a deliberate refusal may say. Anything else would be a fault of ours.
DELIBERATE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
FIELDS = [(policy, leaf) for policy in METHODS for leaf in leaves(policy)]
# No field 31 is this long; a tag that ends in the middle; a tag of a wire type that there is not.
GARBAGE = {
    "length": b"\xfa\x01\xff\xff\xff\xff\x07",
    "tag": b"\xff\xff\xff\xff",
    "wire type": b"\x0f",
    "truncated": b"\x0a\x05abc",
}


def _id(value: Any) -> str:
    return value.name if isinstance(value, Leaf) else name_of(value)


def _names(outcome: Outcome, leaf: Leaf) -> bool:
    """Whether a violation names the field, a part of it, or a message around it (where a rule spans fields)."""
    around = [".".join(leaf.path[:depth]) for depth in range(1, len(leaf.path))]
    fields = [field.split("[")[0] for field in outcome.refusal.fields]
    parts = f"{leaf.name}."
    return any(
        field == leaf.name or field.startswith(parts) or field.endswith(leaf.path[-1]) or field in around
        for field in fields
    )


@pytest.mark.parametrize(("policy", "leaf"), FIELDS, ids=_id)
def test_no_value_of_a_field_breaks_anything(policy: MethodPolicy, leaf: Leaf, contract: Contract) -> None:
    call = contract.unmade(policy) if policy.read_only else contract.prepare(policy)
    valid = call.request.SerializeToString()
    for hostile in hostile_values(policy, leaf):
        call.request.ParseFromString(valid)
        leaf.write(call.request, hostile.value)
        outcome = contract.make(call)
        assert outcome.code in DELIBERATE, (hostile.what, outcome.refusal)
        if hostile.refused:
            assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT, (hostile.what, outcome.refusal)
        if outcome.code is grpc.StatusCode.INVALID_ARGUMENT:
            assert _names(outcome, leaf), (hostile.what, outcome.refusal)
        if outcome.answered and not policy.read_only:
            # It was meant, and had its effect: go on with another one, where this one has left the workspace as it was.
            call = contract.prepare(policy, call.scene if policy.method.startswith(("Create", "Update")) else None)
            valid = call.request.SerializeToString()


@pytest.mark.parametrize("policy", METHODS, ids=name_of)
def test_bytes_that_are_no_message_are_refused(policy: MethodPolicy, contract: Contract) -> None:
    credentials = contract.credentials(policy, contract.someone)
    for what, garbage in GARBAGE.items():
        refusal = contract.client.call(policy, garbage, credentials).refusal
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"), (what, refusal)
