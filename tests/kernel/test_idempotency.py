"""One effect per request_id, and the same answer for everyone who asked."""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from plinth.tenancy.v1 import events_pb2
from services.kernel import db, idempotency
from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope, Session
from services.kernel.errors import CallDeadlineExceeded, DependencyUnavailable, RequestIdReused, RequestInProgress
from services.kernel.idempotency import Claim, Key, Replay, claiming
from services.kernel.ids import new_id
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import UnitOfWork, Units
from tests.kernel.conftest import Owner
from tests.support.acting import acting, at_once, deadline

EVENT = events_pb2.WorkspaceCreated(display_name="Acme")


class Calls:
    """Calls with a request_id, as the chain makes them."""

    def __init__(self, units: Units[Session], caller: Caller, keyring: Keyring, owner: Owner) -> None:
        self._units, self._caller, self._keyring, self._owner = units, caller, keyring, owner
        self.subject = str(new_id())
        self.request_id = str(new_id())

    def claim(self, payload: bytes = b"payload", caller: Caller | None = None, method: str = "/a/B") -> Claim:
        who = caller or self._caller
        key = Key(who.principal, who.require_workspace(), method, self.request_id)
        return Claim(key, hashlib.sha256(payload).digest(), self._keyring)

    def call(
        self,
        claim: Claim | None = None,
        answer: Callable[[], bytes] = lambda: str(new_id()).encode(),
        work: Callable[[UnitOfWork[Session]], None] = lambda _: None,
    ) -> bytes:
        claim = claim or self.claim()
        with acting(self._caller), claiming(claim):
            try:
                with self._units() as uow:
                    uow.emit(self.subject, EVENT)
                    work(uow)
                    uow.commit()
            except Replay as replay:
                return replay.answer
            given = answer()
            claim.answered(given)
            return given

    def effects(self) -> int:
        return len(self._owner.execute("select 1 from kernel.outbox where subject = %s", [self.subject]).fetchall())

    def stored(self) -> list[dict[str, object]]:
        return self._owner.execute(
            "select * from kernel.idempotency where request_id = %s", [self.request_id]
        ).fetchall()


@pytest.fixture
def calls(units: Units[Session], caller: Caller, keyring: Keyring, owner: Owner) -> Calls:
    return Calls(units, caller, keyring, owner)


class TestReplay:
    def test_the_second_call_gets_the_first_answer_and_does_nothing(self, calls: Calls) -> None:
        first = calls.call()
        assert calls.call() == first
        assert calls.effects() == 1

    def test_fifty_at_once_have_one_effect_and_one_answer(self, calls: Calls) -> None:
        answers = at_once(50, calls.call)
        assert len(set(answers)) == 1
        assert calls.effects() == 1

    def test_another_payload_is_refused(self, calls: Calls) -> None:
        calls.call()
        with pytest.raises(RequestIdReused) as raised:
            calls.call(calls.claim(b"another"))
        assert [violation.field for violation in raised.value.violations] == ["request_id"]
        assert calls.effects() == 1

    def test_another_principal_workspace_or_method_is_another_call(self, calls: Calls, caller: Caller) -> None:
        others = [
            calls.claim(caller=Caller(user_id=new_id(), workspace_id=caller.workspace_id)),
            calls.claim(caller=Caller(user_id=caller.user_id, workspace_id=new_id())),
            calls.claim(method="/a/C"),
        ]
        answers = {calls.call(), *(calls.call(other) for other in others)}
        assert len(answers) == 4
        assert calls.effects() == 4

    def test_a_call_may_read_before_it_writes(self, calls: Calls, units: Units[Session], caller: Caller) -> None:
        claim = calls.claim()
        with acting(caller), claiming(claim):
            with units():
                pass
            with units() as uow:
                uow.emit(calls.subject, EVENT)
                uow.commit()
            claim.answered(b"answer")
        assert calls.call() == b"answer"
        assert calls.effects() == 1


