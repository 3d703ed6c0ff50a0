"""Resetting and changing passwords."""

import uuid

import grpc
import pytest

from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.identity.v1 import user_service_pb2 as users
from services.identity.errors import (
    CredentialsInvalid,
    LinkInvalid,
    PasswordRefused,
    PasswordWrong,
    RefreshTokenInvalid,
)
from services.identity.model.sessions import SignedIn
from tests.identity.island import PASSWORD, Island
from tests.identity.test_sessions import is_signed_in
from tests.support.errors import refused
from tests.support.people import People

NEW = "purple bicycle seventy"


def start_reset(island: Island, email: str) -> None:
    with island.acting():
        island.services.passwords.start_reset(email)


def finish_reset(island: Island, token: str, password: str = NEW) -> None:
    with island.acting():
        island.services.passwords.finish_reset(token, password)


def change(island: Island, person: SignedIn, old: str, new: str) -> None:
    with island.acting(person):
        island.services.passwords.change(old, new)


class TestReset:
    def test_the_new_password_works_the_old_one_does_not_and_every_session_ends(self, island: Island) -> None:
        person = island.new()
        email = person.user.email
        start_reset(island, email)
        finish_reset(island, island.token(email))
        assert island.sign_in(email, NEW).user.id == person.user.id
        with pytest.raises(CredentialsInvalid):
            island.sign_in(email, PASSWORD)
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(person.refresh_token)
        assert island.kinds(email)[-2:] == ["reset_password", "password_changed"]

    def test_the_link_works_once_and_takes_the_others_with_it(self, island: Island) -> None:
        email = island.new().user.email
        start_reset(island, email)
        start_reset(island, email)
        finish_reset(island, island.token(email, 1))
        for nth in (1, 2):
            with pytest.raises(LinkInvalid):
                finish_reset(island, island.token(email, nth))

    def test_the_link_works_for_an_hour(self, island: Island) -> None:
        email = island.new().user.email
        start_reset(island, email)
        island.later(hours=1)
        with pytest.raises(LinkInvalid):
            finish_reset(island, island.token(email))

    def test_a_weak_password_leaves_the_link_good(self, island: Island) -> None:
        email = island.new().user.email
        start_reset(island, email)
        with pytest.raises(PasswordRefused):
            finish_reset(island, island.token(email), "password1234")
        finish_reset(island, island.token(email))

    def test_it_proves_the_address(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        start_reset(island, email)
        finish_reset(island, island.token(email))
        assert island.sign_in(email, NEW).user.email_verified

    def test_an_unknown_address_gets_no_mail_and_the_same_number_of_commits(self, island: Island) -> None:
        unknown = island.address()
        start_reset(island, unknown)
        assert island.kinds(unknown) == []
        probes = island.owner.execute("select count(*) from kernel.audit where resource = 'users/-'").fetchone()
        assert probes is not None
        assert probes[0] >= 1

    def test_a_link_for_one_purpose_does_not_serve_another(self, island: Island) -> None:
        email = island.address()
        island.register(email)
        with pytest.raises(LinkInvalid):
            finish_reset(island, island.token(email))

    def test_the_answer_is_the_same_for_known_and_unknown(self, people: People) -> None:
        answers = {
            people.stubs.auth.StartPasswordReset(auth.StartPasswordResetRequest(email=email)).SerializeToString()
            for email in (people.new().email, people.address())
        }
        assert answers == {b""}


class TestChange:
    def test_the_calling_session_stays_and_the_others_end(self, people: People) -> None:
        here = people.new()
        there = people.sign_in(here.email)
        request = users.ChangePasswordRequest(
            current_password="correct horse battery", new_password=NEW, request_id=str(uuid.uuid4())
        )
        for _ in range(2):
            here.stubs.users.ChangePassword(request)
        assert is_signed_in(here)
        assert not is_signed_in(there)
        assert people.sign_in(here.email, NEW).user_id == here.user_id

    def test_a_wrong_password_is_refused(self, people: People) -> None:
        request = users.ChangePasswordRequest(current_password="something else", new_password=NEW)
        with refused(grpc.StatusCode.PERMISSION_DENIED, "PASSWORD_WRONG"):
            people.new().stubs.users.ChangePassword(request)

    def test_a_weak_new_one_is_refused(self, people: People) -> None:
        request = users.ChangePasswordRequest(current_password="correct horse battery", new_password="qwertyuiop")
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "PASSWORD_REFUSED") as refusal:
            people.new().stubs.users.ChangePassword(request)
        assert refusal.fields == ["new_password"]

    def test_links_that_set_a_password_end_with_the_old_one(self, island: Island) -> None:
        person = island.new()
        start_reset(island, person.user.email)
        token = island.token(person.user.email)
        change(island, person, PASSWORD, NEW)
        with pytest.raises(LinkInvalid):
            finish_reset(island, token)

    def test_a_password_that_was_changed_meanwhile_changes_nothing_more(
        self, island: Island, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = island.new()
        hashes = island.services.passwords._hashes
        really = hashes.hash

        def reset_meanwhile(password: str) -> str:
            monkeypatch.setattr(hashes, "hash", really)
            island.owner.execute("update identity.passwords set hash = 'x' where user_id = %s", [person.user.id])
            return really(password)

        monkeypatch.setattr(hashes, "hash", reset_meanwhile)
        with pytest.raises(PasswordWrong):
            change(island, person, PASSWORD, NEW)
