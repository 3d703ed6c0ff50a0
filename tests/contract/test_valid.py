"""Every method answers a valid request: else the refusals that the other tests see would say nothing."""

import pytest

from interceptors.policy import MethodPolicy
from tests.contract.calls import METHODS, name_of
from tests.contract.requests import Contract

# A field that no message has. A client of a later contract may call an earlier server, which passes it over.
LATER = b"\xfa\x3e\x04late"


@pytest.mark.parametrize("policy", METHODS, ids=name_of)
def test_a_valid_request_is_answered_whatever_a_later_contract_adds_to_it(
    policy: MethodPolicy, contract: Contract
) -> None:
    call = contract.prepare(policy)
    outcome = contract.client.call(policy, call.request.SerializeToString() + LATER, call.credentials)
    assert outcome.answered, outcome.refusal
