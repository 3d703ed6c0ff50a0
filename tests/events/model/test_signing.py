"""Signatures as Standard Webhooks states them, checked with its vectors and its library."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.events.model.signing import (
    SigningKeyInvalid,
    headers,
    new_private_key,
    new_secret,
    public_key,
    signature,
)

MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'


class TestVectors:
    def test_hmac(self) -> None:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        assert signature(secret, MESSAGE, AT, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_ed25519(self) -> None:
        key = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
        assert signature(key, MESSAGE, AT, BODY) == (
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
        )

    def test_the_time_is_the_same_moment_in_any_zone(self) -> None:
        secret = new_secret()
        elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
        assert signature(secret, MESSAGE, elsewhere, BODY) == signature(secret, MESSAGE, AT, BODY)


class TestHeaders:
    @given(st.text(), st.integers(1, 4))
    def test_the_receivers_library_accepts_any_of_the_secrets(self, text: str, count: int) -> None:
        secrets, now = [new_secret() for _ in range(count)], datetime.now(UTC)
        body = text.encode("utf-8", "replace")
        sent = headers(secrets, "0199", now, body)
        for secret in secrets:
            Webhook(secret).verify(body, sent, json_parse=False)

    def test_the_receivers_library_refuses_another_secret_and_another_body(self) -> None:
        secret, now = new_secret(), datetime.now(UTC)
        sent = headers([secret], "0199", now, BODY)
        with pytest.raises(WebhookVerificationError):
            Webhook(new_secret()).verify(BODY, sent)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY + b" ", sent)

    def test_while_keys_rotate_every_key_signs_in_order(self) -> None:
        keys = [new_secret(), new_private_key(), new_secret()]
        sent = headers(keys, "0199", AT, BODY)
        assert sent["webhook-signature"].split(" ") == [signature(key, "0199", AT, BODY) for key in keys]
        assert (sent["webhook-id"], sent["webhook-timestamp"]) == ("0199", "1614265330")

    def test_the_public_key_verifies_what_the_private_key_signed(self) -> None:
        private = new_private_key()
        public = public_key(private)
        assert public.startswith("whpk_")
        verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
        version, _, signed = signature(private, MESSAGE, AT, BODY).partition(",")
        assert version == "v1a"
        verifier.verify(base64.b64decode(signed), b"%s.1614265330.%s" % (MESSAGE.encode(), BODY))
        with pytest.raises(InvalidSignature):
            verifier.verify(base64.b64decode(signed), b"%s.1614265331.%s" % (MESSAGE.encode(), BODY))


class TestKeys:
    def test_a_secret_is_as_long_as_the_specification_asks(self) -> None:
        assert 24 <= len(base64.b64decode(new_secret().removeprefix("whsec_"))) <= 64
        assert new_secret() != new_secret()

    @pytest.mark.parametrize("key", ["", "whsec_", "whsec_é", "whsk_AAAA", "whpk_AAAA", "secret", "whsec_A"])
    def test_what_is_no_key_is_refused_and_not_shown(self, key: str) -> None:
        with pytest.raises(SigningKeyInvalid) as caught:
            signature(key, MESSAGE, AT, BODY)
        assert "A" not in str(caught.value)

    def test_an_id_that_could_shift_what_is_signed_is_refused(self) -> None:
        with pytest.raises(ValueError, match="full stop"):
            signature(new_secret(), "a.1", AT, BODY)
