"""Who calls: access tokens, API keys and service tokens, and what is none of them."""

import base64
import hashlib
import hmac
import time
from datetime import datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc import StatusCode

from interceptors.service_token import ServiceTokens
from services.kernel.caller import Caller, current_caller
from services.kernel.feed import UserSessionsRevoked
from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE
from services.kernel.secrets import Keyring, MasterKey
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.world import KID, bearer, note_of, soon

LONG_AGO, FAR_OFF = 1_000_000_000, 4_000_000_000


def _get_self(rig: SyncRig, metadata: list[tuple[str, str]]) -> Caller:
    """Who the service sees."""
    seen: list[Caller] = []

    def remember(request: Any, context: Any) -> Any:
        del request, context
        seen.append(current_caller())
        return pb.Answer()

    rig.servicer.unary = remember
    rig.stub.GetSelf(pb.Ask(), metadata=metadata, timeout=TIMEOUT)
    return seen[0]


def _refused_with(rig: SyncRig, token: str) -> None:
    with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        rig.stub.GetSelf(pb.Ask(), metadata=bearer(token), timeout=TIMEOUT)


class TestAccessToken:
    def test_says_who_and_in_which_session(self, rig: SyncRig) -> None:
        person = rig.world.person()
        caller = _get_self(rig, person.metadata)
        assert (caller.user_id, caller.session_id) == (person.user_id, person.session_id)
        assert (caller.service, caller.api_key_id, caller.operator) == (None, None, False)
        assert caller.source == "127.0.0.1"

    def test_the_schemes_name_may_be_written_anyhow(self, rig: SyncRig) -> None:
        person = rig.world.person()
        for scheme in ("bearer", "Bearer", "BEARER"):
            assert _get_self(rig, [("authorization", f"{scheme} {person.token}")]).user_id == person.user_id

    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": LONG_AGO},
            {"exp": None},
            {"iat": None},
            {"aud": "another"},
            {"aud": "plinth-mesh"},
            {"aud": None},
            {"iss": "another"},
            {"iss": None},
            {"sub": None},
            {"sub": "no uuid"},
            {"sub": "service:tenancy"},
            {"sid": None},
            {"sid": "no uuid"},
            {"sid": 7},
            {"iat": FAR_OFF},
            {"nbf": FAR_OFF},
        ],
        ids=str,
    )
    def test_with_a_claim_that_is_not_right_is_refused(self, rig: SyncRig, claims: dict[str, Any]) -> None:
        person = rig.world.person()
        ours = {"sub": str(person.user_id), "sid": str(person.session_id)}
        _refused_with(rig, rig.world.token(**(ours | claims)))

    def test_signed_by_anyone_else_is_refused(self, rig: SyncRig) -> None:
        person = rig.world.person()
        claims: dict[str, Any] = {"sub": str(person.user_id), "sid": str(person.session_id)}
        public = rig.world.signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        forged = [
            rig.world.token(key=ec.generate_private_key(ec.SECP256R1()), **claims),
            rig.world.token(key=b"k" * 32, algorithm="HS256", **claims),
            rig.world.token(kid="unknown", **claims),
            rig.world.token(kid=rig.tokens._kid, **claims),
            jwt.encode({"iss": "plinth", "aud": "plinth"} | claims, "", algorithm="none", headers={"kid": KID}),
            # The public key as the secret of an HMAC: what the header says is not what decides.
            _hs256_with(public, person.token),
        ]
        for token in forged:
            _refused_with(rig, token)

    @pytest.mark.parametrize(
        "token",
        [
            "x",
            "a.b.c",
            "....",
            "x" * 5000,
            "plk_",
            base64.urlsafe_b64encode(b'{"alg":"ES256","kid":' + b"[" * 1500 + b"}").decode() + ".e30.AAAA",
            base64.urlsafe_b64encode(b'{"alg":"ES256","kid":{}}').decode() + ".e30.AAAA",
            base64.urlsafe_b64encode(b"[]").decode() + ".e30.AAAA",
        ],
        ids=lambda token: token[:8],
    )
    def test_what_is_no_token_is_refused_as_such(self, rig: SyncRig, token: str) -> None:
        _refused_with(rig, token)

    @pytest.mark.parametrize(
        "metadata",
        [[("authorization", "Basic dXNlcjpwYXNz")], [("authorization", "Bearer")], [("x-api-key", "not-one-of-ours")]],
    )
    def test_of_another_scheme_is_refused(self, rig: SyncRig, metadata: list[tuple[str, str]]) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            rig.stub.GetSelf(pb.Ask(), metadata=metadata, timeout=TIMEOUT)

    def test_one_that_was_good_is_refused_once_it_has_expired(
        self, rig: SyncRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = rig.world.person()
        _get_self(rig, person.metadata)
        late = time.time() + 601
        monkeypatch.setattr(time, "time", lambda: late)
        _refused_with(rig, person.token)


def _hs256_with(secret: bytes, token: str) -> str:
    """The same claims under an HMAC, which PyJWT would refuse to make with a public key."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"user-key-1"}').rstrip(b"=")
    body = token.split(".")[1].encode()
    signature = base64.urlsafe_b64encode(hmac.digest(secret, header + b"." + body, hashlib.sha256)).rstrip(b"=")
    return b".".join((header, body, signature)).decode()


class TestSession:
    def test_is_looked_up_once_while_nothing_changes(self, rig: SyncRig) -> None:
        person = rig.world.person()
        for _ in range(5):
            _get_self(rig, person.metadata)
        assert rig.world.sessions.asked == {(person.session_id,): 1}

    def test_that_ended_is_felt_at_the_next_call(self, rig: SyncRig) -> None:
        person = rig.world.person()
        _get_self(rig, person.metadata)
        rig.world.sign_out(person)
        _refused_with(rig, person.token)

    def test_of_a_user_whose_sessions_all_ended_is_felt_at_the_next_call(self, rig: SyncRig) -> None:
        person = rig.world.person()
        _get_self(rig, person.metadata)
        rig.world.sign_out(person, tell=False)
        rig.hub.publish(UserSessionsRevoked(person.user_id))
        _refused_with(rig, person.token)

    def test_that_was_prolonged_is_not_refused_on_what_was_known_of_it(
        self, rig: SyncRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = rig.world.person(expires=soon(60))
        _get_self(rig, person.metadata)
        rig.world.prolong(person, soon(3600))
        later = soon(120)

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return later.astimezone(tz)

        monkeypatch.setattr("interceptors.auth.datetime", Later)
        assert _get_self(rig, person.metadata).user_id == person.user_id

    def test_that_has_run_out_is_refused(self, rig: SyncRig) -> None:
        _refused_with(rig, rig.world.person(expires=soon(-1)).token)

    def test_of_somebody_else_is_refused(self, rig: SyncRig) -> None:
        person, other = rig.world.person(), rig.world.person()
        _refused_with(rig, rig.world.token(sub=str(other.user_id), sid=str(person.session_id)))


class TestApiKey:
    def test_acts_for_its_creator_in_its_workspace(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member("notes.read")
        secret = rig.world.api_key(workspace, creator, "notes.read")
        ask = pb.AskOfNote(name=note_of(workspace))
        for metadata in (bearer(secret), [("x-api-key", secret)]):
            rig.stub.GetNote(ask, metadata=metadata, timeout=TIMEOUT)
        assert {line["principal"].partition("/apiKeys/")[0] for line in rig.log} == {
            WORKSPACE.format(workspace=workspace)
        }

    def test_may_do_what_both_itself_and_its_creator_may_now(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member("notes.read", "notes.write")
        ask = pb.AskOfNote(name=note_of(workspace))
        writer = rig.world.api_key(workspace, creator, "notes.write")
        reader = rig.world.api_key(workspace, creator, "notes.read")
        with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            rig.stub.GetNote(ask, metadata=bearer(writer), timeout=TIMEOUT)
        rig.stub.GetNote(ask, metadata=bearer(reader), timeout=TIMEOUT)
        rig.world.grant(workspace, creator, "notes.write")
        with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            rig.stub.GetNote(ask, metadata=bearer(reader), timeout=TIMEOUT)

    def test_knows_no_other_workspace_not_even_its_creators(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member("notes.read")
        other = new_id()
        rig.world.grant(other, creator, "notes.read")
        secret = rig.world.api_key(workspace, creator, "notes.read")
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            rig.stub.GetNote(pb.AskOfNote(name=note_of(other)), metadata=bearer(secret), timeout=TIMEOUT)

    def test_is_not_a_person(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member()
        secret = rig.world.api_key(workspace, creator)
        with refused(StatusCode.PERMISSION_DENIED, "SESSION_REQUIRED"):
            rig.stub.GetSelf(pb.Ask(), metadata=bearer(secret), timeout=TIMEOUT)

    def test_that_was_revoked_is_felt_at_the_next_call(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member("notes.read")
        secret = rig.world.api_key(workspace, creator, "notes.read")
        ask = pb.AskOfNote(name=note_of(workspace))
        rig.stub.GetNote(ask, metadata=bearer(secret), timeout=TIMEOUT)
        rig.world.revoke_key(secret)
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            rig.stub.GetNote(ask, metadata=bearer(secret), timeout=TIMEOUT)

    def test_that_has_run_out_is_refused(self, rig: SyncRig) -> None:
        workspace, creator = rig.world.member("notes.read")
        secret = rig.world.api_key(workspace, creator, "notes.read", expires=soon(-1))
        _refused_with(rig, secret)


class TestServiceToken:
    def test_lets_the_listed_services_call_an_internal_method(self, rig: SyncRig) -> None:
        rig.stub.Tell(pb.Ask(), metadata=bearer(rig.tokens.issue("tenancy")), timeout=TIMEOUT)
        with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            rig.stub.Tell(pb.Ask(), metadata=bearer(rig.tokens.issue("identity")), timeout=TIMEOUT)

    def test_of_any_service_opens_what_is_for_all_of_them(self, rig: SyncRig) -> None:
        rig.stub.TellAll(pb.Ask(), metadata=bearer(rig.tokens.issue("billing")), timeout=TIMEOUT)

    def test_opens_no_method_for_people(self, rig: SyncRig) -> None:
        workspace, _ = rig.world.member("notes.read")
        metadata = bearer(rig.tokens.issue("tenancy"))
        for call, ask in (
            (rig.stub.GetSelf, pb.Ask()),
            (rig.stub.Operate, pb.Ask()),
            (rig.stub.GetNote, pb.AskOfNote(name=note_of(workspace))),
            (rig.stub.Visit, pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace))),
        ):
            with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
                call(ask, metadata=metadata, timeout=TIMEOUT)

    def test_no_person_and_no_key_opens_an_internal_method(self, rig: SyncRig) -> None:
        workspace, member = rig.world.member()
        operator = rig.world.person(operator=True)
        key = rig.world.api_key(workspace, member)
        for token in (member.token, operator.token, key):
            for call in (rig.stub.Tell, rig.stub.TellAll):
                with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
                    call(pb.Ask(), metadata=bearer(token), timeout=TIMEOUT)
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            rig.stub.Tell(pb.Ask(), timeout=TIMEOUT)

    def test_of_another_mesh_or_audience_is_refused(self, rig: SyncRig) -> None:
        other = ServiceTokens(Keyring([MasterKey("test", b"o" * 32)]))
        _refused_with(rig, other.issue("tenancy"))
        ours, kid = rig.tokens._signing_key, rig.tokens._kid
        now = int(time.time())
        good = {"iss": None, "aud": "plinth-mesh", "sub": "service:tenancy", "sid": None}
        for wrong in ({"aud": "plinth"}, {"sub": str(new_id())}, {"exp": now - 1}, {"exp": None}, {"aud": None}):
            _refused_with(rig, rig.world.token(key=ours, kid=kid, **(good | wrong)))

    def test_of_before_a_rotation_of_the_master_key_still_opens(self, rig: SyncRig) -> None:
        old, new = MasterKey("test", bytes(range(32))), MasterKey("new", b"n" * 32)
        rotated = ServiceTokens(Keyring([new, old]))
        token = rig.tokens.issue("tenancy")
        assert rotated.verify(token, jwt.get_unverified_header(token)["kid"])[0] == "tenancy"

    def test_is_kept_until_shortly_before_it_expires(self, rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
        first = rig.tokens.issue("tenancy")
        assert rig.tokens.issue("tenancy") == first
        later = time.time() + 245
        monkeypatch.setattr(time, "time", lambda: later)
        assert rig.tokens.issue("tenancy") != first

    def test_one_that_was_good_is_refused_once_it_has_expired(
        self, rig: SyncRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metadata = bearer(rig.tokens.issue("tenancy"))
        rig.stub.Tell(pb.Ask(), metadata=metadata, timeout=TIMEOUT)
        late = time.time() + 301
        monkeypatch.setattr(time, "time", lambda: late)
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            rig.stub.Tell(pb.Ask(), metadata=metadata, timeout=TIMEOUT)
