"""Webhook endpoints and their secrets."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.events.errors import WebhookEndpointDisabled
from services.events.model.health import Health, HealthState
from services.events.model.names import ENDPOINT
from services.kernel.errors import FieldsInvalid, FieldViolation

MAX_ENDPOINTS = 50
# Former secrets that still sign; each costs a signature a delivery, and headers have an end.
MAX_FORMER_SECRETS = 4
# Of the 16 calls that a workspace may have under way: who hangs is left with one of them after its first timeout.
MAX_CALLS = 4
MAX_CALLS_WHILE_FAILING = 1
DEFAULT_OVERLAP = timedelta(hours=24)
DEFAULT_MAX_PER_SECOND = 20
DEFAULT_RETENTION_DAYS = 30


class SignatureScheme(StrEnum):
    """How the deliveries to an endpoint are signed, after Standard Webhooks."""

    HMAC_SHA256 = "hmac_sha256"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where the events of a workspace are sent. `types` as filters read them.

    `health` is how it does; `next_send_time` what its rate limit keeps; `busy_until` has, for each call under way, when
    it counts no more although nobody has told its end. Deliveries change them without a new version.
    """

    workspace_id: UUID
    endpoint_id: UUID
    url: str
    description: str
    types: tuple[str, ...]
    signature_scheme: SignatureScheme
    max_per_second: int
    payload_retention_days: int
    creator_id: UUID | None
    health: Health
    last_success_time: datetime | None
    last_failure_time: datetime | None
    next_send_time: datetime | None
    busy_until: tuple[datetime, ...]
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return ENDPOINT.format(workspace=self.workspace_id, webhook_endpoint=self.endpoint_id)

    def require_enabled(self) -> None:
        """Let pass only an endpoint that is sent something. Raises WebhookEndpointDisabled."""
        if self.health.disabled:
            raise WebhookEndpointDisabled(self.name)

    def busy(self, now: datetime) -> bool:
        """Whether as many calls are under way as it may have."""
        limit = MAX_CALLS if self.health.state is HealthState.ACTIVE else MAX_CALLS_WHILE_FAILING
        return sum(until > now for until in self.busy_until) >= limit

    def calling(self, now: datetime, until: datetime) -> Self:
        """With one more call under way, and without those that nobody has told the end of."""
        return replace(self, busy_until=(*(one for one in self.busy_until if one > now), until))

    def called(self, until: datetime) -> Self:
        """After the end of the call that was to count until then."""
        calls = list(self.busy_until)
        if until in calls:
            calls.remove(until)
        return replace(self, busy_until=tuple(calls))

    def changed(self, patch: "EndpointPatch", now: datetime) -> Self:
        """The endpoint after the patch; the same one when nothing differs. Raises FieldsInvalid."""
        if patch.signature_scheme not in (None, self.signature_scheme):
            raise FieldsInvalid(FieldViolation("webhook_endpoint.signature_scheme", "cannot be changed"))
        rate, days = patch.max_per_second, patch.payload_retention_days
        url = self.url if patch.url is None else patch.url
        after = replace(
            self,
            url=url,
            # Of another receiver no failures are known.
            health=self.health if url == self.url or self.health.disabled else Health(),
            description=self.description if patch.description is None else patch.description,
            types=self.types if patch.types is None else patch.types,
            max_per_second=self.max_per_second if rate is None else rate or DEFAULT_MAX_PER_SECOND,
            payload_retention_days=self.payload_retention_days if days is None else days or DEFAULT_RETENTION_DAYS,
        )
        return self if after == self else after.next_version(now)

    def with_health(self, health: Health, now: datetime) -> Self:
        """The endpoint with a health that somebody set; the same one when it is so already."""
        return self if health == self.health else replace(self, health=health).next_version(now)

    def next_version(self, now: datetime) -> Self:
        """The endpoint, changed now."""
        return replace(self, version=self.version + 1, update_time=now)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What people set of a new endpoint. Zero stands for the default."""

    url: str
    description: str
    types: tuple[str, ...]
    signature_scheme: SignatureScheme
    max_per_second: int
    payload_retention_days: int

    def endpoint(
        self, workspace_id: UUID, endpoint_id: UUID, creator_id: UUID | None, now: datetime
    ) -> WebhookEndpoint:
        """The new endpoint, enabled."""
        return WebhookEndpoint(
            workspace_id=workspace_id,
            endpoint_id=endpoint_id,
            url=self.url,
            description=self.description,
            types=self.types,
            signature_scheme=self.signature_scheme,
            max_per_second=self.max_per_second or DEFAULT_MAX_PER_SECOND,
            payload_retention_days=self.payload_retention_days or DEFAULT_RETENTION_DAYS,
            creator_id=creator_id,
            health=Health(),
            last_success_time=None,
            last_failure_time=None,
            next_send_time=None,
            busy_until=(),
            version=1,
            create_time=now,
            update_time=now,
        )


@dataclass(frozen=True, slots=True)
class EndpointPatch:
    """New values of an endpoint; None leaves as it is, and zero stands for the default.

    A signature scheme cannot be changed, only told again.
    """

    url: str | None = None
    description: str | None = None
    types: tuple[str, ...] | None = None
    signature_scheme: SignatureScheme | None = None
    max_per_second: int | None = None
    payload_retention_days: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A key that signs the deliveries to an endpoint, sealed. Without `expire_time` it is the current one.

    `public_key` is what verifies it, `whpk_…`; empty for HMAC.
    """

    workspace_id: UUID
    endpoint_id: UUID
    secret_id: UUID
    sealed: bytes
    public_key: str
    create_time: datetime
    expire_time: datetime | None = None

    @property
    def context(self) -> str:
        """What it is sealed for."""
        return secret_context(self.secret_id)


def secret_context(secret_id: UUID) -> str:
    """What the secret of this id is sealed for."""
    return f"events.webhook_secrets/{secret_id}"


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint as the API shows it: with the secrets that sign now, the current one first."""

    endpoint: WebhookEndpoint
    secrets: tuple[Secret, ...]

    @property
    def rotation_end_time(self) -> datetime | None:
        """Until when a former secret signs as well; None when there is none."""
        return max((secret.expire_time for secret in self.secrets if secret.expire_time), default=None)
