"""A process that owns a PostgreSQL on the given directory, prints the postmaster's pid, and waits to be killed."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg

from services.mesh.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), fast=True)
server.start()
with psycopg.connect(server.url(), autocommit=True) as connection:
    connection.execute("create table kept (n int)")
    connection.execute("insert into kept values (7)")
    print(server.pid, flush=True)
    signal.pause()