class TestWaiting:
    def test_who_comes_meanwhile_is_asked_to_come_again(self, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(db, "_LOCK_TIMEOUT", "50ms")

        def meanwhile(_: UnitOfWork[Session]) -> None:
            with pytest.raises(RequestInProgress) as raised:
                at_once(1, calls.call)
            assert raised.value.retry_after is not None

        calls.call(work=meanwhile)
        assert calls.effects() == 1

    def test_who_waits_waits_no_longer_than_the_call_may_last(self, calls: Calls) -> None:
        def in_a_hurry() -> bytes:
            with deadline(time.monotonic() + 0.05):
                return calls.call()

        def meanwhile(_: UnitOfWork[Session]) -> None:
            with pytest.raises(CallDeadlineExceeded):
                at_once(1, in_a_hurry)

        calls.call(work=meanwhile)
        assert calls.effects() == 1


class TestFailure:
    def test_is_not_kept(self, calls: Calls) -> None:
        def fail(_: UnitOfWork[Session]) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            calls.call(work=fail)
        assert calls.stored() == []
        calls.call()
        assert calls.effects() == 1

    def test_between_effect_and_answer_keeps_neither(self, calls: Calls) -> None:
        def fail() -> bytes:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            calls.call(answer=fail)
        assert (calls.effects(), calls.stored()) == (0, [])
        calls.call()
        assert calls.effects() == 1

    def test_of_the_database_between_effect_and_answer_is_a_missing_dependency(
        self, calls: Calls, owner: Owner
    ) -> None:
        pids: list[int] = []

        def remember(uow: UnitOfWork[Session]) -> None:
            pids.append(uow.session._connection.info.backend_pid)

        def cut_off() -> bytes:
            owner.execute("select pg_terminate_backend(%s, 5000)", pids)
            return b"never stored"

        with pytest.raises(DependencyUnavailable):
            calls.call(work=remember, answer=cut_off)
        assert (calls.effects(), calls.stored()) == (0, [])

    def test_leaves_the_thread_free_for_the_next_call(self, calls: Calls, units: Units[Session]) -> None:
        claim = calls.claim()
        with claiming(claim), units() as uow:
            uow.commit()
        with units():
            pass

    def test_a_call_that_would_commit_twice_is_a_fault_of_ours(self, calls: Calls, units: Units[Session]) -> None:
        with claiming(calls.claim()):
            with units() as uow:
                uow.emit(calls.subject, EVENT)
                uow.commit()
            with pytest.raises(RuntimeError), units():
                pass
        assert calls.effects() == 0


class TestKeeping:
    def test_a_key_is_kept_for_a_day(self, calls: Calls, clock: FrozenClock) -> None:
        first = calls.call()
        clock.advance(timedelta(hours=24) - timedelta(seconds=1))
        assert calls.call() == first
        clock.advance(timedelta(seconds=1))
        second = calls.call()
        assert second != first
        assert calls.effects() == 2
        assert calls.call() == second

    def test_past_its_day_a_key_takes_another_payload(self, calls: Calls, clock: FrozenClock) -> None:
        calls.call()
        clock.advance(timedelta(hours=24))
        calls.call(calls.claim(b"another"))
        with pytest.raises(RequestIdReused):
            calls.call()

    def test_the_sweep_takes_what_is_no_longer_kept(self, calls: Calls, clock: FrozenClock, database: Database) -> None:
        calls.call()
        for passed, left in ((timedelta(hours=23), 1), (timedelta(hours=1), 0)):
            clock.advance(passed)
            with database.transaction(Scope("plinth_kernel")) as session:
                idempotency.sweep(session, clock.now())
                session.commit()
            assert len(calls.stored()) == left

    def test_the_answer_is_encrypted_at_rest_and_bound_to_its_key(self, calls: Calls, owner: Owner) -> None:
        calls.call(answer=lambda: b"plk_a-secret-key")
        (row,) = calls.stored()
        assert b"secret" not in bytes(row["answer"])  # type: ignore[call-overload]  # bytea
        other = Calls(calls._units, calls._caller, calls._keyring, owner)
        other.call()
        owner.execute(
            "update kernel.idempotency set answer = %s where request_id = %s", [row["answer"], other.request_id]
        )
        with pytest.raises(Exception, match="cannot be decrypted"):
            other.call()
