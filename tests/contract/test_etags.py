"""A change is made to the version that was read, or not at all."""

import grpc
import pytest

from interceptors.policy import Access, MethodPolicy
from tests.contract.calls import METHODS, name_of, those
from tests.contract.requests import STALE_ETAG, Contract, etag_leaf
from tests.contract.rows import Rows

VERSIONED = [policy for policy in METHODS if etag_leaf(policy) is not None]
ANOTHER_VERSION = {
    "": (grpc.StatusCode.INVALID_ARGUMENT, "ETAG_REQUIRED"),
    STALE_ETAG: (grpc.StatusCode.ABORTED, "ETAG_MISMATCH"),
}


@pytest.mark.parametrize("policy", VERSIONED, ids=name_of)
def test_without_an_etag_or_with_a_stale_one_nothing_is_changed(
    policy: MethodPolicy, contract: Contract, rows: Rows
) -> None:
    call, leaf = contract.unmade(policy), etag_leaf(policy)
    assert leaf is not None
    assert leaf.read(call.request), "the valid request, which is answered, has an etag"
    before = rows.of(call.scene)
    for etag, refused in ANOTHER_VERSION.items():
        leaf.write(call.request, etag)
        refusal = contract.make(call).refusal
        assert (refusal.code, refusal.reason) == refused, (etag, refusal)
        assert set(refusal.metadata) == {"resource"}, (etag, refusal)
    assert rows.of(call.scene) == before


def test_every_update_transition_and_delete_takes_an_etag() -> None:
    changing = those(
        lambda p: p.method.startswith(("Update", "Delete", "Transition")) and p.access is not Access.INTERNAL
    )
    assert [policy.full_name for policy in changing if policy not in VERSIONED] == []
