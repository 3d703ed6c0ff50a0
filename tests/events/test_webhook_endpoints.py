"""Webhook endpoints and their secrets, as the people of a workspace manage them."""

import base64
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from plinth.events.v1 import webhook_endpoint_pb2
from plinth.events.v1 import webhook_service_pb2 as webhooks
from services.events.model.endpoints import MAX_ENDPOINTS, MAX_FORMER_SECRETS, Secret
from services.events.model.names import ENDPOINT
from services.events.repository import EventsRepositories
from services.events.service.housekeeping import Housekeeping
from services.events.webhooks.secrets import Secrets
from services.kernel.caller import Caller
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from tests.events.office import Office
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.settings import MASTER_KEYS

CODE = grpc.StatusCode
Endpoint = webhook_endpoint_pb2.WebhookEndpoint
URL = "https://hooks.example.com/"


def get(office: Office, name: str) -> webhook_endpoint_pb2.WebhookEndpoint:
    return office.owner.stubs.webhooks.GetWebhookEndpoint(
        webhooks.GetWebhookEndpointRequest(name=name)
    ).webhook_endpoint


def update(
    office: Office, wanted: webhook_endpoint_pb2.WebhookEndpoint, *mask: str
) -> webhook_endpoint_pb2.WebhookEndpoint:
    request = webhooks.UpdateWebhookEndpointRequest(webhook_endpoint=wanted)
    request.update_mask.paths.extend(mask)
    return office.owner.stubs.webhooks.UpdateWebhookEndpoint(request).webhook_endpoint


def rotate(office: Office, name: str, overlap: timedelta | None = None) -> webhooks.RotateSecretResponse:
    request = webhooks.RotateSecretRequest(name=name)
    if overlap is not None:
        request.overlap.FromTimedelta(overlap)
    return office.owner.stubs.webhooks.RotateSecret(request)


def live(runtime: Runtime, name: str, at: datetime) -> list[Secret]:
    """The secrets that sign deliveries to an endpoint at that moment, as the worker reads them."""
    workspace_id, endpoint_id = ENDPOINT.ids(name)
    units = Units(runtime.resources, "events", EventsRepositories)
    with acting(Caller(service="events", workspace_id=workspace_id)), units() as uow:
        return uow.repo.secrets.live(workspace_id, endpoint_id, at)


class TestCreate:
    def test_an_endpoint_gets_everything_at_a_bearable_pace_until_told_otherwise(self, office: Office) -> None:
        made = office.create(Endpoint(url=URL))
        endpoint = made.webhook_endpoint
        assert made.secret.startswith("whsec_")
        assert endpoint.state == Endpoint.STATE_ACTIVE
        assert endpoint.signature_scheme == Endpoint.SIGNATURE_SCHEME_HMAC_SHA256
        assert (list(endpoint.types), endpoint.max_per_second, endpoint.payload_retention_days) == ([], 20, 30)
        assert endpoint.etag
        assert get(office, endpoint.name) == endpoint
        assert "webhook_endpoint.created" in office.actions()

    def test_the_secret_is_shown_once_and_lies_nowhere_in_the_open(self, office: Office) -> None:
        made = office.create(Endpoint(url=URL))
        assert made.secret not in str(get(office, made.webhook_endpoint.name))
        tables = ("events.webhook_secrets", "kernel.audit", "kernel.outbox", "kernel.event_log")
        for table in tables:
            rows = office.database.execute(
                f"select to_jsonb(t)::text from {table} t where workspace_id = %s",  # noqa: S608  # a constant
                [office.workspace_id],
            )
            assert not [row for (row,) in rows if made.secret.removeprefix("whsec_") in row]

    def test_with_ed25519_the_receiver_holds_no_secret(self, office: Office) -> None:
        made = office.create(Endpoint(url=URL, signature_scheme=Endpoint.SIGNATURE_SCHEME_ED25519))
        assert made.secret == ""
        [key] = made.webhook_endpoint.public_keys
        assert key.startswith("whpk_")

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "https://169.254.169.254/latest",
            "https://me:pw@example.com/",
        ],
    )
    def test_a_url_that_webhooks_may_not_go_to_is_refused(self, office: Office, url: str) -> None:
        with refused(CODE.INVALID_ARGUMENT, "WEBHOOK_URL_REFUSED") as refusal:
            office.create(Endpoint(url=url))
        assert refusal.fields == ["webhook_endpoint.url"]
        with refused(CODE.INVALID_ARGUMENT, "WEBHOOK_URL_REFUSED"):
            endpoint = office.endpoint()
            update(office, Endpoint(name=endpoint.name, url=url, etag=endpoint.etag))

    def test_a_workspace_has_so_many_and_no_more(self, office: Office) -> None:
        for _ in range(MAX_ENDPOINTS):
            office.endpoint()
        with refused(CODE.FAILED_PRECONDITION, "WEBHOOK_ENDPOINT_LIMIT_REACHED") as refusal:
            office.endpoint()
        assert refusal.metadata == {"limit": str(MAX_ENDPOINTS)}


