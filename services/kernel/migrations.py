"""Brings a database to the schema of this release, and tells whether it is there."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from services.kernel.config import ConfigError

_SCRIPTS = Path(__file__).parents[2] / "deploy" / "migrations"
# Several processes may start at once: one migrates, the others wait and find it done.
_LOCK = 0x506C696E7468


def migrate(url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Upgrade (or downgrade, to an older revision) as the database's owner; the revisions before and after."""
    with _connect(url) as connection:
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(_LOCK)))
        connection.commit()
        before = _current(connection)
        connection.commit()
        config = _config(connection)
        if _is_older(config, revision, before):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        connection.commit()
        return before, _current(connection)


def pending(url: str) -> list[str]:
    """The revisions that this database still lacks, oldest first; empty when it is up to date."""
    with _connect(url) as connection:
        scripts = ScriptDirectory.from_config(_config(connection))
        steps = scripts.iterate_revisions("head", _current(connection) or "base")
        return [step.revision for step in steps][::-1]


def _connect(url: str) -> Connection:
    try:
        return sqlalchemy.create_engine(_sqlalchemy_url(url), poolclass=sqlalchemy.NullPool).connect()
    except OperationalError as error:
        # The driver's own words name host and user, and never the password.
        raise ConfigError(f"The database cannot be reached: {str(error.orig).splitlines()[0]}") from None


def _sqlalchemy_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    # The revisions share rls.py, which lies beside them and not in a package.
    config.set_main_option("prepend_sys_path", str(_SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": "public"}).get_current_revision()


def _is_older(config: Config, revision: str, current: str | None) -> bool:
    if current is None or revision == "head":
        return False
    if revision == "base":
        return True
    scripts = ScriptDirectory.from_config(config)
    older = {step.revision for step in scripts.iterate_revisions(current, "base")} - {current}
    return revision in older
