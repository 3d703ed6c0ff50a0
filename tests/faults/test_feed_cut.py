"""The invalidation feed is cut: caches count for a second and no longer, nobody is refused who may, and it heals."""

import statistics
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import pytest

from plinth.identity.v1 import session_service_pb2
from plinth.tenancy.v1 import access_service_pb2
from tests.faults.office import Office
from tests.faults.refusal_times import BORNE_SECONDS, Probe, let_in_for, outcome, warm
from tests.support.errors import refused
from tests.support.fleet import SERVERS, Fleet
from tests.support.stubs import Stubs

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.e2e]

OK, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND
UNKNOWN_CALLER = grpc.StatusCode.UNAUTHENTICATED


@contextmanager
def silent(fleet: Fleet) -> Iterator[None]:
    """Every server's feed hangs."""
    with fleet.silent_feeds():
        yield


@contextmanager
def flapping(fleet: Fleet) -> Iterator[None]:
    """Every server's feed is cut again as soon as it is back."""
    stop = threading.Event()

    def cut() -> int:
        times = 0
        while not stop.wait(0.05):
            times += fleet.end_feeds()
        return times

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut)
        try:
            yield
        finally:
            stop.set()
        assert cutting.result() >= SERVERS


Cut = Callable[[Fleet], AbstractContextManager[None]]
CUTS = pytest.mark.parametrize("cut", [silent, flapping])


@contextmanager
def always_let_in(probes: list[Probe]) -> Iterator[None]:
    """All the time, on every server, these calls are answered."""
    stop = threading.Event()

    def call(probe: Probe) -> int:
        answered = 0
        while not stop.wait(0.01):
            refusal = outcome(probe)
            assert refusal.code is OK, refusal
            answered += 1
        return answered

    with ThreadPoolExecutor(len(probes)) as pool:
        calling: list[Future[int]] = [pool.submit(call, probe) for probe in probes]
        try:
            yield
        finally:
            stop.set()
        assert all(future.result() > 0 for future in calling)


@pytest.fixture
def office(fleet: Fleet) -> Office:
    return Office(fleet)


class TestCut:
    @CUTS
    def test_who_lost_a_right_is_in_for_a_second_at_most_and_nobody_else_is_refused(
        self, office: Office, cut: Cut
    ) -> None:
        fleet = office.fleet
        member, stays = office.member(), office.member()
        session = fleet.people.sign_in(office.owner.email)
        secret = office.api_key("workspace.read")
        losing = {
            NOT_FOUND: office.readers(member.access_token),
            UNKNOWN_CALLER: [*office.readers(session.access_token), *office.readers(secret.value)],
        }
        keeping = office.readers(stays.access_token)
        warm([*losing[NOT_FOUND], *losing[UNKNOWN_CALLER], *keeping])
        with cut(fleet), always_let_in(keeping):
            office.remove(member)
            felt = let_in_for(losing[NOT_FOUND], NOT_FOUND)
            office.sign_out(session)
            office.revoke(secret)
            felt += let_in_for(losing[UNKNOWN_CALLER], UNKNOWN_CALLER)
            # Who has just joined is let in everywhere, with the feed cut and all.
            newcomer = office.member()
            assert {outcome(probe).code for probe in office.readers(newcomer.access_token)} == {OK}
        print(f"\nlet in for another {1000 * statistics.median(felt):.0f} ms, {1000 * max(felt):.0f} at most")
        assert max(felt) < BORNE_SECONDS

    def test_heals_by_itself(self, office: Office) -> None:
        fleet, probes = office.fleet, office.readers(office.owner.access_token)
        warm(probes)
        with fleet.silent_feeds():
            fleet.until(lambda: not any(healthy(fleet)), "no server hears its feed")
        fleet.until(fleet.feeds_healthy, "every server hears the feed again")

        def asks_nobody() -> bool:
            warm(probes)
            before = [fleet.metrics(server)["calls:GetGrant"] for server in range(SERVERS)]
            warm(probes)
            return [fleet.metrics(server)["calls:GetGrant"] for server in range(SERVERS)] == before

        fleet.until(asks_nobody, "caches count again")

    def test_while_it_is_cut_every_call_asks_anew(self, office: Office) -> None:
        fleet, probes = office.fleet, office.readers(office.owner.access_token)
        warm(probes)
        with fleet.silent_feeds():
            fleet.until(lambda: not any(healthy(fleet)), "no server hears its feed")
            before = fleet.metrics(0)
            for _ in range(10):
                assert outcome(probes[0]).code is OK
            after = fleet.metrics(0)
        for asked in ("calls:GetGrant", "calls:GetSessionState"):
            assert after[asked] - before[asked] == 10

    def test_who_watches_is_told_to_come_back(self, fleet: Fleet) -> None:
        with fleet.streams() as channel:
            stubs = Stubs(channel)
            watches: list[Any] = [
                stubs.access.WatchGrants(access_service_pb2.WatchGrantsRequest(), timeout=60),
                stubs.sessions.WatchRevocations(session_service_pb2.WatchRevocationsRequest(), timeout=60),
            ]
            for watch in watches:
                assert next(watch).reset
            with fleet.silent_feeds():
                for watch in watches:
                    with refused(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE") as refusal:
                        list(watch)
                    assert refusal.retry_seconds


def healthy(fleet: Fleet) -> list[bool]:
    return [fleet.metrics(server)["plinth_feed_healthy"] == 1 for server in range(SERVERS)]
