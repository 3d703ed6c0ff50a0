"""The bounds of API keys."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.errors import PermissionsExceedGrant
from services.identity.model.api_keys import check_expiry, check_permissions, shown_prefix
from services.kernel.errors import FieldsInvalid
from services.kernel.secrets import new_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
permissions = st.frozensets(st.sampled_from(["projects.read", "projects.write", "members.read", "apikeys.manage"]))


class TestCheckPermissions:
    @given(permissions, permissions)
    def test_a_key_never_exceeds_its_creator(self, asked: frozenset[str], held: frozenset[str]) -> None:
        if asked <= held:
            assert set(check_permissions(asked, held)) == asked
        else:
            with pytest.raises(PermissionsExceedGrant) as refused:
                check_permissions(asked, held)
            assert set(refused.value.metadata["permissions"].split(",")) == asked - held


class TestCheckExpiry:
    def test_it_is_90_days_unless_said_otherwise(self) -> None:
        assert check_expiry(None, NOW) == NOW + timedelta(days=90)

    @pytest.mark.parametrize("days", [-1, 0, 367])
    def test_the_past_and_more_than_a_year_are_refused(self, days: int) -> None:
        with pytest.raises(FieldsInvalid) as refused:
            check_expiry(NOW + timedelta(days=days), NOW)
        assert [violation.field for violation in refused.value.violations] == ["api_key.expire_time"]

    def test_a_year_is_accepted(self) -> None:
        assert check_expiry(NOW + timedelta(days=365), NOW) == NOW + timedelta(days=365)


def test_what_is_shown_of_a_key_does_not_help_to_guess_it() -> None:
    secret = new_token("plk_")
    assert secret.startswith(shown_prefix(secret))
    assert len(secret) - len(shown_prefix(secret)) >= 36
