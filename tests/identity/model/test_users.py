"""Users, their changes, and their addresses."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.identity.model.users import User, email_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ADA = User(UUID(int=1), "ada@example.com", "ada@example.com", False, "Ada", 1, NOW, NOW)


class TestChange:
    def test_a_proven_address_keeps_the_name(self) -> None:
        proven = ADA.verified(LATER)
        assert (proven.email_verified, proven.display_name) == (True, "Ada")
        assert (proven.version, proven.update_time) == (2, LATER)

    def test_the_registration_that_proved_it_names_the_user_even_by_nothing(self) -> None:
        assert ADA.verified(LATER, display_name="Countess").display_name == "Countess"
        assert ADA.verified(LATER, display_name="").display_name == ""
        assert ADA.verified(LATER, display_name="Countess").version == 2

    def test_another_name_is_another_version_and_the_same_name_is_none(self) -> None:
        assert ADA.renamed("Ada", LATER) is ADA
        renamed = ADA.renamed("Countess", LATER)
        assert (renamed.display_name, renamed.version, renamed.update_time) == ("Countess", 2, LATER)
        assert not renamed.email_verified

    def test_another_address_comes_with_its_key_and_is_proven(self) -> None:
        moved = ADA.moved_to("Countess@Example.com", LATER)
        assert (moved.email, moved.email_key, moved.email_verified) == (
            "Countess@Example.com",
            "countess@example.com",
            True,
        )
        assert (moved.version, moved.update_time) == (2, LATER)


def test_addresses_that_differ_in_case_are_one() -> None:
    assert email_key("Ada@Example.COM") == email_key("ada@example.com")


def test_dots_and_tags_tell_addresses_apart() -> None:
    assert len({email_key("a.b@example.com"), email_key("ab@example.com"), email_key("ab+c@example.com")}) == 3
