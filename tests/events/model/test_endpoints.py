"""Webhook endpoints as values."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.events.errors import WebhookEndpointDisabled
from services.events.model.endpoints import (
    EndpointPatch,
    EndpointSettings,
    EndpointView,
    Secret,
    SignatureScheme,
    WebhookEndpoint,
)
from services.events.model.health import Health, HealthState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ID = UUID("01992f00-0000-7000-8000-000000000000")


def endpoint() -> WebhookEndpoint:
    settings = EndpointSettings(
        url="https://hooks.example.com/",
        description="",
        types=("plinth.projects.*",),
        signature_scheme=SignatureScheme.HMAC_SHA256,
        max_per_second=0,
        payload_retention_days=0,
    )
    return settings.endpoint(ID, ID, None, NOW)


class TestChanged:
    def test_each_change_is_a_new_version(self) -> None:
        after = endpoint().changed(EndpointPatch(description="All of it", max_per_second=5), LATER)
        assert (after.description, after.max_per_second) == ("All of it", 5)
        assert (after.version, after.update_time) == (2, LATER)

    def test_what_is_so_already_is_no_change(self) -> None:
        before = endpoint()
        assert before.changed(EndpointPatch(url=before.url, types=before.types, max_per_second=0), LATER) is before

    def test_of_another_receiver_no_failures_are_known(self) -> None:
        failing = endpoint().with_health(Health().after_failure(NOW, 0.5), NOW)
        assert failing.health.state is HealthState.FAILING
        assert failing.changed(EndpointPatch(url="https://new.example.com/"), LATER).health == Health()
        assert failing.changed(EndpointPatch(description="The same"), LATER).health == failing.health

    def test_a_disabled_endpoint_stays_so_wherever_it_goes(self) -> None:
        disabled = endpoint().with_health(Health().disabled_by_hand(NOW), NOW)
        after = disabled.changed(EndpointPatch(url="https://new.example.com/"), LATER)
        assert after.health == disabled.health
        with pytest.raises(WebhookEndpointDisabled):
            after.require_enabled()


class TestView:
    def test_a_rotation_ends_with_the_last_former_secret(self) -> None:
        current = Secret(ID, ID, ID, b"", "", NOW)
        former = [Secret(ID, ID, ID, b"", "", NOW, NOW + timedelta(hours=hours)) for hours in (1, 3, 2)]
        assert EndpointView(endpoint(), (current, *former)).rotation_end_time == NOW + timedelta(hours=3)
        assert EndpointView(endpoint(), (current,)).rotation_end_time is None
