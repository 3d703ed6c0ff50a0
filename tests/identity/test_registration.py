"""Registering, and proving an address."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from services.identity.errors import CredentialsInvalid, LinkInvalid, PasswordRefused, RefreshTokenInvalid
from services.identity.model.users import email_key
from services.kernel.db import Session
from tests.identity.island import Island

OTHER = "purple bicycle seventy"


class TestRegister:
    def test_a_link_proves_the_address(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        assert not island.sign_in(email).user.email_verified
        island.verify(island.token(email))
        assert island.sign_in(email).user.email_verified

    def test_the_address_is_kept_as_written_and_compared_without_case(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        assert island.sign_in(email.upper()).user.email == email

    def test_nobody_advertises_through_a_mail_to_an_address_that_is_not_theirs(self, island: Island) -> None:
        email = island.address()
        island.register(email, display_name="Buy at shop.example")
        island.register(email, display_name="Buy at shop.example")
        with island.acting():
            island.services.registration.resend(email)
            island.services.passwords.start_reset(email)
        assert len(island.mails(email)) == 4
        assert not [text for _, text in island.mails(email) if "shop.example" in text]

    def test_a_weak_password_is_refused(self, island: Island) -> None:
        with pytest.raises(PasswordRefused):
            island.register(island.address(), "password1234")

    def test_a_link_works_once(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        island.verify(island.token(email))
        with pytest.raises(LinkInvalid):
            island.verify(island.token(email))

    def test_a_link_works_for_a_day(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        island.later(hours=24)
        with pytest.raises(LinkInvalid):
            island.verify(island.token(email))

    def test_twenty_at_once_make_one_user(self, island: Island) -> None:
        email = island.address()
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(island.register, email) for _ in range(20)]:
                done.result()
        found = island.owner.execute("select 1 from identity.users where email_key = %s", [email_key(email)])
        assert len(found.fetchall()) == 1


class TestKnownAddress:
    def test_its_owner_is_told_and_nothing_changes(self, island: Island) -> None:
        owner = island.new()
        island.register(owner.user.email, OTHER, "Intruder")
        assert island.kinds(owner.user.email) == ["verify_email", "already_registered"]
        assert island.sign_in(owner.user.email).user == owner.user
        with pytest.raises(CredentialsInvalid):
            island.sign_in(owner.user.email, OTHER)

    def test_it_costs_as_many_hashes_as_an_unknown_one(self, island: Island, monkeypatch: pytest.MonkeyPatch) -> None:
        owner, hashed = island.new(), list[str]()
        hashes = island.services.registration._hashes
        really = hashes.hash

        def counted(password: str) -> str:
            hashed.append(password)
            return really(password)

        monkeypatch.setattr(hashes, "hash", counted)
        island.register(owner.user.email)
        island.register(island.address())
        assert len(hashed) == 2

    def test_it_costs_as_many_statements_and_commits_as_an_unknown_one(
        self, island: Island, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unknown, unproven, proven = island.address(), island.address(), island.address()
        island.register(unproven)
        island.register(proven)
        island.verify(island.token(proven))
        asked: list[str] = []
        for name in ("first", "all", "run", "commit"):
            real = getattr(Session, name)

            def counted(session: Session, *args: Any, _name: str = name, _real: Any = real, **params: Any) -> Any:
                asked.append(_name)
                return _real(session, *args, **params)

            monkeypatch.setattr(Session, name, counted)
        costs = []
        for address in (unknown, unproven, proven):
            asked.clear()
            island.register(address)
            costs.append((len(asked), asked.count("commit")))
        assert costs[0] == costs[1] == costs[2]

    def test_nobody_s_inbox_is_flooded(self, island: Island) -> None:
        owner = island.new()
        for _ in range(30):
            island.register(owner.user.email)
        assert len(island.kinds(owner.user.email)) == 10
        island.later(hours=1)
        island.register(owner.user.email)
        assert len(island.kinds(owner.user.email)) == 11


class TestSomebodyElseRegistersMyAddress:
    """Pre-account hijacking: the address belongs to whoever reads its mail, not to whoever registers it first."""

    def test_a_stranger_who_was_first_is_out_once_i_follow_my_link(self, island: Island) -> None:
        email = island.address()
        island.register(email, OTHER, "Stranger")
        stranger = island.sign_in(email, OTHER)
        island.register(email, display_name="Me")
        island.verify(island.token(email))
        me = island.sign_in(email)
        assert (me.user.email_verified, me.user.display_name) == (True, "Me")
        with pytest.raises(CredentialsInvalid):
            island.sign_in(email, OTHER)
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(stranger.refresh_token)
        assert "sessions.revoked.v1" in island.audit(me.user.id)

    def test_registering_again_changes_nothing_by_itself(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        island.register(email, OTHER, "Stranger")
        assert island.sign_in(email).user.display_name == "Some Body"
        with pytest.raises(CredentialsInvalid):
            island.sign_in(email, OTHER)

    def test_a_stranger_who_came_second_is_out_once_i_follow_my_link(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        island.register(email, OTHER, "Stranger")
        strangers_link, my_link = island.token(email), island.token(email, 1)
        island.verify(my_link)
        assert island.sign_in(email).user.display_name == "Some Body"
        with pytest.raises(CredentialsInvalid):
            island.sign_in(email, OTHER)
        with pytest.raises(LinkInvalid):
            island.verify(strangers_link)

    def test_a_new_link_sets_a_password_as_nobody_can_tell_who_asks(self, island: Island) -> None:
        email = island.address()
        island.register(email, OTHER, "Stranger")
        island.register(email)
        with island.acting():
            island.services.registration.resend(email)
        assert island.kinds(email)[-1] == "reset_password"
        with island.acting():
            island.services.passwords.finish_reset(island.token(email), "a third one of mine")
        assert island.sign_in(email, "a third one of mine").user.email_verified
        with pytest.raises(CredentialsInvalid):
            island.sign_in(email, OTHER)


class TestResend:
    def test_a_new_link_works_and_so_does_the_old_one(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        with island.acting():
            island.services.registration.resend(email.upper())
        assert island.kinds(email) == ["verify_email", "verify_email"]
        island.verify(island.token(email, 1))
        assert island.sign_in(email).user.email_verified

    def test_no_mail_goes_to_unknown_or_proven_addresses(self, island: Island) -> None:
        owner, unknown = island.new(), island.address()
        with island.acting():
            island.services.registration.resend(unknown)
            island.services.registration.resend(owner.user.email)
        assert island.kinds(unknown) == []
        assert island.kinds(owner.user.email) == ["verify_email"]
