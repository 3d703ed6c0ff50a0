"""Every method answers a valid request: else the refusals that the other tests see would say nothing."""

import pytest

from interceptors.policy import MethodPolicy
from tests.contract.calls import METHODS, name_of
from tests.contract.requests import Contract


@pytest.mark.parametrize("policy", METHODS, ids=name_of)
def test_a_valid_request_is_answered(policy: MethodPolicy, contract: Contract) -> None:
    outcome = contract.make(contract.prepare(policy))
    assert outcome.answered, outcome.refusal
