"""What a caller may do, from the moment it is given to the moment it is taken away."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grpc import StatusCode

from interceptors.cache import FeedCache
from services.kernel.errors import DependencyUnavailable
from services.kernel.feed import GrantChanged, Invalidation, SessionRevoked
from services.kernel.ids import new_id
from tests.support.acting import at_once
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, Rig
from tests.support.scratch import pb
from tests.support.world import Person, SwitchedHub, note_of


def _read(rig: Rig, workspace: Any, person: Person) -> None:
    rig.stub.GetNote(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)


class TestGrant:
    def test_is_asked_for_once_while_nothing_changes(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        for _ in range(5):
            _read(either, workspace, person)
        assert either.world.grants.asked == {(workspace, person.user_id): 1}

    def test_that_is_taken_away_is_felt_at_the_next_call(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        _read(either, workspace, person)
        either.world.remove(workspace, person)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            _read(either, workspace, person)

    def test_that_is_cut_down_is_felt_at_the_next_call(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        _read(either, workspace, person)
        either.world.grant(workspace, person, "notes.write")
        with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            _read(either, workspace, person)

    def test_that_is_given_is_felt_at_the_next_call_even_if_nobody_was_told(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.write")
        for _ in range(2):
            with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
                _read(either, workspace, person)
        either.world.grant(workspace, person, "notes.read", tell=False)
        _read(either, workspace, person)

    def test_a_refusal_is_never_remembered(self, either: Rig) -> None:
        workspace, person = new_id(), either.world.person()
        for _ in range(2):
            with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
                _read(either, workspace, person)
        either.world.grant(workspace, person, "notes.read")
        _read(either, workspace, person)

    def test_while_the_feed_is_silent_every_call_reads_it(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        _read(either, workspace, person)
        either.hub.up = False
        for _ in range(3):
            _read(either, workspace, person)
        assert either.world.grants.asked == {(workspace, person.user_id): 4}
        either.world.remove(workspace, person, tell=False)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            _read(either, workspace, person)

    def test_that_changed_while_the_feed_was_cut_is_read_again_after_a_reconnect(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        _read(either, workspace, person)
        either.world.remove(workspace, person, tell=False)
        either.hub.publish(None)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            _read(either, workspace, person)

    def test_that_cannot_be_looked_up_lets_nobody_in(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")

        def down() -> None:
            raise DependencyUnavailable("tenancy")

        either.world.grants.hook = down
        with refused(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE") as refusal:
            _read(either, workspace, person)
        assert refusal.retry_seconds is not None
        assert either.servicer.called == []


class TestFeedCache:
    @pytest.fixture
    def hub(self) -> SwitchedHub:
        return SwitchedHub()

    @pytest.fixture
    def cache(self, hub: SwitchedHub) -> FeedCache[Any, str]:
        def concerns(invalidation: Invalidation, key: Any, _: str) -> bool:
            return isinstance(invalidation, GrantChanged) and invalidation.workspace_id == key

        return FeedCache(hub, concerns)

    def _kept(self, cache: FeedCache[Any, str], key: Any) -> bool:
        return cache.get(key, lambda: "found again") != "found again"

    def test_keeps_what_it_found_until_it_changes(self, cache: FeedCache[Any, str], hub: SwitchedHub) -> None:
        one, other = new_id(), new_id()
        for key in (one, other):
            assert cache.get(key, lambda: "value") == "value"
        hub.publish(SessionRevoked(new_id()))
        assert self._kept(cache, one)
        hub.publish(GrantChanged(one))
        assert self._kept(cache, other)
        assert not self._kept(cache, one)

    @pytest.mark.parametrize("everything", [False, True])
    def test_does_not_keep_what_an_invalidation_overtook(
        self, cache: FeedCache[Any, str], hub: SwitchedHub, everything: bool
    ) -> None:
        key = new_id()

        def overtaken() -> str:
            hub.publish(None if everything else GrantChanged(key))
            return "read before the change"

        assert cache.get(key, overtaken) == "read before the change"
        assert not self._kept(cache, key)

    def test_a_slow_reader_of_before_the_change_does_not_undo_it(
        self, cache: FeedCache[Any, str], hub: SwitchedHub
    ) -> None:
        key, reading, changed = new_id(), threading.Event(), threading.Event()

        def slow() -> str:
            reading.set()
            assert changed.wait(10)
            return "read before the change"

        def change() -> str:
            assert reading.wait(10)
            hub.publish(GrantChanged(key))
            assert cache.get(key, lambda: "read after it") == "read after it"
            changed.set()
            return "changed"

        parts: Iterator[Callable[[], str | None]] = iter([lambda: cache.get(key, slow), change])

        def play() -> str | None:
            return next(parts)()

        assert set(at_once(2, play)) == {"read before the change", "changed"}
        assert cache.get(key, lambda: "found again") == "read after it"

    def test_never_keeps_that_there_is_nothing(self, cache: FeedCache[Any, str]) -> None:
        key = new_id()
        assert cache.get(key, lambda: None) is None
        assert cache.get(key, lambda: "now there is") == "now there is"

    def test_forgets_what_is_found_to_be_gone(self, cache: FeedCache[Any, str]) -> None:
        key = new_id()
        cache.get(key, lambda: "value")
        assert cache.refresh(key, lambda: None) is None
        assert not self._kept(cache, key)

    def test_keeps_nothing_of_a_look_up_that_failed(self, cache: FeedCache[Any, str]) -> None:
        key = new_id()

        def fail() -> str:
            raise DependencyUnavailable("tenancy")

        with pytest.raises(DependencyUnavailable):
            cache.get(key, fail)
        assert cache.get(key, lambda: "value") == "value"

    def test_does_not_grow_without_bound(self, cache: FeedCache[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("interceptors.cache._MAX_ENTRIES", 10)
        finder: Callable[[], str] = lambda: "value"  # noqa: E731
        for _ in range(50):
            cache.get(new_id(), finder)
        assert len(cache._entries) == 10
