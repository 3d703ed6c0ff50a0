"""Signing in, and the throttle before it."""

import contextvars
import threading
from datetime import timedelta

import pytest

from services.identity.errors import CredentialsInvalid, PasswordWrong, SignInThrottled
from services.identity.model.sessions import SignedIn
from services.identity.service.hashing import PasswordHashes
from services.kernel.config import Settings
from services.kernel.errors import Overloaded
from services.kernel.idempotency import Claim, Key, claiming
from services.kernel.secrets import Keyring
from tests.identity.island import HOME, PASSWORD, Island

WRONG = "not the password"


def fail(island: Island, email: str, source: str, times: int) -> int:
    """Try a wrong password as often as it is let through at once; how often that was."""
    for done in range(times):
        try:
            with pytest.raises(CredentialsInvalid):
                island.sign_in(email, WRONG, source)
        except SignInThrottled:
            return done
    return times


class TestSignIn:
    def test_an_unknown_address_and_a_wrong_password_are_told_the_same(self, island: Island) -> None:
        person = island.new()
        with pytest.raises(CredentialsInvalid) as wrong:
            island.sign_in(person.user.email, WRONG)
        with pytest.raises(CredentialsInvalid) as unknown:
            island.sign_in(island.address(), WRONG)
        assert (wrong.value.message, wrong.value.metadata) == (unknown.value.message, unknown.value.metadata)

    def test_the_session_says_from_where(self, island: Island) -> None:
        session = island.new().session
        assert (session.source, session.user_agent) == (HOME, "test")

    def test_a_hash_with_old_parameters_is_renewed(
        self, island: Island, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = island.new()
        stronger = PasswordHashes(settings.model_copy(update={"argon2_time": 2}))
        monkeypatch.setattr(island.services.sign_in._credentials, "_hashes", stronger)
        island.sign_in(person.user.email)
        stored = island.owner.execute("select hash from identity.passwords where user_id = %s", [person.user.id])
        (encoded,) = stored.fetchone() or ("",)
        assert ",t=2," in encoded
        assert stronger.verify(encoded, PASSWORD)

    def test_it_is_recorded(self, island: Island) -> None:
        person = island.new()
        assert island.audit(person.user.id) == ["user.registered.v1", "email.verified.v1", "session.started.v1"]


class TestThrottle:
    def test_after_five_failures_the_next_attempt_waits_and_is_told_how_long(self, island: Island) -> None:
        email = island.new().user.email
        assert fail(island, email, HOME, 20) == 5
        with pytest.raises(SignInThrottled) as refused:
            island.sign_in(email)
        assert refused.value.retry_after == timedelta(seconds=1)
        island.later(seconds=1)
        assert island.sign_in(email).user.email == email

    def test_attempts_that_are_refused_make_the_wait_no_longer(self, island: Island) -> None:
        email = island.new().user.email
        fail(island, email, HOME, 6)
        for _ in range(50):
            with pytest.raises(SignInThrottled):
                island.sign_in(email, WRONG)
        island.later(seconds=1)
        island.sign_in(email)

    def test_an_unknown_address_is_throttled_alike(self, island: Island) -> None:
        assert fail(island, island.address(), HOME, 20) == 5

    def test_a_success_clears_the_failures_of_its_source(self, island: Island) -> None:
        email = island.new().user.email
        fail(island, email, HOME, 4)
        island.sign_in(email)
        assert fail(island, email, HOME, 4) == 4

    def test_keycloak_46164_outsiders_cannot_lock_an_account(self, island: Island) -> None:
        email = island.new().user.email
        for attacker in range(60):
            fail(island, email, f"203.0.113.{attacker}", 5)
        with pytest.raises(SignInThrottled):
            island.sign_in(email, source="198.51.100.7")
        assert island.sign_in(email, source=HOME).user.email == email

    def test_whoever_is_attacked_gets_in_from_anywhere_by_a_reset(self, island: Island) -> None:
        email, elsewhere = island.new().user.email, "198.51.100.8"
        for attacker in range(60):
            fail(island, email, f"203.0.113.{attacker}", 5)
        with island.acting(source=elsewhere):
            island.services.passwords.start_reset(email)
            island.services.passwords.finish_reset(island.token(email), "a wholly new one")
        assert island.sign_in(email, "a wholly new one", elsewhere).user.email == email

    def test_zitadel_9860_a_few_wrong_attempts_make_nobody_unrecoverable(self, island: Island) -> None:
        email = island.new().user.email
        for _ in range(12):
            fail(island, email, HOME, 1)
            island.later(minutes=5)
        assert island.sign_in(email).user.email == email

    def test_a_source_that_guesses_at_one_account_stays_free_for_others(self, island: Island) -> None:
        first, second = island.new().user.email, island.new().user.email
        fail(island, first, "203.0.113.99", 20)
        assert island.sign_in(second, source="203.0.113.99").user.email == second

    def test_the_password_of_a_signed_in_user_is_throttled_too_and_a_request_id_buys_no_guesses(
        self, island: Island, keyring: Keyring
    ) -> None:
        person = island.new()

        def guess(number: int) -> None:
            claim = Claim(Key("users/x", person.user.id, "m", f"{number}"), b"", keyring)
            with island.acting(person), claiming(claim), pytest.raises(PasswordWrong):
                island.services.passwords.change(WRONG, "a wholly new one")

        for number in range(5):
            contextvars.copy_context().run(guess, number)
        with pytest.raises(SignInThrottled), island.acting(person):
            island.services.passwords.change(PASSWORD, "a wholly new one")

    def test_the_counters_name_nobody(self, island: Island) -> None:
        email = island.new().user.email
        fail(island, email, HOME, 1)
        keys = [bytes(key) for (key,) in island.owner.execute("select key from identity.throttles")]
        assert keys
        assert not [key for key in keys if HOME.encode() in key or email.casefold().encode() in key]


class TestOverload:
    def test_who_finds_no_place_to_wait_is_refused_at_once(self, settings: Settings) -> None:
        hashes = PasswordHashes(settings.model_copy(update={"threads": 3}), cores=1)
        entered, leave = threading.Semaphore(0), threading.Event()

        def work() -> None:
            with hashes.turn():
                entered.release()
                assert leave.wait(10)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert entered.acquire(timeout=10)
        # One has its turn, the other has the last place to wait; it may not have taken it yet.
        while hashes._places._value:
            pass
        with pytest.raises(Overloaded), hashes.turn():
            pass
        leave.set()
        for thread in threads:
            thread.join()
        with hashes.turn():
            assert hashes.hash(PASSWORD)


def test_a_token_ends_no_later_than_its_session(island: Island, settings: Settings) -> None:
    person: SignedIn = island.new()
    assert person.expire_time == island.clock.now() + settings.access_token_ttl
    assert person.expire_time <= person.session.expire_time
