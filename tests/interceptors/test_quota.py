"""Rate limits by class and caller, and metered calls."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from interceptors import quota as quota_module
from interceptors.quota import TokenBuckets
from services.kernel.caller import Caller
from services.kernel.errors import ResourceExhausted
from services.kernel.names import WORKSPACE
from tests.support.acting import at_once
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.world import bearer


class HeldClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


_RATES = st.floats(0.1, 1000)
_BURSTS = st.floats(0.01, 60)
_STEPS = st.lists(st.floats(0, 20), max_size=60)


class TestTokenBuckets:
    @given(_RATES, _BURSTS, _STEPS)
    def test_let_no_more_through_than_the_burst_and_the_rate(
        self, rate: float, burst: float, steps: list[float]
    ) -> None:
        clock = HeldClock()
        buckets = TokenBuckets({"standard": rate}, burst, clock)
        passed = 0
        for step in steps:
            clock.now += step
            passed += buckets.take("standard", "me") is None
        assert passed <= max(1.0, rate * burst) + rate * sum(steps) + 1e-6

    @given(_RATES, _BURSTS, _STEPS)
    def test_who_waits_as_long_as_told_is_let_through(self, rate: float, burst: float, steps: list[float]) -> None:
        clock = HeldClock()
        buckets = TokenBuckets({"standard": rate}, burst, clock)
        for step in steps:
            clock.now += step
            wait = buckets.take("standard", "me")
            if wait is not None:
                assert timedelta() <= wait <= timedelta(seconds=1 / rate + 1e-5)
                clock.now += wait.total_seconds() + 1e-5
                assert buckets.take("standard", "me") is None

    @given(_RATES, _BURSTS)
    def test_a_full_one_holds_its_burst(self, rate: float, burst: float) -> None:
        buckets = TokenBuckets({"standard": rate}, burst, HeldClock())
        passed = 0
        while passed < 100_000 and buckets.take("standard", "me") is None:
            passed += 1
        assert passed == int(max(1.0, rate * burst))

    def test_of_other_callers_and_classes_are_others(self) -> None:
        buckets = TokenBuckets({"standard": 1, "bulk": 1}, 1, HeldClock())
        assert buckets.take("standard", "me") is None
        assert buckets.take("standard", "me") is not None
        assert buckets.take("standard", "you") is None
        assert buckets.take("bulk", "me") is None

    def test_let_no_more_through_when_many_take_at_once(self) -> None:
        buckets = TokenBuckets({"standard": 100}, 1, HeldClock())
        taken = at_once(8, lambda: sum(buckets.take("standard", "me") is None for _ in range(100)))
        assert sum(taken) == 100

    def test_do_not_grow_without_bound_and_forget_no_empty_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(quota_module, "_MAX_BUCKETS", 10)
        clock = HeldClock()
        buckets = TokenBuckets({"standard": 0.1}, 1, clock)
        for number in range(10):
            buckets.take("standard", str(number))
        clock.now += 5
        assert buckets.take("standard", "another") is None
        assert buckets.take("standard", "9") is not None, "half full, and forgotten"
        for number in range(100):
            assert buckets.take("standard", f"stranger {number}") is None
            assert len(buckets._buckets) <= 10


class TestRateLimit:
    def test_of_a_person_is_the_same_in_all_sessions_and_methods_of_a_class(self) -> None:
        with SyncRig(rate_standard=1.0, rate_burst_seconds=2.0) as rig:
            person, other = rig.world.person(), rig.world.person()
            again = rig.world.token(sub=str(person.user_id), sid=str(person.session_id), jti="another")
            for token in (person.token, again):
                rig.stub.GetSelf(pb.Ask(), metadata=bearer(token), timeout=TIMEOUT)
            with refused(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED") as refusal:
                rig.stub.GetSelf(pb.Ask(), metadata=bearer(again), timeout=TIMEOUT)
            assert refusal.metadata == {"rate_class": "standard"}
            assert refusal.retry_seconds is not None
            assert 0 < refusal.retry_seconds <= 1
            rig.stub.GetSelf(pb.Ask(), metadata=other.metadata, timeout=TIMEOUT)

    def test_of_credentials_is_the_sources_whoever_it_says_to_be(self) -> None:
        with SyncRig(rate_credentials=1.0, rate_burst_seconds=2.0) as rig:
            here, there = [("x-envoy-external-address", address) for address in ("203.0.113.1", "203.0.113.2")]
            for _ in range(2):
                rig.stub.Attempt(pb.Ask(), metadata=[here], timeout=TIMEOUT)
            with refused(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"):
                rig.stub.Attempt(pb.Ask(), metadata=[here, *rig.world.person().metadata], timeout=TIMEOUT)
            rig.stub.Attempt(pb.Ask(), metadata=[there], timeout=TIMEOUT)
            rig.stub.Ping(pb.Ask(), metadata=[here], timeout=TIMEOUT)

    def test_draws_nothing_for_who_is_refused_access(self) -> None:
        with SyncRig(rate_bulk=1.0, rate_burst_seconds=1.0) as rig:
            workspace, person = rig.world.member()
            ask = pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace))
            for _ in range(3):
                with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
                    rig.stub.Export(ask, metadata=person.metadata, timeout=TIMEOUT)
            rig.world.grant(workspace, person, "notes.read")
            rig.stub.Export(ask, metadata=person.metadata, timeout=TIMEOUT)

    def test_does_not_concern_services_of_the_mesh(self) -> None:
        with SyncRig(rate_standard=1.0, rate_burst_seconds=1.0) as rig:
            for _ in range(5):
                rig.stub.Tell(pb.Ask(), metadata=bearer(rig.tokens.issue("tenancy")), timeout=TIMEOUT)


class Meters:
    """A quota of `left` units."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.settled: list[bool] = []

    def reserve(self, caller: Caller, meter: str, cost: int) -> Callable[[bool], None]:
        assert (caller.user_id is not None, meter) == (True, "exports")
        if cost > self.left:
            raise QuotaSpent("No exports are left.")
        self.left -= cost

        def settle(succeeded: bool) -> None:
            self.settled.append(succeeded)
            self.left += 0 if succeeded else cost

        return settle


class QuotaSpent(ResourceExhausted):
    reason = "RATE_LIMITED"


class TestMeter:
    def test_charges_what_succeeded_and_gives_back_the_rest(self) -> None:
        meters = Meters(left=6)
        with SyncRig(quota=meters) as rig:
            workspace, person = rig.world.member("notes.read")
            ask = pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace))
            rig.stub.Export(ask, metadata=person.metadata, timeout=TIMEOUT)
            assert meters.left == 3
            with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
                rig.stub.Export(
                    pb.AskOfWorkspace(parent=ask.parent, text="x" * 11), metadata=person.metadata, timeout=TIMEOUT
                )
            assert meters.left == 3
            rig.stub.Export(ask, metadata=person.metadata, timeout=TIMEOUT)
            with refused(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"):
                rig.stub.Export(ask, metadata=person.metadata, timeout=TIMEOUT)
        assert (meters.left, meters.settled) == (0, [True, False, True])
