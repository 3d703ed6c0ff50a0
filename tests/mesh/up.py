"""What `plinth up` does, over the stand-ins of fake_cli.py. Arguments: data directory, port of the edge."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg

from services.mesh.console import ConsoleReport
from services.mesh.errors import MeshError
from services.mesh.options import MeshOptions
from services.mesh.supervisor import Supervisor


def migrate(url: str) -> None:
    """Make the app's login, and a table for it."""
    with psycopg.connect(url) as connection:
        known = connection.execute("select 1 from pg_roles where rolname = 'plinth_app'").fetchone()
        if known is None:
            connection.execute("create role plinth_app login")
        connection.execute("create table if not exists kept (n int)")
        connection.execute("grant select, insert on kept to plinth_app")


if __name__ == "__main__":
    options = MeshOptions(
        data_dir=Path(sys.argv[1]),
        port=int(sys.argv[2]),
        cli=(sys.executable, str(Path(__file__).with_name("fake_cli.py"))),
        fast=True,
        drain_seconds=120.0,
    )
    try:
        Supervisor(options, migrate, ConsoleReport()).run()
    except MeshError as error:
        sys.exit(str(error))
