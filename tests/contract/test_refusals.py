"""Who may not call a method is refused, in the order that the design states, before anything is looked at."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from interceptors.policy import Access, MethodPolicy
from interceptors.service_token import ServiceTokens
from plinth.identity.v1 import auth_service_pb2
from services.kernel.secrets import Keyring
from services.wiring import Mesh
from tests.contract.calls import Metadata, bearer, in_workspace, name_of, those
from tests.contract.crowd import Crowd, signed
from tests.contract.factories import Scene, new_scene
from tests.contract.requests import Contract
from tests.contract.rows import Rows
from tests.support.people import Person

GUARDED = those(lambda policy: policy.access is not Access.PUBLIC)
DEMANDING = those(lambda policy: policy.access in (Access.PERMISSION, Access.INTERNAL, Access.OPERATOR))


def _changed(person: Person, **claims: object) -> dict[str, object]:
    """The claims of a person's token, with some changed."""
    return jwt.decode(person.access_token, options={"verify_signature": False}) | claims


def _kid(person: Person) -> str:
    return str(jwt.get_unverified_header(person.access_token)["kid"])


@pytest.fixture(scope="session")
def bad_credentials(contract: Contract, mesh: Mesh, home: Scene) -> dict[str, Metadata]:
    """Everything that looks like a token and is none of ours, or no longer."""
    person, gone = contract.people.new(), contract.people.new()
    gone.stubs.auth.SignOut(auth_service_pb2.SignOutRequest())
    foreign, kid, claims = ec.generate_private_key(ec.SECP256R1()), _kid(person), _changed(person)
    header, payload, signature = person.access_token.split(".")
    strangers = ServiceTokens(Keyring.parse("other:" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="))
    past = int((datetime.now(UTC) - timedelta(seconds=5)).timestamp())
    return {
        "garbage": bearer("garbage"),
        "nothing": (("authorization", "Bearer "),),
        "another scheme": (("authorization", "Basic dXNlcjpwYXNzd29yZA=="),),
        "several words": bearer("a b c"),
        "a long one": bearer("x" * 6000),
        "signed by a stranger, under our kid": bearer(jwt.encode(claims, foreign, "ES256", {"kid": kid})),
        "signed by a stranger": bearer(jwt.encode(claims, foreign, "ES256", {"kid": "theirs"})),
        "signed by nobody": bearer(jwt.encode(claims, "", "none", {"kid": kid})),
        "signed with our kid for a secret": bearer(jwt.encode(claims, kid * 2, "HS256", {"kid": kid})),
        "changed": bearer(f"{header}.{payload[:-4]}AAAA.{signature}"),
        "cut off": bearer(f"{header}.{payload}."),
        "expired": bearer(signed(mesh, _changed(person, iat=past - 600, exp=past))),
        "for somebody else": bearer(signed(mesh, _changed(person, aud="theirs"))),
        "of somebody else": bearer(signed(mesh, _changed(person, iss="theirs"))),
        "of no session": bearer(signed(mesh, _changed(person, sid=str(uuid4())))),
        "of another's session": bearer(signed(mesh, _changed(person, sub=str(gone.user_id)))),
        "without an end": bearer(signed(mesh, {k: v for k, v in claims.items() if k != "exp"})),
        "signed out": bearer(gone.access_token),
        "of a stranger's service": bearer(strangers.issue("tenancy")),
        "an unknown API key": bearer("plk_unknown"),
        "a token as an API key": (("x-api-key", person.access_token),),
        "a revoked API key": bearer(Crowd(home).revoked_key()),
    }


@pytest.fixture(scope="session")
def crowd(contract: Contract) -> Crowd:
    """A workspace with people and keys that may do everything but one thing."""
    return Crowd(new_scene(contract.people))


@pytest.mark.parametrize("policy", GUARDED, ids=name_of)
def test_nobody_is_let_in_without_credentials(policy: MethodPolicy, contract: Contract) -> None:
    refusal = contract.client.call(policy, policy.request_class()).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"), refusal


@pytest.mark.parametrize("policy", GUARDED, ids=name_of)
def test_nobody_is_let_in_with_bad_credentials(
    policy: MethodPolicy, contract: Contract, bad_credentials: dict[str, Metadata]
) -> None:
    call = contract.unmade(policy)
    for what, credentials in bad_credentials.items():
        refusal = contract.client.call(policy, call.request, credentials).refusal
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"), (what, refusal)


@pytest.mark.parametrize("policy", DEMANDING, ids=name_of)
def test_who_lacks_the_right_is_refused(policy: MethodPolicy, contract: Contract, crowd: Crowd, rows: Rows) -> None:
    """A member without the permission, a key without it, a user at the doors of services and operators."""
    without = crowd.without(policy)
    call = contract.prepare(policy, crowd.scene, complete=False)
    before = rows.of(crowd.scene)
    for what, credentials in without.items():
        refusal = contract.client.call(policy, call.request, credentials).refusal
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "PERMISSION_DENIED" if policy.permission else "METHOD_DENIED",
        ), (what, refusal)
        if policy.permission:
            assert refusal.metadata == {"permission": policy.permission}
    assert rows.of(crowd.scene) == before


@pytest.mark.parametrize(
    "policy", those(lambda policy: bool(policy.permission) and policy.names[0].patterns[0].count("*") > 1), ids=name_of
)
def test_who_lacks_the_right_does_not_learn_what_exists(policy: MethodPolicy, contract: Contract, crowd: Crowd) -> None:
    """The same refusal for a thing that there is and for one that there is not, whatever else the request says."""
    [name] = policy.names
    request = policy.request_class()
    inside = re.sub(r"\*", lambda _: str(uuid4()), name.patterns[0].removeprefix("workspaces/*"))
    holder = request if len(name.path) == 1 else getattr(request, name.path[0])
    setattr(holder, name.path[-1], f"{crowd.scene.workspace}{inside}")
    for credentials in crowd.without(policy).values():
        refusal = contract.client.call(policy, request, credentials).refusal
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"), refusal


@pytest.mark.parametrize(
    "policy", those(lambda policy: policy.access is Access.INTERNAL and "*" not in policy.callers), ids=name_of
)
def test_a_service_that_is_not_listed_is_refused(policy: MethodPolicy, contract: Contract) -> None:
    call = contract.unmade(policy)
    refusal = contract.client.call(policy, call.request, contract.service_credentials("billing")).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED"), refusal


@pytest.mark.parametrize(
    "policy", those(lambda p: p.access in (Access.PERMISSION, Access.AUTHENTICATED, Access.OPERATOR)), ids=name_of
)
def test_a_service_is_no_user(policy: MethodPolicy, contract: Contract) -> None:
    call = contract.unmade(policy)
    refusal = contract.client.call(policy, call.request, contract.service_credentials("tenancy")).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED"), refusal


@pytest.mark.parametrize(
    "policy", those(lambda p: p.access is Access.AUTHENTICATED and not in_workspace(p)), ids=name_of
)
def test_an_api_key_is_no_person(policy: MethodPolicy, contract: Contract, stranger_key: str) -> None:
    call = contract.unmade(policy)
    refusal = contract.client.call(policy, call.request, bearer(stranger_key)).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SESSION_REQUIRED"), refusal


@pytest.mark.parametrize("policy", those(lambda policy: bool(policy.names)), ids=name_of)
def test_a_name_that_does_not_parse_is_refused_first(policy: MethodPolicy, contract: Contract) -> None:
    """Also to who has no right anywhere: a malformed name is about no workspace."""
    nobody = contract.credentials(policy, contract.someone)
    refusal = contract.client.call(policy, policy.request_class(), nobody).refusal
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"), refusal
    assert refusal.fields == [policy.names[0].field]
