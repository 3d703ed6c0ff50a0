"""The background of a server process: what is no longer kept goes, of the kernel and of every domain."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from services.background import Background
from services.kernel.ids import new_id
from services.kernel.secrets import DecryptionError
from services.runtime import Runtime
from services.wiring import Mesh
from tests.support.waiting import until

# A purge takes from the whole database: two at once would take from each other's tests.
pytestmark = pytest.mark.xdist_group("purge")


@pytest.fixture
def owner(owner_url: str) -> Any:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def test_sweeps_the_kernel_and_every_domain(
    runtime: Runtime, mesh: Mesh, owner: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.background._SWEEP_SECONDS", 0.05)
    mail_id, workspace_id, long_ago = new_id(), new_id(), runtime.clock.now() - timedelta(days=31)
    owner.execute(
        "insert into kernel.mail (id, kind, recipient, subject, create_time) values (%s, 'invite', 'a@b.c', 's', %s)",
        [mail_id, long_ago],
    )
    owner.execute(
        "insert into tenancy.workspaces (workspace_id, display_name, version, create_time, update_time, delete_time,"
        " purge_time) values (%s, 'Gone', 1, %s, %s, %s, %s)",
        [workspace_id, *[long_ago] * 4],
    )

    def left() -> int:
        found = owner.execute(
            "select (select count(*) from kernel.mail where id = %s)"
            " + (select count(*) from tenancy.workspaces where workspace_id = %s)",
            [mail_id, workspace_id],
        )
        return int(found.fetchall()[0][0])

    assert left() == 2
    background = Background(runtime, mesh.served)
    background.start()
    until(lambda: left() == 0, "the sweep")
    background.stop()


def test_what_one_domain_cannot_sweep_keeps_neither_the_others_nor_the_next_round_from_it(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.background._SWEEP_SECONDS", 0.001)
    swept: list[str] = []

    def fail() -> None:
        raise DecryptionError

    broken: Any = SimpleNamespace(sweep=fail)
    well: Any = SimpleNamespace(sweep=lambda: swept.append("well"))
    background = Background(runtime, [broken, well])
    background.start()
    until(lambda: len(swept) >= 2, "two rounds")
    background.stop()
