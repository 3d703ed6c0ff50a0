"""The invalidation feed: what it tells, in which order, and how its silence is noticed."""

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel import unit_of_work
from services.kernel.caller import Caller
from services.kernel.db import Database, Session
from services.kernel.feed import (
    CHANNEL,
    MAX_SILENCE_SECONDS,
    ApiKeyRevoked,
    GrantChanged,
    Invalidation,
    InvalidationHub,
    PostgresFeed,
    ResourceChanged,
    SessionRevoked,
    UserSessionsRevoked,
    decode,
    encode,
)
from services.kernel.ids import new_id
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner
from tests.support.waiting import SLOWNESS_SECONDS, until

_UUIDS = st.uuids()
_INVALIDATIONS = st.one_of(
    st.builds(GrantChanged, _UUIDS, st.none() | _UUIDS),
    st.builds(SessionRevoked, _UUIDS),
    st.builds(UserSessionsRevoked, _UUIDS),
    st.builds(ApiKeyRevoked, _UUIDS),
    st.builds(ResourceChanged, _UUIDS),
)


class Listening:
    """A feed of another process: its own connection, which can be cut, and its own hub."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reachable = True
        self.pid = 0
        self.hub = InvalidationHub()
        self.heard: queue.Queue[Invalidation | None] = queue.Queue()
        self.hub.subscribe(self.heard.put)
        self.feed = PostgresFeed(self._connect, self.hub)

    def _connect(self) -> psycopg.Connection[Any]:
        if not self.reachable:
            raise psycopg.OperationalError
        connection = self._database.connect()
        self.pid = connection.info.backend_pid
        return connection

    def next(self) -> Invalidation | None:
        return self.heard.get(timeout=10)


@pytest.fixture
def listening(database: Database) -> Iterator[Listening]:
    listening = Listening(database)
    listening.feed.start()
    assert listening.next() is None, "whoever just came may have missed anything"
    until(listening.hub.healthy, "a heartbeat")
    yield listening
    listening.feed.stop()


class TestPayload:
    @given(_INVALIDATIONS)
    def test_comes_back(self, invalidation: Invalidation) -> None:
        assert decode(encode(invalidation)) == invalidation

    @given(st.text() | st.sampled_from(['{"kind": "GrantChanged"}', '{"kind": "New"}', "[]", "1", "null", "{}"]))
    def test_of_another_release_is_refused_as_such(self, payload: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            decode(payload)


class TestPostgresFeed:
    @pytest.mark.usefixtures("caller")
    def test_a_commit_in_one_process_reaches_the_other(self, listening: Listening, units: Units[Session]) -> None:
        told: list[Invalidation] = [GrantChanged(new_id(), new_id()), SessionRevoked(new_id()), ApiKeyRevoked(new_id())]
        with units() as uow:
            uow.invalidate(*told)
            uow.commit()
        assert [listening.next() for _ in told] == told

    @pytest.mark.usefixtures("caller")
    def test_what_is_watched_is_told_behind_the_commit_once(self, listening: Listening, units: Units[Session]) -> None:
        listening.hub.subscribe(listening.heard.put, [ResourceChanged])
        changed, last = [ResourceChanged(new_id()), ResourceChanged(new_id())], ResourceChanged(new_id())
        with units() as uow:
            uow.announce(changed[0])
            uow.announce(*changed)
            uow.commit()
        with units() as uow:
            uow.announce(ResourceChanged(new_id()))
        with units() as uow:
            uow.announce(last)
            uow.commit()
        assert [listening.next() for _ in range(3)] == [*changed, last]

    @pytest.mark.usefixtures("caller")
    def test_what_cannot_be_told_to_watchers_is_committed_all_the_same(
        self, listening: Listening, units: Units[Session], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        revoked = SessionRevoked(new_id())
        with units() as uow:
            uow.invalidate(revoked)
            uow.announce(ResourceChanged(new_id()))
            # More than PostgreSQL takes.
            monkeypatch.setattr(unit_of_work, "encode", lambda _: "x" * 8000)
            uow.commit()
        assert listening.next() == revoked

    def test_what_is_rolled_back_is_not_told(self, listening: Listening, units: Units[Session], caller: Caller) -> None:
        with units() as uow:
            uow.invalidate(GrantChanged(caller.require_workspace()))
        last = SessionRevoked(new_id())
        with units() as uow:
            uow.invalidate(last)
            uow.commit()
        assert listening.next() == last

    def test_what_it_does_not_understand_may_be_anything(self, listening: Listening, owner: Owner) -> None:
        owner.execute("select pg_notify(%s, 'from the future')", [CHANNEL])
        assert listening.next() is None

    def test_a_heartbeat_comes_after_all_that_was_committed_before_it_was_sent(
        self, database: Database, owner: Owner
    ) -> None:
        story: list[Invalidation | str] = []

        class Witness(InvalidationHub):
            def publish(self, invalidation: Invalidation | None) -> None:
                if invalidation is not None:
                    story.append(invalidation)

            def beat(self, source: str, sent: float) -> None:
                super().beat(source, sent)
                story.append("beat")

        class Raced(PostgresFeed):
            """Something is always committed just before the heartbeat is sent."""

            def _listen(self, connection: psycopg.Connection[Any]) -> None:
                one = SessionRevoked(new_id())
                owner.execute("select pg_notify(%s, %s)", [CHANNEL, encode(one)])
                committed.append(one)
                super()._listen(connection)

        committed: list[Invalidation] = []
        feed = Raced(database.connect, Witness())
        feed.start()
        until(lambda: story.count("beat") >= 4, "four heartbeats")
        feed.stop()
        expected = [entry for one in committed for entry in (one, "beat")]
        assert story == expected


class TestSilence:
    def test_a_cut_feed_is_unhealthy_within_a_second(self, listening: Listening, owner: Owner) -> None:
        listening.reachable = False
        owner.execute("select pg_terminate_backend(%s, 5000)", [listening.pid])
        cut = time.monotonic()
        until(lambda: not listening.hub.healthy(), "unhealthy")
        assert time.monotonic() - cut <= MAX_SILENCE_SECONDS + SLOWNESS_SECONDS

    def test_a_reconnect_tells_that_anything_may_have_been_missed(self, listening: Listening, owner: Owner) -> None:
        listening.reachable = False
        owner.execute("select pg_terminate_backend(%s, 5000)", [listening.pid])
        until(lambda: not listening.hub.healthy(), "unhealthy")
        owner.execute("select pg_notify(%s, %s)", [CHANNEL, encode(SessionRevoked(new_id()))])
        listening.reachable = True
        assert listening.next() is None
        until(listening.hub.healthy, "healthy")
        after = SessionRevoked(new_id())
        owner.execute("select pg_notify(%s, %s)", [CHANNEL, encode(after)])
        assert listening.next() == after

    def test_its_thread_ends_when_it_is_stopped_even_while_cut(self, listening: Listening, owner: Owner) -> None:
        listening.reachable = False
        owner.execute("select pg_terminate_backend(%s, 5000)", [listening.pid])
        listening.feed.stop()
        assert not listening.feed._thread.is_alive()


class TestHub:
    def test_a_hub_without_a_source_is_never_healthy(self, hub: InvalidationHub) -> None:
        assert not hub.healthy()

    def test_is_as_healthy_as_its_least_healthy_source(self, hub: InvalidationHub) -> None:
        hub.expect("a")
        hub.expect("b")
        hub.beat("a", time.monotonic())
        assert not hub.healthy()
        hub.beat("b", time.monotonic())
        assert hub.healthy()
        hub.beat("a", time.monotonic() - MAX_SILENCE_SECONDS)
        assert not hub.healthy()

    def test_what_is_watched_is_heard_by_those_alone_who_ask_for_it(self, hub: InvalidationHub) -> None:
        caches: list[Invalidation | None] = []
        streams: list[Invalidation | None] = []
        hub.subscribe(caches.append)
        hub.subscribe(streams.append, (ResourceChanged,))
        moved, revoked = ResourceChanged(UUID(int=1)), SessionRevoked(UUID(int=3))
        for one in (moved, revoked, None):
            hub.publish(one)
        assert (caches, streams) == ([revoked, None], [moved, None])

    def test_of_a_thousand_watchers_those_alone_are_called_whose_own_it_is(self, hub: InvalidationHub) -> None:
        calls: list[int] = []
        for number in range(1000):
            # A thousand resources of two workspaces.
            topics = [(ResourceChanged, UUID(int=number)), (GrantChanged, UUID(int=number % 2))]
            hub.subscribe(lambda _, number=number: calls.append(number), topics)  # type: ignore[misc]  # mypy knows no lambda with a default
        hub.publish(ResourceChanged(UUID(int=7)))
        assert calls == [7]
        hub.publish(GrantChanged(UUID(int=1)))
        assert calls[1:] == list(range(1, 1000, 2))
        hub.publish(SessionRevoked(UUID(int=7)))
        assert len(calls) == 501
        hub.publish(None)
        assert calls[501:] == list(range(1000))

    def test_who_left_hears_no_more(self, hub: InvalidationHub) -> None:
        heard: list[tuple[str, Invalidation | None]] = []
        listeners: list[Callable[[Invalidation | None], None]] = [
            lambda one: heard.append(("first", one)),
            lambda one: heard.append(("second", one)),
        ]
        leave, _ = [hub.subscribe(listener) for listener in listeners]
        leave()
        hub.publish(SessionRevoked(UUID(int=1)))
        assert heard == [("second", SessionRevoked(UUID(int=1)))]
