"""A change is made to the version that was read, or not at all."""

import grpc
import pytest

from interceptors.policy import Access, MethodPolicy
from tests.contract.calls import METHODS, name_of, those
from tests.contract.requests import STALE_ETAG, Contract, etag_leaf
from tests.contract.rows import Rows

VERSIONED = [policy for policy in METHODS if etag_leaf(policy) is not None]


@pytest.mark.parametrize("policy", VERSIONED, ids=name_of)
def test_without_an_etag_nothing_is_changed(policy: MethodPolicy, contract: Contract, rows: Rows) -> None:
    _refuses(policy, "", grpc.StatusCode.INVALID_ARGUMENT, "ETAG_REQUIRED", contract, rows)


@pytest.mark.parametrize("policy", VERSIONED, ids=name_of)
def test_with_a_stale_etag_nothing_is_changed(policy: MethodPolicy, contract: Contract, rows: Rows) -> None:
    _refuses(policy, STALE_ETAG, grpc.StatusCode.ABORTED, "ETAG_MISMATCH", contract, rows)


@pytest.mark.parametrize(
    "policy",
    those(lambda p: p.method.startswith(("Update", "Delete", "Transition")) and p.access is not Access.INTERNAL),
    ids=name_of,
)
def test_every_update_transition_and_delete_takes_an_etag(policy: MethodPolicy) -> None:
    assert policy in VERSIONED


def _refuses(
    policy: MethodPolicy, etag: str, code: grpc.StatusCode, reason: str, contract: Contract, rows: Rows
) -> None:
    call, leaf = contract.prepare(policy), etag_leaf(policy)
    assert leaf is not None
    valid = leaf.read(call.request)
    assert valid
    leaf.write(call.request, etag)
    before = rows.of(call.scene)
    refusal = contract.make(call).refusal
    assert (refusal.code, refusal.reason) == (code, reason), refusal
    assert set(refusal.metadata) == {"resource"}
    assert rows.of(call.scene) == before
    # It was for its etag that the call was refused.
    leaf.write(call.request, valid)
    assert contract.make(call).answered
