"""Browsers get the tokens of a session as cookies, and give them back."""

from datetime import UTC, datetime
from http.cookies import SimpleCookie

import grpc
import pytest

from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.identity.v1 import user_service_pb2 as users
from services.kernel.config import Settings
from services.kernel.cookies import Cookie
from tests.support.errors import refused
from tests.support.people import PASSWORD, People, Person
from tests.support.stubs import Stubs, WithMetadata

ATTRIBUTES = {"Secure", "HttpOnly", "SameSite=Strict"}


class Browser:
    """Keeps what it is told to keep, and sends it where it belongs, from a page of this origin."""

    def __init__(self, people: People, origin: str) -> None:
        self._people = people
        self._page = (("origin", origin),)
        self.kept: dict[str, str] = {}
        self.told: list[str] = []

    def sign_in(self, person: Person) -> auth.SignInResponse:
        request = auth.SignInRequest(email=person.email, password=PASSWORD, cookie=True)
        answer, call = self._people.stubs.auth.SignIn.with_call(request, metadata=self._page)
        self._keep(call)
        return answer

    def refresh(self) -> auth.RefreshResponse:
        metadata = (*self._page, *self._cookies())
        answer, call = self._people.stubs.auth.Refresh.with_call(auth.RefreshRequest(cookie=True), metadata=metadata)
        self._keep(call)
        return answer

    def sign_out(self) -> None:
        metadata = (*self._page, *self._cookies())
        _, call = self._people.stubs.auth.SignOut.with_call(auth.SignOutRequest(), metadata=metadata)
        self._keep(call)

    @property
    def stubs(self) -> Stubs:
        pairs = WithMetadata(*self._page, *self._cookies())
        return Stubs(grpc.intercept_channel(self._people.channel, pairs))

    def _cookies(self) -> tuple[tuple[str, str], ...]:
        return tuple(("cookie", f"{name}={value}") for name, value in self.kept.items())

    def _keep(self, call: grpc.Call) -> None:
        self.told = [str(value) for key, value in call.initial_metadata() if key == "set-cookie"]
        for header in self.told:
            for name, morsel in SimpleCookie(header).items():
                ends = datetime.strptime(morsel["expires"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
                self.kept.pop(name, None)
                if ends > datetime.now(UTC):
                    self.kept[name] = morsel.value


@pytest.fixture
def browser(people: People, settings: Settings) -> Browser:
    return Browser(people, settings.public_url)


@pytest.fixture
def person(people: People) -> Person:
    return people.new()


def test_the_tokens_come_as_cookies_and_nowhere_else(browser: Browser, person: Person) -> None:
    answer = browser.sign_in(person)
    assert (answer.access_token, answer.refresh_token) == ("", "")
    assert answer.user.name == person.name
    assert set(browser.kept) == {"__Host-plinth", "__Secure-plinth-refresh"}
    assert all(browser.kept.values())


def test_each_goes_no_further_than_it_must(browser: Browser, person: Person) -> None:
    answer = browser.sign_in(person)
    access, refresh = ({part.strip() for part in header.split(";")} for header in browser.told)
    assert access >= ATTRIBUTES | {"Path=/"}
    assert refresh >= ATTRIBUTES | {"Path=/v1/auth:refresh"}
    assert not {part for part in access | refresh if part.lower().startswith("domain")}
    for header, end in zip(browser.told, (answer.expire_time, answer.refresh_expire_time), strict=True):
        assert end.ToDatetime().strftime("Expires=%a, %d %b %Y %H:%M:%S GMT") in header


def test_the_cookie_is_as_good_as_the_header(browser: Browser, person: Person) -> None:
    browser.sign_in(person)
    assert browser.stubs.users.GetMe(users.GetMeRequest()).user.name == person.name
    assert browser.stubs.users.UpdateMe(_renaming(browser)).user.display_name == "New Name"


def _renaming(browser: Browser) -> users.UpdateMeRequest:
    me = browser.stubs.users.GetMe(users.GetMeRequest()).user
    me.display_name = "New Name"
    request = users.UpdateMeRequest(user=me)
    request.update_mask.paths.append("display_name")
    return request


def test_a_session_goes_on_by_cookie(browser: Browser, person: Person) -> None:
    first = browser.sign_in(person)
    before = dict(browser.kept)
    answer = browser.refresh()
    assert (answer.access_token, answer.refresh_token, answer.session) == ("", "", first.session)
    assert all(browser.kept[name] != before[name] for name in browser.kept)
    assert browser.stubs.users.GetMe(users.GetMeRequest()).user.name == person.name


def test_signing_out_takes_both_away_and_ends_the_session(people: People, browser: Browser, person: Person) -> None:
    browser.sign_in(person)
    kept = dict(browser.kept)
    browser.sign_out()
    assert browser.kept == {}
    assert [header.split("=")[0] for header in browser.told] == list(kept)
    browser.kept = kept
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        browser.stubs.users.GetMe(users.GetMeRequest())
    with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        browser.refresh()


def test_without_the_cookie_there_is_nothing_to_refresh(browser: Browser) -> None:
    with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        browser.refresh()


def test_where_the_cookie_is_meant_no_other_token_counts(people: People, person: Person, settings: Settings) -> None:
    request = auth.RefreshRequest(refresh_token=person.refresh_token, cookie=True)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        people.stubs.auth.Refresh(request, metadata=(("origin", settings.public_url),))


def test_where_it_is_not_meant_it_does_not_count(people: People, browser: Browser, person: Person) -> None:
    browser.sign_in(person)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        people.stubs.auth.Refresh(auth.RefreshRequest(), metadata=tuple(browser._cookies()))


def test_a_foreign_page_signs_nobody_in_and_refreshes_nothing(people: People, person: Person) -> None:
    evil = Browser(people, "https://evil.example")
    with refused(grpc.StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
        evil.sign_in(person)
    evil.kept[Cookie.REFRESH.key] = person.refresh_token
    with refused(grpc.StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
        evil.refresh()
    answer = people.stubs.auth.Refresh(auth.RefreshRequest(refresh_token=person.refresh_token))
    assert answer.refresh_token


def test_who_asks_for_no_cookie_gets_none(people: People, person: Person) -> None:
    request = auth.SignInRequest(email=person.email, password=PASSWORD)
    answer, call = people.stubs.auth.SignIn.with_call(request)
    assert answer.access_token
    assert "set-cookie" not in dict(call.initial_metadata())
