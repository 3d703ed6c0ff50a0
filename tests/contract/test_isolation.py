"""Another tenant's resources are not there: NOT_FOUND by whatever way they are named, and nothing changes."""

from uuid import uuid4

import grpc
import pytest

from interceptors.policy import Access, MethodPolicy
from tests.contract.calls import METHODS, bearer, in_workspace, name_of, those
from tests.contract.factories import Scene
from tests.contract.fields import Leaf, leaves
from tests.contract.requests import Contract
from tests.contract.rows import Rows

INSIDE = those(lambda policy: in_workspace(policy) and policy.access is not Access.INTERNAL)
WITHIN_COLLECTIONS = [policy for policy in INSIDE if policy.names[0].patterns[0].count("*") > 1]
PERSONAL = those(lambda policy: bool(policy.names) and not in_workspace(policy))
REFERENCES = [
    (policy, leaf)
    for policy in INSIDE
    for leaf in leaves(policy)
    if leaf.resource.startswith("workspaces/*/")
    and not leaf.output_only
    and leaf.path not in [name.path for name in policy.names]
    and leaf.field.name != "name"
]


def _id(value: object) -> str:
    return value.name if isinstance(value, Leaf) else name_of(value)


def _rename(policy: MethodPolicy, request: object, name: str) -> None:
    """Set the name that the method's path spells out."""
    [field] = policy.names
    holder = request
    for part in field.path[:-1]:
        holder = getattr(holder, part)
    setattr(holder, field.path[-1], name)


@pytest.mark.parametrize("policy", INSIDE, ids=name_of)
def test_another_tenants_name_is_not_found(
    policy: MethodPolicy, contract: Contract, home: Scene, stranger_key: str, rows: Rows
) -> None:
    call = contract.unmade(policy)
    before = rows.of(call.scene)
    strangers = {
        "an owner elsewhere": bearer(home.owner.access_token),
        "a key from elsewhere": bearer(stranger_key),
        "somebody without a workspace": bearer(contract.someone.access_token),
    }
    for who, credentials in strangers.items():
        refusal = contract.client.call(policy, call.request, credentials).refusal
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), (who, refusal)
    assert rows.of(call.scene) == before


@pytest.mark.parametrize("policy", INSIDE, ids=name_of)
def test_a_workspace_that_does_not_exist_is_refused_like_one_that_does(
    policy: MethodPolicy, contract: Contract, home: Scene
) -> None:
    call = contract.unmade(policy)
    stranger = bearer(home.owner.access_token)
    real = contract.client.call(policy, call.request, stranger).refusal
    name = policy.names[0].read(call.request)
    invented = f"workspaces/{uuid4()}" + name.removeprefix(call.scene.workspace)
    _rename(policy, call.request, invented)
    made_up = contract.client.call(policy, call.request, stranger).refusal
    assert (made_up.code, made_up.reason, made_up.message) == (real.code, real.reason, real.message)
    assert (real.metadata, made_up.metadata) == ({"resource": name}, {"resource": invented})


@pytest.mark.parametrize("policy", WITHIN_COLLECTIONS, ids=name_of)
def test_another_tenants_id_in_ones_own_workspace_is_not_found(
    policy: MethodPolicy, contract: Contract, home: Scene, rows: Rows
) -> None:
    call = contract.unmade(policy)
    theirs = policy.names[0].read(call.request)
    _rename(policy, call.request, home.workspace + theirs.removeprefix(call.scene.workspace))
    before = rows.of(call.scene, home)
    refusal = contract.client.call(policy, call.request, bearer(home.owner.access_token)).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), refusal
    assert rows.of(call.scene, home) == before


@pytest.mark.parametrize(("policy", "leaf"), REFERENCES, ids=_id)
def test_a_reference_to_another_tenants_resource_is_refused(
    policy: MethodPolicy, leaf: Leaf, contract: Contract, home: Scene, rows: Rows
) -> None:
    """As its own name has it, and with the caller's workspace before the other's id."""
    call = contract.unmade(policy)
    own = call.scene.workspace
    theirs = contract.value(leaf, call.request, home)
    before = rows.of(call.scene, home)
    for reference in (theirs, own + theirs.removeprefix(home.workspace)):
        leaf.write(call.request, reference)
        outcome = contract.make(call)
        if policy.read_only and outcome.answered:
            # A question may be answered, about one's own workspace: nobody of that id is here.
            assert home.workspace not in str(outcome.response)
            continue
        assert outcome.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT), outcome.refusal
    assert rows.of(call.scene, home) == before


@pytest.mark.parametrize("policy", PERSONAL, ids=name_of)
def test_what_belongs_to_another_person_is_not_found(
    policy: MethodPolicy, contract: Contract, home: Scene, rows: Rows
) -> None:
    call = contract.unmade(policy)
    before = rows.of(call.scene)
    refusal = contract.client.call(policy, call.request, bearer(home.owner.access_token)).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), refusal
    assert rows.of(call.scene) == before


def test_every_method_is_inside_a_workspace_or_a_persons_own_or_names_nothing() -> None:
    covered = {policy.path for policy in (*INSIDE, *PERSONAL)}
    assert {policy.path for policy in METHODS if policy.names} == covered
