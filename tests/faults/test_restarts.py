"""The database, or every server, ends under load and is started again: no acknowledged write is lost, none doubled."""

import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import grpc
import pytest

from plinth.tenancy.v1 import workspace_service_pb2
from tests.faults.load import Load, Refused
from tests.faults.refusal_times import outcome
from tests.support.fleet import SERVERS, Fleet
from tests.support.people import Person
from tests.support.stubs import Stubs, with_token
from tests.support.waiting import SLOWNESS_SECONDS

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.e2e]

WRITERS, READERS = 32, 6
LIST = workspace_service_pb2.ListWorkspacesRequest(page_size=1)
# Calls work again within this after the restart.
RECOVERY_SECONDS = 5.0 + SLOWNESS_SECONDS
# So much is written before, refused meanwhile, and written after.
ENOUGH = 60


def stubs_for(fleet: Fleet, person: Person, count: int, *, edge_only: bool = False) -> list[Stubs]:
    """By turns through each server and through the edge."""
    ways = [fleet.edge] if edge_only else [*fleet.servers, fleet.edge]
    return [Stubs(with_token(ways[number % len(ways)], person.access_token)) for number in range(count)]


def seconds_to_answer(fleet: Fleet, stubs: Sequence[Stubs]) -> float:
    """How long from now until each of them is answered, while the mesh is looked after."""
    waiting = list(stubs)

    def all_answered() -> bool:
        calls = {one: partial(one.workspaces.ListWorkspaces, LIST, timeout=10) for one in waiting}
        waiting[:] = [one for one, call in calls.items() if outcome(call).code is not grpc.StatusCode.OK]
        return not waiting

    return fleet.until(all_answered, "every way is answered")


def check_writes(fleet: Fleet, load: Load, label: str, reader: Stubs) -> None:
    """Every acknowledged workspace is there, by name; nothing is there twice, whatever was tried again."""
    answers = load.answers
    assert not answers.unanswered
    with fleet.database() as connection:
        rows = connection.execute(
            "select display_name, workspace_id::text from tenancy.workspaces where starts_with(display_name, %s)",
            [f"{label} "],
        ).fetchall()
    assert Counter(name for name, _ in rows).most_common(1)[0][1] == 1
    assert {name: f"workspaces/{workspace}" for name, workspace in rows} == answers.acknowledged
    for name in list(answers.acknowledged.values())[-20:]:
        reader.workspaces.GetWorkspace(workspace_service_pb2.GetWorkspaceRequest(name=name))


def until_all_are_refused(fleet: Fleet, load: Load) -> tuple[float, float]:
    """From when to when what was just ended stayed away: as long as nobody looks after it."""
    since = time.monotonic()

    def all_refused() -> bool:
        refusals = [one.refusal for one in list(load.answers.refusals) if one.began > since]
        return sum(refusal.code is grpc.StatusCode.UNAVAILABLE for refusal in refusals) >= 2 * WRITERS

    fleet.until(lambda: all_refused() or load.is_over(), "all are refused twice", look_after=False)
    return since, time.monotonic()


def check_refusals(refusals: Sequence[Refused], away_since: float, away_until: float) -> None:
    """Every refusal says when to come back; while the database or the servers are away, that this is why.

    On a slow machine there may be no room for so many calls at once: some are told that.
    """
    assert all(one.refusal.retry_seconds for one in refusals), refusals
    assert {one.refusal.reason for one in refusals} <= {"DEPENDENCY_UNAVAILABLE", "OVERLOADED"}
    meanwhile = [one.refusal for one in refusals if one.began > away_since and one.ended < away_until]
    assert {one.code for one in meanwhile if one.reason != "OVERLOADED"} == {grpc.StatusCode.UNAVAILABLE}


class TestDatabase:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
    def test_ends_under_load_and_is_started_again(self, fleet: Fleet, number: signal.Signals) -> None:
        person, label = fleet.people.new("writer"), f"database {number.name}"
        ways = stubs_for(fleet, person, SERVERS + 1)
        with Load(label, stubs_for(fleet, person, WRITERS), stubs_for(fleet, person, READERS)) as load:
            answers = load.answers
            fleet.until(lambda: len(answers.acknowledged) >= ENOUGH or load.is_over(), "something is written")
            fleet.signal_postgres(number)
            away = until_all_are_refused(fleet, load)
            fleet.until(fleet.postgres_is_back, "the supervisor has started PostgreSQL again")
            recovery = seconds_to_answer(fleet, ways)
            written = len(answers.acknowledged)
            fleet.until(lambda: len(answers.acknowledged) >= written + ENOUGH or load.is_over(), "more is written")
            assert not load.is_over()
        print(
            f"\n{label}: calls work {recovery:.2f} s after the restart; {len(answers.acknowledged)} written,"
            f" {len(answers.refusals)} refused, {answers.reads} read, slowest call {answers.slowest:.2f} s"
        )
        assert recovery < RECOVERY_SECONDS
        check_refusals(answers.refusals, *away)
        check_writes(fleet, load, label, ways[1])

    def test_restart_is_noticed_by_servers_that_nobody_called_meanwhile(self, fleet: Fleet) -> None:
        person = fleet.people.new("returning")
        ways = stubs_for(fleet, person, SERVERS + 1)
        for way in ways:
            way.workspaces.ListWorkspaces(LIST)
        fleet.signal_postgres(signal.SIGINT)
        fleet.until(fleet.postgres_is_back, "the supervisor has started PostgreSQL again")
        fleet.until(fleet.feeds_listen, "every process listens again")
        for way in ways:
            fleet.people.workspace_of(replace(person, stubs=way))


class TestServers:
    def test_are_killed_in_the_middle_of_writes(self, fleet: Fleet) -> None:
        person, label = fleet.people.new("writer"), "servers killed"
        through_edge = stubs_for(fleet, person, WRITERS, edge_only=True)
        with Load(label, through_edge, through_edge[:READERS]) as load:
            answers = load.answers
            fleet.until(lambda: len(answers.acknowledged) >= ENOUGH or load.is_over(), "something is written")
            fleet.kill_servers()
            away = until_all_are_refused(fleet, load)
            fleet.until(fleet.servers_are_back, "the supervisor has started the servers again")
            recovery = seconds_to_answer(fleet, through_edge[:1])
            written = len(answers.acknowledged)
            fleet.until(lambda: len(answers.acknowledged) >= written + ENOUGH or load.is_over(), "more is written")
            assert not load.is_over()
        print(
            f"\n{label}: calls work {recovery:.2f} s after the restart; {len(answers.acknowledged)} written,"
            f" {len(answers.refusals)} refused, {answers.reads} read"
        )
        assert recovery < RECOVERY_SECONDS
        check_refusals(answers.refusals, *away)
        check_writes(fleet, load, label, through_edge[0])
