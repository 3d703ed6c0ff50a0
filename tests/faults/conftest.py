"""One mesh of real processes for all of these tests; each leaves it whole for the next."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, running_fleet


@pytest.fixture(scope="session")
def fleet_of_the_run() -> Iterator[Fleet]:
    """Started once; its group keeps it on one worker."""
    with running_fleet() as fleet:
        yield fleet


@pytest.fixture
def fleet(fleet_of_the_run: Fleet) -> Fleet:
    """The mesh, whole."""
    fleet = fleet_of_the_run
    fleet.until(lambda: fleet.postgres_is_back() and fleet.servers_are_back(), "the mesh is whole")
    fleet.until(fleet.feeds_healthy, "every server hears the feed")
    return fleet
