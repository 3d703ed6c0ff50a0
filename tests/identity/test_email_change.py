"""Moving to another address."""

import pytest

from services.identity.errors import EmailTaken, LinkInvalid, PasswordWrong, RefreshTokenInvalid
from services.identity.model.sessions import SignedIn
from services.identity.model.users import User
from tests.identity.island import PASSWORD, Island


def start(island: Island, person: SignedIn, new_email: str, password: str = PASSWORD) -> None:
    with island.acting(person):
        island.services.email_change.start(new_email, password)


def finish(island: Island, person: SignedIn, token: str) -> User:
    with island.acting(person):
        return island.services.email_change.finish(token)


class TestEmailChange:
    def test_the_new_address_signs_in_and_the_old_one_is_told(self, island: Island) -> None:
        person, new_email = island.new(), island.address()
        start(island, person, new_email)
        assert island.kinds(person.user.email)[-1] == "change_email_notice"
        changed = finish(island, person, island.token(new_email))
        assert (changed.email, changed.email_verified, changed.version) == (new_email, True, person.user.version + 1)
        assert island.sign_in(new_email).user == changed
        assert island.kinds(person.user.email)[-1] == "email_changed"

    def test_until_the_link_is_followed_nothing_changes(self, island: Island) -> None:
        person, new_email = island.new(), island.address()
        start(island, person, new_email)
        assert island.sign_in(person.user.email).user.email == person.user.email

    def test_the_other_sessions_end(self, island: Island) -> None:
        here, new_email = island.new(), island.address()
        there = island.sign_in(here.user.email)
        start(island, here, new_email)
        finish(island, here, island.token(new_email))
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(there.refresh_token)
        assert island.refresh(here.refresh_token).user.email == new_email

    def test_it_needs_the_password(self, island: Island) -> None:
        with pytest.raises(PasswordWrong):
            start(island, island.new(), island.address(), "a wrong password")

    def test_nobody_else_can_use_the_link(self, island: Island) -> None:
        person, other, new_email = island.new(), island.new(), island.address()
        start(island, person, new_email)
        with pytest.raises(LinkInvalid):
            finish(island, other, island.token(new_email))
        finish(island, person, island.token(new_email))
        with pytest.raises(LinkInvalid):
            finish(island, person, island.token(new_email))

    def test_whether_an_address_is_known_is_told_to_its_owner_only(self, island: Island) -> None:
        person, owner = island.new(), island.new()
        start(island, person, owner.user.email)
        assert island.kinds(owner.user.email)[-1] == "already_registered"
        assert island.kinds(person.user.email)[-1] == "change_email_notice"

    def test_of_two_who_want_one_address_the_first_to_prove_it_gets_it(self, island: Island) -> None:
        first, second, wanted = island.new(), island.new(), island.address()
        start(island, first, wanted)
        start(island, second, wanted)
        finish(island, second, island.token(wanted))
        with pytest.raises(EmailTaken):
            finish(island, first, island.token(wanted, 1))

    def test_a_registration_that_never_proved_the_address_gives_way(self, island: Island) -> None:
        person, wanted = island.new(), island.address()
        island.register(wanted, "purple bicycle seventy")
        squatter = island.sign_in(wanted, "purple bicycle seventy")
        start(island, person, wanted)
        assert finish(island, person, island.token(wanted)).email == wanted
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(squatter.refresh_token)
