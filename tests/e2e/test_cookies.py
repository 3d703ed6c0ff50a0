"""Signed in by cookie, over REST through the edge, with the headers of a browser; test_browser.py has a browser."""

from collections.abc import Mapping

import httpx
import pytest

from services.kernel.cookies import Cookie
from tests.e2e.conftest import ORIGIN, Edge
from tests.e2e.test_rest import reason_of
from tests.support.people import PASSWORD

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

OWN_PAGE = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}


class Browser:
    """Keeps cookies as it is told to."""

    def __init__(self, edge: Edge, page: Mapping[str, str] = OWN_PAGE) -> None:
        self._edge = edge
        self._page = page
        self.cookies: dict[str, str] = {}

    def call(
        self, method: str, path: str, body: object = None, page: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A call that a page makes; `page`: what the browser says of it."""
        sent = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        answer = self._edge.call(method, path, body, headers={**sent, **(self._page if page is None else page)})
        for told in answer.headers.get_list("set-cookie"):
            name, _, value = told.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return answer

    def sign_in(self, email: str) -> httpx.Response:
        return self.call("POST", "/v1/auth:signIn", {"email": email, "password": PASSWORD, "cookie": True})


@pytest.fixture
def email(edge: Edge) -> str:
    return edge.people.new("ada").email


@pytest.fixture
def browser(edge: Edge, email: str) -> Browser:
    """Signed in."""
    browser = Browser(edge)
    assert browser.sign_in(email).status_code == 200
    return browser


def test_a_page_signs_in_goes_on_and_signs_out_and_sees_no_token(edge: Edge, email: str) -> None:
    browser = Browser(edge)
    answer = browser.sign_in(email)
    assert (answer.json()["accessToken"], answer.json()["refreshToken"]) == ("", "")
    assert set(browser.cookies) == {cookie.key for cookie in Cookie}
    assert browser.call("GET", "/v1/me").json()["user"]["email"] == email
    first = browser.cookies[Cookie.REFRESH.key]
    refreshed = browser.call("POST", "/v1/auth:refresh", {"cookie": True})
    assert (refreshed.status_code, refreshed.json()["refreshToken"]) == (200, "")
    assert browser.cookies[Cookie.REFRESH.key] != first
    assert browser.call("POST", "/v1/workspaces", {"displayName": "By cookie"}).status_code == 200
    assert browser.call("POST", "/v1/auth:signOut", {}).status_code == 200
    assert browser.cookies == {}
    assert reason_of(browser.call("GET", "/v1/me"), 401) == "CREDENTIALS_MISSING"


@pytest.mark.parametrize(
    "page", [{}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
def test_a_foreign_page_changes_nothing(edge: Edge, browser: Browser, page: dict[str, str]) -> None:
    refused = browser.call("POST", "/v1/workspaces", {"displayName": "Forged"}, page)
    assert reason_of(refused, 403) == "CSRF_REFUSED"
    # As a form of another site would send it, which no browser asks about beforehand.
    as_form = {"content-type": "text/plain", **page}
    assert reason_of(browser.call("POST", "/v1/auth:signOut", {}, as_form), 403) == "CSRF_REFUSED"
    assert browser.call("GET", "/v1/workspaces").json()["workspaces"] == []


def test_a_page_of_a_named_origin_is_signed_in_like_one_of_ours(edge: Edge, browser: Browser) -> None:
    page = {"origin": ORIGIN, "sec-fetch-site": "same-site"}
    answer = browser.call("POST", "/v1/workspaces", {"displayName": "From the app"}, page)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_grpc_web_is_signed_in_by_cookie_too(edge: Edge, browser: Browser) -> None:
    headers = {
        "content-type": "application/grpc-web+proto",
        "cookie": f"__Host-plinth={browser.cookies['__Host-plinth']}",
    }
    answer = edge.rest.post("/plinth.identity.v1.UserService/GetMe", content=b"\0" * 5, headers=headers)
    assert b"grpc-status:0" in answer.content.replace(b" ", b"")


def test_no_log_holds_a_cookie(edge: Edge, browser: Browser) -> None:
    browser.call("GET", "/v1/me")
    browser.call("POST", "/v1/workspaces", {"displayName": "x" * 500})
    browser.call("POST", "/v1/workspaces", {"displayName": "Forged"}, {"origin": "https://evil.example"})
    for process in ("serve", "streams", "envoy"):
        written = edge.mesh.log(process).read_text()
        for value in browser.cookies.values():
            assert value[-30:] not in written
