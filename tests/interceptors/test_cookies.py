"""Signed in by cookie: what counts, what it is no good for, and what a page of another origin cannot do with it."""

from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode

from interceptors.csrf import Csrf
from services.kernel.caller import current_caller
from services.kernel.cookies import Cookie
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, Rig, SyncRig
from tests.support.scratch import pb
from tests.support.settings import settings_for_tests
from tests.support.world import Person, bearer, note_of

OURS, LISTED, SIBLING = "https://plinth.example", "https://app.example", "https://blog.plinth.example"
Metadata = list[tuple[str, str]]


def cookie(token: str, **headers: str) -> Metadata:
    """As a browser sends it, among others."""
    pairs = f"theme=dark; {Cookie.ACCESS.key}={token}; __Host-plinth-other=1"
    return [("cookie", pairs), *((name.replace("_", "-"), value) for name, value in headers.items())]


@pytest.fixture
def rig() -> Iterator[SyncRig]:
    with SyncRig(public_url=f"{OURS}/console", cors_origins=(LISTED,)) as rig:
        yield rig


@pytest.fixture
def person(rig: SyncRig) -> Person:
    return rig.world.person()


class TestWhoCalls:
    def test_the_cookie_says_who_and_in_which_session(self, rig: SyncRig, person: Person) -> None:
        seen: list[Any] = []

        def remember(request: Any, context: Any) -> Any:
            del request, context
            seen.append(current_caller())
            return pb.Answer()

        rig.servicer.unary = remember
        rig.stub.GetSelf(pb.Ask(), metadata=cookie(person.token, sec_fetch_site="same-origin"), timeout=TIMEOUT)
        assert (seen[0].user_id, seen[0].session_id) == (person.user_id, person.session_id)

    def test_a_header_goes_before_it(self, rig: SyncRig) -> None:
        person, other = rig.world.person(), rig.world.person()
        rig.stub.GetSelf(pb.Ask(), metadata=[*bearer(person.token), *cookie(other.token)], timeout=TIMEOUT)
        assert [line["principal"] for line in rig.log] == [f"users/{person.user_id}"]

    def test_after_signing_out_it_is_worth_nothing(self, rig: SyncRig) -> None:
        person = rig.world.person()
        rig.world.sign_out(person)
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            rig.stub.GetSelf(pb.Ask(), metadata=cookie(person.token, origin=OURS), timeout=TIMEOUT)

    @pytest.mark.parametrize("header", ["", "theme=dark", "x__Host-plinth=1", "__Host-plinth", "__host-plinth=a", ";;"])
    def test_other_cookies_say_nothing(self, rig: SyncRig, header: str) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            rig.stub.GetSelf(pb.Ask(), metadata=[("cookie", header)], timeout=TIMEOUT)

    def test_it_holds_no_other_credentials_than_an_access_token(self, rig: SyncRig, person: Person) -> None:
        key = rig.world.api_key(rig.world.member()[0], person, "notes.read")
        for token in (key, rig.tokens.issue("tenancy"), "x" * 5000, "a.b.c"):
            with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
                rig.stub.GetSelf(pb.Ask(), metadata=cookie(token, origin=OURS), timeout=TIMEOUT)

    def test_it_is_never_logged(self, rig: SyncRig) -> None:
        person = rig.world.person()
        rig.stub.GetSelf(pb.Ask(), metadata=cookie(person.token, origin=OURS), timeout=TIMEOUT)
        _refused(rig, cookie(person.token, origin="https://evil.example"))
        written = str(rig.log) + str([span.to_json() for span in rig.exporter.get_finished_spans()])
        assert str(person.user_id) in written
        assert person.token[-40:] not in written