class TestUpdate:
    def test_changes_what_the_mask_names(self, office: Office) -> None:
        before = office.endpoint(description="All of it")
        wanted = Endpoint(name=before.name, etag=before.etag, types=["plinth.projects.*"], max_per_second=5)
        after = update(office, wanted, "types", "description", "max_per_second")
        assert (list(after.types), after.description, after.max_per_second) == (["plinth.projects.*"], "", 5)
        assert after.url == before.url
        assert after.etag != before.etag

    def test_zero_stands_for_the_default(self, office: Office) -> None:
        before = office.endpoint(max_per_second=5, payload_retention_days=1)
        wanted = Endpoint(name=before.name, etag=before.etag)
        after = update(office, wanted, "max_per_second", "payload_retention_days")
        assert (after.max_per_second, after.payload_retention_days) == (20, 30)

    def test_what_changes_nothing_is_told_to_nobody(self, office: Office) -> None:
        before = office.endpoint()
        assert update(office, before) == before
        assert "webhook_endpoint.updated" not in office.actions()

    @pytest.mark.parametrize("mask", [(), ("*",)])
    def test_the_way_of_signing_stays(self, office: Office, mask: tuple[str, ...]) -> None:
        before = office.endpoint()
        wanted = Endpoint(name=before.name, etag=before.etag, url=before.url)
        wanted.signature_scheme = Endpoint.SIGNATURE_SCHEME_ED25519
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(office, wanted, *mask)
        assert refusal.fields == ["webhook_endpoint.signature_scheme"]
        assert get(office, before.name) == before
        assert update(office, wanted, "url") == before

    def test_an_endpoint_has_to_go_somewhere(self, office: Office) -> None:
        before = office.endpoint()
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(office, Endpoint(name=before.name, etag=before.etag), "url")
        assert refusal.fields == ["webhook_endpoint.url"]


class TestDelete:
    def test_with_an_endpoint_goes_all_that_belongs_to_it(self, office: Office) -> None:
        endpoint = office.endpoint()
        stubs = office.owner.stubs.webhooks
        delivery = stubs.TestEndpoint(webhooks.TestEndpointRequest(name=endpoint.name)).delivery
        stubs.DeleteWebhookEndpoint(webhooks.DeleteWebhookEndpointRequest(name=endpoint.name, etag=endpoint.etag))
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            get(office, endpoint.name)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            office.delivery(delivery.name)
        assert "webhook_endpoint.deleted" in office.actions()
        for table in ("webhook_secrets", "webhook_deliveries"):
            rows = office.database.execute(
                f"select 1 from events.{table} where workspace_id = %s",  # noqa: S608  # a constant
                [office.workspace_id],
            )
            assert rows.fetchall() == []


class TestRotate:
    def test_the_new_secret_signs_first_and_the_former_for_a_day(self, office: Office, runtime: Runtime) -> None:
        made = office.create(Endpoint(url=URL))
        name = made.webhook_endpoint.name
        rotated = rotate(office, name)
        end = rotated.webhook_endpoint.rotation_end_time.ToDatetime(UTC)
        now = runtime.clock.now()
        assert timedelta(hours=23) < end - now <= timedelta(hours=24)
        keys = Secrets(runtime.keyring).keys
        assert keys(live(runtime, name, now)) == [rotated.secret, made.secret]
        assert keys(live(runtime, name, end)) == [rotated.secret]

    def test_without_overlap_the_former_ones_end(self, office: Office) -> None:
        endpoint = office.endpoint(signature_scheme=Endpoint.SIGNATURE_SCHEME_ED25519)
        overlapping = rotate(office, endpoint.name, timedelta(hours=1)).webhook_endpoint
        assert len(overlapping.public_keys) == 2
        assert overlapping.public_keys[1] == endpoint.public_keys[0]
        alone = rotate(office, endpoint.name, timedelta(0)).webhook_endpoint
        assert len(alone.public_keys) == 1
        assert alone.public_keys[0] not in overlapping.public_keys
        assert not alone.HasField("rotation_end_time")

    def test_so_many_former_ones_sign_and_no_more(self, office: Office) -> None:
        name = office.endpoint().name
        for _ in range(MAX_FORMER_SECRETS):
            rotate(office, name)
        with refused(CODE.FAILED_PRECONDITION, "WEBHOOK_SECRET_LIMIT_REACHED"):
            rotate(office, name)
        assert rotate(office, name, timedelta(0)).secret

    def test_an_overlap_of_more_than_a_week_is_refused(self, office: Office) -> None:
        request = webhooks.RotateSecretRequest(name=office.endpoint().name, overlap=Duration(seconds=604801))
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            office.owner.stubs.webhooks.RotateSecret(request)


