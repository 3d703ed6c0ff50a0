"""Databases beside the run's own, in its cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from services.kernel import migrations

# Roles belong to the cluster: one migration at a time may touch them.
_MIGRATING = 0x6B65726E


def with_database(url: str, name: str) -> str:
    """The URL of another database of the same cluster, for the same role."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def own_database(owner_url: str, prefix: str) -> Iterator[str]:
    """The name of a migrated database that nobody else uses; it begins with `prefix`."""
    name = f"{prefix}_{os.getpid()}_{uuid4().hex[:8]}"
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            connection.execute("select pg_advisory_lock(%s)", [_MIGRATING])
            migrations.migrate(with_database(owner_url, name))
            connection.execute("select pg_advisory_unlock(%s)", [_MIGRATING])
            yield name
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
