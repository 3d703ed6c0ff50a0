"""Addresses."""

from services.identity.model.users import email_key


def test_addresses_that_differ_in_case_are_one() -> None:
    assert email_key("Ada@Example.COM") == email_key("ada@example.com")


def test_dots_and_tags_tell_addresses_apart() -> None:
    assert len({email_key("a.b@example.com"), email_key("ab@example.com"), email_key("ab+c@example.com")}) == 3