class TestDisabling:
    def test_a_disabled_endpoint_is_sent_nothing_until_it_is_enabled(self, office: Office) -> None:
        name = office.endpoint().name
        stubs = office.owner.stubs.webhooks
        disabled = stubs.DisableEndpoint(webhooks.DisableEndpointRequest(name=name)).webhook_endpoint
        assert disabled.state == Endpoint.STATE_DISABLED
        assert disabled.disable_reason == Endpoint.DISABLE_REASON_MANUAL
        with refused(CODE.FAILED_PRECONDITION, "WEBHOOK_ENDPOINT_DISABLED"):
            stubs.TestEndpoint(webhooks.TestEndpointRequest(name=name))
        recover = webhooks.RecoverEndpointRequest(name=name)
        recover.since.GetCurrentTime()
        with refused(CODE.FAILED_PRECONDITION, "WEBHOOK_ENDPOINT_DISABLED"):
            stubs.RecoverEndpoint(recover)
        enabled = stubs.EnableEndpoint(webhooks.EnableEndpointRequest(name=name)).webhook_endpoint
        assert enabled.state == Endpoint.STATE_ACTIVE
        assert enabled.disable_reason == Endpoint.DISABLE_REASON_UNSPECIFIED
        assert {"webhook_endpoint.disabled", "webhook_endpoint.enabled"} <= office.actions()

    def test_what_is_so_already_changes_nothing(self, office: Office) -> None:
        endpoint = office.endpoint()
        stubs = office.owner.stubs.webhooks
        enabled = stubs.EnableEndpoint(webhooks.EnableEndpointRequest(name=endpoint.name)).webhook_endpoint
        assert enabled == endpoint
        first = stubs.DisableEndpoint(webhooks.DisableEndpointRequest(name=endpoint.name)).webhook_endpoint
        assert stubs.DisableEndpoint(webhooks.DisableEndpointRequest(name=endpoint.name)).webhook_endpoint == first
        assert "webhook_endpoint.enabled" not in office.actions()


class TestRights:
    def test_managing_is_for_admins(self, office: Office) -> None:
        member = office.people.member(office.owner, office.workspace)
        request = webhooks.ListWebhookEndpointsRequest(parent=office.workspace)
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            member.stubs.webhooks.ListWebhookEndpoints(request)


class TestHousekeeping:
    def test_secrets_that_have_ended_are_deleted(self, office: Office, runtime: Runtime) -> None:
        name = office.endpoint().name
        rotate(office, name, timedelta(0))
        units = Units(runtime.resources, "events", EventsRepositories)
        Housekeeping(units, runtime.clock, runtime.keyring).sweep()
        long_ago = runtime.clock.now() - timedelta(days=1)
        assert len(live(runtime, name, long_ago)) == 1

    def test_secrets_follow_the_master_key(self, office: Office, runtime: Runtime) -> None:
        made = office.create(Endpoint(url=URL))
        workspace_id, endpoint_id = ENDPOINT.ids(made.webhook_endpoint.name)
        next_key = f"next:{base64.b64encode(bytes(32)).decode()}"
        both = Keyring.parse(f"{next_key},{MASTER_KEYS}")
        units = Units(runtime.resources, "events", EventsRepositories)
        # Not committed: the server of this run does not have the next key.
        with units.system() as uow:
            found = uow.repo.secrets.list_sealed_otherwise(both.mark, 100_000)
            [mine] = [secret for secret in found if secret.endpoint_id == endpoint_id]
            uow.repo.secrets.seal(mine, both.rewrap(mine.sealed, context=mine.context))
            now = runtime.clock.now()
            assert Secrets(Keyring.parse(next_key)).keys(uow.repo.secrets.live(workspace_id, endpoint_id, now)) == [
                made.secret
            ]
