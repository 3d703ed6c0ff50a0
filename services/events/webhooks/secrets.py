"""The signing secrets of webhook endpoints: made here, sealed by the keyring, shown once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.events.model.endpoints import Secret, SignatureScheme, WebhookEndpoint, secret_context
from services.events.model.signing import new_private_key, new_secret, public_key
from services.kernel.ids import new_id
from services.kernel.secrets import Keyring


@dataclass(frozen=True, slots=True, repr=False)
class MadeSecret:
    """A new secret, and what its owner is shown: `whsec_…`, or nothing for ed25519, whose public key tells all."""

    secret: Secret
    shown: str


class Secrets:
    """Makes and opens signing secrets."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def make(self, endpoint: WebhookEndpoint, now: datetime) -> MadeSecret:
        """A new current secret for the endpoint."""
        secret_id: UUID = new_id()
        if endpoint.signature_scheme is SignatureScheme.ED25519:
            key = new_private_key()
            verifying, shown = public_key(key), ""
        else:
            key = new_secret()
            verifying, shown = "", key
        sealed = self._keyring.encrypt(key.encode(), context=secret_context(secret_id))
        secret = Secret(endpoint.workspace_id, endpoint.endpoint_id, secret_id, sealed, verifying, now)
        return MadeSecret(secret, shown)

    def keys(self, secrets: Iterable[Secret]) -> list[str]:
        """The keys to sign with, `whsec_…` or `whsk_…`, in the order given. Raises DecryptionError."""
        return [self._keyring.decrypt(secret.sealed, context=secret.context).decode() for secret in secrets]
