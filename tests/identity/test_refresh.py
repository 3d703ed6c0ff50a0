"""Refresh tokens: rotation, grace, reuse."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.identity.v1 import session_service_pb2 as sessions
from plinth.identity.v1 import user_service_pb2 as users
from services.identity.errors import RefreshTokenInvalid, RefreshTokenReused
from services.identity.model.sessions import format_token
from tests.identity.island import Island
from tests.support.errors import refused
from tests.support.people import People


class TestRefresh:
    def test_each_token_is_replaced_by_its_successor(self, island: Island) -> None:
        first = island.new()
        second = island.refresh(first.refresh_token)
        third = island.refresh(second.refresh_token)
        assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
        assert {first.session.id, second.session.id, third.session.id} == {first.session.id}

    def test_a_lost_answer_can_be_asked_for_again(self, island: Island) -> None:
        first = island.new()
        lost = island.refresh(first.refresh_token)
        island.later(seconds=30)
        assert island.refresh(first.refresh_token).refresh_token == lost.refresh_token

    def test_after_the_grace_the_old_token_ends_the_family_and_the_audit_log_says_why(self, island: Island) -> None:
        first = island.new()
        second = island.refresh(first.refresh_token)
        island.later(seconds=31)
        with pytest.raises(RefreshTokenReused):
            island.refresh(first.refresh_token)
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(second.refresh_token)
        action, detail = island.audit_rows(first.user.id)[-1]
        assert (action, detail["reason"]) == ("session.revoked.v1", "REVOKE_REASON_TOKEN_REUSED")
        assert detail["sessionId"] == str(first.session.id)

    def test_using_the_successor_ends_the_grace(self, island: Island) -> None:
        first = island.new()
        island.refresh(island.refresh(first.refresh_token).refresh_token)
        with pytest.raises(RefreshTokenReused):
            island.refresh(first.refresh_token)

    def test_a_token_of_long_ago_is_still_recognised_as_stolen(self, island: Island) -> None:
        latest = first = island.new()
        for _ in range(20):
            island.later(hours=1)
            latest = island.refresh(latest.refresh_token)
        with pytest.raises(RefreshTokenReused):
            island.refresh(first.refresh_token)

    def test_whoever_knows_a_session_s_id_cannot_end_it(self, island: Island) -> None:
        person = island.new()
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(format_token(b"guess" * 7, person.session.id, 0))
        assert island.refresh(person.refresh_token).session.id == person.session.id

    @pytest.mark.parametrize("token", ["plr_", "nonsense", "plr_" + "A" * 70])
    def test_what_is_no_token_is_refused(self, island: Island, token: str) -> None:
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(token)

    def test_a_session_ends_when_it_is_not_used_for_30_days(self, island: Island) -> None:
        used, unused = island.new(), island.new()
        island.later(days=29)
        used = island.refresh(used.refresh_token)
        island.later(days=2)
        island.refresh(used.refresh_token)
        with pytest.raises(RefreshTokenInvalid):
            island.refresh(unused.refresh_token)

    def test_what_is_stored_cannot_be_sent(self, island: Island) -> None:
        person = island.new()
        (row,) = island.owner.execute("select s::text from identity.sessions s where id = %s", [person.session.id])
        assert person.refresh_token.removeprefix("plr_")[-20:] not in row[0]


class TestAtOnce:
    def test_a_hundred_refreshes_of_one_token_give_one_session_and_no_logout(self, people: People) -> None:
        person = people.new()

        def refresh(_: int) -> str:
            request = auth.RefreshRequest(refresh_token=person.refresh_token)
            return people.stubs.auth.Refresh(request, timeout=30).refresh_token

        with ThreadPoolExecutor(16) as pool:
            successors = set(pool.map(refresh, range(100)))
        assert len(successors) == 1
        assert len(person.stubs.sessions.ListSessions(sessions.ListSessionsRequest()).sessions) == 1
        answer = people.stubs.auth.Refresh(auth.RefreshRequest(refresh_token=successors.pop()))
        assert answer.user.name == person.name

    def test_reuse_ends_the_access_token_too(self, people: People) -> None:
        person = people.new()

        def refresh(token: str) -> str:
            return people.stubs.auth.Refresh(auth.RefreshRequest(refresh_token=token)).refresh_token

        refresh(refresh(person.refresh_token))
        with refused(grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED"):
            refresh(person.refresh_token)
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            person.stubs.users.GetMe(users.GetMeRequest())
