"""What goes by itself: workspaces at their purge time, invites long after their end."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from services.tenancy.repository import TenancyRepositories
from services.tenancy.service.housekeeping import Housekeeping
from tests.support.errors import refused
from tests.tenancy.team import Team

# A purge takes from the whole database: two at once would take from each other's tests.
pytestmark = pytest.mark.xdist_group("purge")
CODE = grpc.StatusCode
TABLES = ("workspaces", "members", "roles", "invites")


@pytest.fixture
def housekeeping(runtime: Runtime) -> Housekeeping:
    return Housekeeping(Units(runtime.resources, "tenancy", TenancyRepositories), runtime.clock)


def id_of(team: Team) -> str:
    return team.workspace.removeprefix("workspaces/")


def rows(team: Team) -> dict[str, int]:
    """How many rows of the workspace each table holds."""
    found = team.database.execute(
        "select (select count(*) from tenancy.workspaces where workspace_id = %(id)s),"
        " (select count(*) from tenancy.members where workspace_id = %(id)s),"
        " (select count(*) from tenancy.roles where workspace_id = %(id)s),"
        " (select count(*) from tenancy.invites where workspace_id = %(id)s)",
        {"id": id_of(team)},
    ).fetchall()
    return dict(zip(TABLES, found[0], strict=True))


def come_due(team: Team, ago: str = "0 seconds") -> None:
    """Delete the workspace so long ago that its time came `ago`."""
    team.delete()
    team.database.execute(
        "update tenancy.workspaces set purge_time = now() - %s::interval where workspace_id = %s", [ago, id_of(team)]
    )


class TestPurge:
    def test_takes_a_workspace_with_all_that_is_in_it(self, team: Team, housekeeping: Housekeeping) -> None:
        custom = team.new_role(team.owner, "members.read")
        team.set_role(team.owner, team.member, custom.name.rpartition("/")[2])
        team.invite(team.owner, team.people.address(), custom.name.rpartition("/")[2])
        assert all(rows(team).values())
        come_due(team)
        assert housekeeping.purge() >= 1
        assert rows(team) == dict.fromkeys(TABLES, 0)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.get(team.owner)

    def test_leaves_living_ones_and_those_whose_time_has_not_come(
        self, team: Team, other_team: Team, housekeeping: Housekeeping
    ) -> None:
        team.delete()
        before = rows(team), rows(other_team)
        housekeeping.purge()
        assert (rows(team), rows(other_team)) == before
        assert before[0]["workspaces"] == before[1]["workspaces"] == 1

    def test_tells_of_each_once_though_two_processes_sweep(
        self, team: Team, other_team: Team, housekeeping: Housekeeping
    ) -> None:
        for due in (team, other_team):
            come_due(due)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(housekeeping.purge) for _ in range(4)]:
                done.result()
        for gone in (team, other_team):
            assert rows(gone)["workspaces"] == 0
            told = team.database.execute(
                "select actor, resource from kernel.audit where workspace_id = %s"
                " and action = 'plinth.tenancy.workspace.purged.v1'",
                [id_of(gone)],
            ).fetchall()
            assert told == [("services/tenancy", gone.workspace)]

    def test_goes_on_after_a_full_batch(
        self, team: Team, other_team: Team, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.tenancy.service.housekeeping._BATCH", 1)
        for due in (team, other_team):
            come_due(due)
        assert housekeeping.purge() >= 2
        assert (rows(team)["workspaces"], rows(other_team)["workspaces"]) == (0, 0)


class TestInvites:
    @pytest.mark.parametrize(
        ("state", "updated", "expires", "kept"),
        [
            ("pending", "-120 days", "-91 days", False),
            ("pending", "-120 days", "-89 days", True),
            ("expired", "-120 days", "-91 days", False),
            ("declined", "-91 days", "-60 days", False),
            ("accepted", "-91 days", "1 day", False),
            ("revoked", "-89 days", "-100 days", True),
        ],
    )
    def test_go_ninety_days_after_their_end(
        self, team: Team, housekeeping: Housekeeping, state: str, updated: str, expires: str, kept: bool
    ) -> None:
        team.invite(team.owner, team.people.address())
        team.database.execute(
            "update tenancy.invites set state = %s, update_time = now() + %s::interval,"
            " expire_time = now() + %s::interval where workspace_id = %s",
            [state, updated, expires, id_of(team)],
        )
        housekeeping.purge()
        assert rows(team)["invites"] == int(kept)
