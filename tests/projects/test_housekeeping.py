"""What goes by itself: projects at their purge time, and all that a purged workspace had."""

import grpc
import pytest

from services.kernel.unit_of_work import Units
from services.projects.repository import ProjectsRepositories
from services.projects.service import ProjectsServices
from services.runtime import Runtime
from tests.projects.board import PROJECT, Board
from tests.support.errors import refused

# A purge takes from the whole database: two at once would take from each other's tests.
pytestmark = pytest.mark.xdist_group("purge")
CODE = grpc.StatusCode
TABLES = ("workflows", "workflow_versions", "projects", "tasks", "approvals")


def rows(board: Board) -> dict[str, int]:
    """How many rows of the workspace each table holds."""
    counts = {}
    for table in TABLES:
        query = f"select count(*) from projects.{table} where workspace_id = %s"  # noqa: S608  # from the list above
        [counts[table]] = board.team.database.execute(query, [board.workspace_id]).fetchone() or [0]
    return counts


def furnish(board: Board) -> None:
    """A project with a task and an approval that waits."""
    project = board.project(workflow=board.reviewed(PROJECT))
    board.task(project)
    board.move_project(project, "review")
    board.move_project(project, "done")


def come_due(board: Board, name: str) -> None:
    """Put the purge time of a deleted project into the past."""
    board.team.database.execute(
        "update projects.projects set purge_time = now() where project_id = %s", [name.rpartition("/")[2]]
    )


class TestPurge:
    def test_takes_a_project_with_all_that_is_in_it(self, board: Board, services: ProjectsServices) -> None:
        furnish(board)
        project = board.project()
        board.task(project)
        before = rows(board)
        board.delete_project(project)
        come_due(board, project.name)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            board.get_project(project)
        assert services.housekeeping.purge() >= 1
        after = rows(board)
        assert (after["projects"], after["tasks"]) == (before["projects"] - 1, before["tasks"] - 1)
        assert after["approvals"] == before["approvals"] == 1
        assert board.told()[-1] == "project.purged"

    def test_leaves_what_is_not_due(self, board: Board, services: ProjectsServices) -> None:
        deleted = board.delete_project(board.project())
        services.housekeeping.purge()
        assert board.get_project(deleted) == deleted


class TestForgetWorkspace:
    def test_nothing_of_it_stays_and_all_of_others(
        self, board: Board, other_board: Board, services: ProjectsServices, runtime: Runtime
    ) -> None:
        furnish(board)
        furnish(other_board)
        before = rows(other_board)
        assert all(rows(board).values())
        with Units(runtime.resources, "projects", ProjectsRepositories)(board.workspace_id) as uow:
            services.housekeeping.forget_workspace(uow, board.workspace_id)
            uow.commit()
        assert rows(board) == dict.fromkeys(TABLES, 0)
        assert rows(other_board) == before
