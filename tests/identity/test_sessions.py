"""Seeing and ending sessions."""

import uuid

import grpc

from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.identity.v1 import session_service_pb2 as sessions
from plinth.identity.v1 import user_service_pb2 as users
from tests.identity.island import Island
from tests.support.errors import refused
from tests.support.people import People, Person


def list_names(person: Person) -> list[str]:
    return [s.name for s in person.stubs.sessions.ListSessions(sessions.ListSessionsRequest()).sessions]


def is_signed_in(person: Person) -> bool:
    try:
        person.stubs.users.GetMe(users.GetMeRequest())
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise
    return True


class TestListSessions:
    def test_the_latest_comes_first_and_the_calling_one_is_marked(self, people: People) -> None:
        first = people.new()
        second = people.sign_in(first.email)
        listed = first.stubs.sessions.ListSessions(sessions.ListSessionsRequest()).sessions
        assert [session.current for session in listed] == [False, True]
        assert listed[0].name == second.stubs.sessions.ListSessions(sessions.ListSessionsRequest()).sessions[0].name
        assert listed[0].source
        assert listed[0].expire_time.seconds > listed[0].create_time.seconds

    def test_it_pages_to_the_end(self, people: People) -> None:
        person = people.new()
        for _ in range(6):
            people.sign_in(person.email)
        found, token = [], ""
        while True:
            page = person.stubs.sessions.ListSessions(sessions.ListSessionsRequest(page_size=3, page_token=token))
            found += [session.name for session in page.sessions]
            token = page.next_page_token
            if not token:
                break
        assert found == list_names(person)
        assert len(found) == 7

    def test_a_token_of_somebody_else_s_list_is_refused(self, people: People) -> None:
        first, second = people.new(), people.new()
        people.sign_in(first.email)
        token = first.stubs.sessions.ListSessions(sessions.ListSessionsRequest(page_size=1)).next_page_token
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            second.stubs.sessions.ListSessions(sessions.ListSessionsRequest(page_size=1, page_token=token))


class TestRevokeSession:
    def test_the_next_call_of_a_revoked_session_is_refused(self, people: People) -> None:
        here = people.new()
        there = people.sign_in(here.email)
        assert is_signed_in(there)
        here.stubs.sessions.RevokeSession(sessions.RevokeSessionRequest(name=list_names(here)[0]))
        assert not is_signed_in(there)
        assert is_signed_in(here)

    def test_revoking_twice_succeeds(self, people: People) -> None:
        here = people.new()
        people.sign_in(here.email)
        name = list_names(here)[0]
        for _ in range(2):
            here.stubs.sessions.RevokeSession(sessions.RevokeSessionRequest(name=name))

    def test_somebody_else_s_session_is_not_found(self, people: People) -> None:
        mine, theirs = people.new(), people.new()
        for name in (list_names(theirs)[0], f"me/sessions/{uuid.uuid4()}"):
            with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
                mine.stubs.sessions.RevokeSession(sessions.RevokeSessionRequest(name=name))
        assert is_signed_in(theirs)


class TestRevokeOtherSessions:
    def test_only_the_calling_one_stays(self, people: People) -> None:
        here = people.new()
        others = [people.sign_in(here.email) for _ in range(3)]
        request = sessions.RevokeOtherSessionsRequest(request_id=str(uuid.uuid4()))
        answers = [here.stubs.sessions.RevokeOtherSessions(request).revoked_count for _ in range(2)]
        assert answers == [3, 3], "a repeated request_id gets the first answer"
        assert is_signed_in(here)
        assert not any(map(is_signed_in, others))


class TestSignOut:
    def test_the_session_ends(self, people: People) -> None:
        person = people.new()
        person.stubs.auth.SignOut(auth.SignOutRequest(request_id=str(uuid.uuid4())))
        assert not is_signed_in(person)
        with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
            people.stubs.auth.Refresh(auth.RefreshRequest(refresh_token=person.refresh_token))


class TestState:
    def test_a_use_is_noted_at_most_once_a_minute(self, island: Island) -> None:
        person = island.new()

        def last_used() -> object:
            with island.acting(person):
                return island.services.sessions.list_own(1, "")[0][0].session.last_used_time

        began = last_used()
        for _ in range(3):
            island.later(seconds=25)
            island.services.sessions.state(person.session.id)
        assert last_used() == island.clock.now()
        island.later(seconds=25)
        island.services.sessions.state(person.session.id)
        assert began != last_used() != island.clock.now()

    def test_an_expired_session_does_not_live(self, island: Island) -> None:
        person = island.new()
        assert island.services.sessions.state(person.session.id) is not None
        island.later(days=30)
        assert island.services.sessions.state(person.session.id) is None
        assert island.services.sessions.state(uuid.uuid4()) is None