def _refused(rig: SyncRig, metadata: Metadata) -> None:
    with refused(StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
        rig.stub.GetSelf(pb.Ask(), metadata=metadata, timeout=TIMEOUT)


class TestForgery:
    """Every call here comes with a good cookie; who may have had the browser send it, is the question."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": OURS},
            {"origin": LISTED},
            {"origin": LISTED, "sec_fetch_site": "same-site"},
            {"sec_fetch_site": "same-origin"},
            {"sec_fetch_site": "same-origin", "origin": "http://localhost:8080"},
            {"sec_fetch_site": "none"},
        ],
        ids=str,
    )
    def test_a_page_of_ours_may_change_things(self, rig: SyncRig, person: Person, headers: dict[str, str]) -> None:
        rig.stub.GetSelf(pb.Ask(), metadata=cookie(person.token, **headers), timeout=TIMEOUT)
        assert rig.servicer.called == ["GetSelf"]

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"origin": "https://evil.example"},
            {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
            {"origin": SIBLING, "sec_fetch_site": "same-site"},
            {"origin": "null"},
            {"origin": ""},
            {"origin": f"{OURS}.evil.example"},
            {"origin": OURS.replace("https", "http")},
            {"origin": f"{OURS}:8443"},
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
            {"sec_fetch_site": ""},
            {"sec_fetch_site": "anything"},
            {"referer": f"{OURS}/"},
        ],
        ids=str,
    )
    def test_any_other_page_may_not(self, rig: SyncRig, person: Person, headers: dict[str, str]) -> None:
        _refused(rig, cookie(person.token, **headers))
        assert rig.servicer.called == []

    def test_what_only_reads_is_let_through_for_no_other_page_sees_the_answer(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.read")
        request = pb.AskOfNote(name=note_of(workspace))
        rig.stub.GetNote(request, metadata=cookie(person.token, sec_fetch_site="cross-site"), timeout=TIMEOUT)
        assert rig.servicer.called == ["GetNote"]

    def test_a_header_of_ones_own_needs_no_proof_for_no_other_page_can_add_it(self, rig: SyncRig) -> None:
        person = rig.world.person()
        rig.stub.GetSelf(pb.Ask(), metadata=[*person.metadata, ("origin", "https://evil.example")], timeout=TIMEOUT)
        assert rig.servicer.called == ["GetSelf"]

    def test_who_is_not_signed_in_is_told_that_first(self, rig: SyncRig) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            rig.stub.GetSelf(pb.Ask(), metadata=cookie("a.b.c", origin="https://evil.example"), timeout=TIMEOUT)

    def test_the_refusal_comes_before_names_and_rights_are_looked_at(self, rig: SyncRig, person: Person) -> None:
        with refused(StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
            rig.stub.MoveNote(pb.AskToMove(name="nonsense"), metadata=cookie(person.token), timeout=TIMEOUT)

    def test_who_asks_for_a_cookie_shows_where_the_page_is_from(self, rig: SyncRig) -> None:
        """Else a foreign page could sign its visitor in as somebody else."""
        with refused(StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
            rig.stub.Enter(pb.AskToEnter(cookie=True), metadata=[("sec-fetch-site", "cross-site")], timeout=TIMEOUT)
        rig.stub.Enter(pb.AskToEnter(cookie=True), metadata=[("origin", OURS)], timeout=TIMEOUT)
        rig.stub.Enter(pb.AskToEnter(), metadata=[("sec-fetch-site", "cross-site")], timeout=TIMEOUT)
        assert rig.servicer.called == ["Enter", "Enter"]


def test_a_stream_is_opened_by_cookie_on_threads_and_on_the_loop(either: Rig) -> None:
    workspace, person = either.world.member("notes.read")
    request = pb.AskOfNote(name=note_of(workspace), count=3)
    own_page = cookie(person.token, sec_fetch_site="same-origin")
    assert [answer.number for answer in either.stub.WatchNote(request, metadata=own_page, timeout=TIMEOUT)] == [0, 1, 2]
    with refused(StatusCode.PERMISSION_DENIED, "CSRF_REFUSED"):
        list(either.stub.WatchNote(request, metadata=cookie(person.token), timeout=TIMEOUT))


@pytest.mark.parametrize("url", ["https://Plinth.Example", "https://plinth.example/", "https://plinth.example/a/b?c"])
def test_the_origin_of_the_public_url_is_meant_however_it_is_written(url: str) -> None:
    stage = Csrf(settings_for_tests("", public_url=url))
    assert stage._origins == {"https://plinth.example"}
