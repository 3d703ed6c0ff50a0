"""The keys of access tokens."""

from typing import Any

import jwt
import orjson
import pytest

from plinth.identity.v1 import auth_service_pb2 as auth
from services.identity.model.sessions import SignedIn
from services.kernel.config import Settings
from tests.identity.island import Island
from tests.support.people import People


def verified(island: Island, person: SignedIn) -> dict[str, Any]:
    """The claims of a token, checked with the published keys; time is not looked at."""
    keys = jwt.PyJWKSet.from_json(island.services.signing_keys.jwks().decode())
    key = keys[jwt.get_unverified_header(person.access_token)["kid"]]
    options: Any = {"verify_exp": False, "verify_iat": False}
    return dict(jwt.decode(person.access_token, key, algorithms=["ES256"], audience="plinth", options=options))


class TestTokens:
    def test_a_token_says_who_and_nothing_else(self, island: Island, settings: Settings) -> None:
        person = island.new()
        claims = verified(island, person)
        assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti"}
        assert (claims["iss"], claims["sub"], claims["sid"]) == ("plinth", str(person.user.id), str(person.session.id))
        assert claims["exp"] - claims["iat"] == settings.access_token_ttl.total_seconds()

    def test_a_token_is_verified_by_a_key_that_was_published_before_it_signed(self, island: Island) -> None:
        island.new()
        published = {key["kid"] for key in orjson.loads(island.services.signing_keys.jwks())["keys"]}
        island.later(days=30)
        person = island.new()
        assert jwt.get_unverified_header(person.access_token)["kid"] in published

    def test_a_token_outlives_the_rotation_of_its_key(self, island: Island) -> None:
        person = island.new()
        island.later(days=30)
        assert verified(island, person)["sub"] == str(person.user.id)
        assert jwt.get_unverified_header(island.new().access_token) != jwt.get_unverified_header(person.access_token)

    def test_a_retired_key_is_forgotten_in_the_end(self, island: Island) -> None:
        person = island.new()
        island.later(days=30)
        island.new()
        island.later(days=1)
        with pytest.raises(KeyError):
            verified(island, person)

    def test_no_private_key_lies_open(self, island: Island) -> None:
        island.new()
        rows = island.owner.execute("select private_key, public_jwk from identity.signing_keys").fetchall()
        assert len(rows) == 2
        for private_key, public_jwk in rows:
            assert not private_key.startswith(b"0"), "DER begins with a SEQUENCE, 0x30"
            assert set(orjson.loads(public_jwk)) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_the_keys_are_public(people: People) -> None:
    body = people.stubs.auth.GetJwks(auth.GetJwksRequest())
    assert body.content_type == "application/json"
    assert {key["alg"] for key in orjson.loads(body.data)["keys"]} == {"ES256"}
