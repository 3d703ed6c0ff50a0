"""Runs the migrations on the connection that `services.kernel.migrations` hands in.

As with the contract (`make land`), a revision that has landed changes no more: what changes is a new one. One that has
not landed may be edited in place, and databases that were made with it are made anew.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
