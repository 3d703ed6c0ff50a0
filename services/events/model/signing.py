"""Signatures after Standard Webhooks 1.0: HMAC-SHA256 (`v1`) and ed25519 (`v1a`).

What is signed is `{id}.{timestamp}.{body}`. While keys rotate a request carries one signature for each key that still
counts, so that a receiver may change over when it likes.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # says what follows, and is none
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
SIGNATURE = "webhook-signature"
# The specification asks for 24 to 64 bytes.
_SECRET_BYTES = 32
_SEED_BYTES = 32


class SigningKeyInvalid(ValueError):
    """A signing key that is neither `whsec_…` nor `whsk_…`, or whose base64 is damaged; it is never shown."""

    def __init__(self) -> None:
        super().__init__("not a signing key of Standard Webhooks")


def new_secret() -> str:
    """A secret for HMAC, `whsec_…`, of 256 random bits."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def new_private_key() -> str:
    """A private key for ed25519, `whsk_…`: the seed of RFC 8032."""
    return PRIVATE_PREFIX + base64.b64encode(os.urandom(_SEED_BYTES)).decode()


def public_key(private_key: str) -> str:
    """The key that receivers verify with, `whpk_…`. Raises SigningKeyInvalid."""
    return PUBLIC_PREFIX + base64.b64encode(_ed25519(private_key).public_key().public_bytes_raw()).decode()


def signature(key: str, message_id: str, at: datetime, body: bytes) -> str:
    """One signature, `v1,…` or `v1a,…` as the key says, of an attempt made `at` this time. Raises SigningKeyInvalid."""
    if "." in message_id:
        # It would let the parts of what is signed be read in two ways.
        raise ValueError("a message id holds no full stop")
    if key.startswith(SECRET_PREFIX):
        # The library takes whatever time it is given for UTC.
        return Webhook(_decoded(key, SECRET_PREFIX)).sign(message_id, at.astimezone(UTC), body.decode())
    signed = _ed25519(key).sign(b"%s.%d." % (message_id.encode(), int(at.timestamp())) + body)
    return f"v1a,{base64.b64encode(signed).decode()}"


def headers(keys: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of an attempt, with one signature for each key, in their order. Raises SigningKeyInvalid."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        SIGNATURE: " ".join(signature(key, message_id, at, body) for key in keys),
    }


def _ed25519(key: str) -> Ed25519PrivateKey:
    seed = _decoded(key, PRIVATE_PREFIX)
    if len(seed) != _SEED_BYTES:
        raise SigningKeyInvalid
    return Ed25519PrivateKey.from_private_bytes(seed)


def _decoded(key: str, prefix: str) -> bytes:
    try:
        decoded = base64.b64decode(key.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raise SigningKeyInvalid from None
    if not key.startswith(prefix) or not decoded:
        raise SigningKeyInvalid
    return decoded
