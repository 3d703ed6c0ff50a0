"""Who may do what with which table: all of it, in one picture."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

RIGHTS = {
    "s": "SELECT",
    "i": "INSERT",
    "u": "UPDATE",
    "d": "DELETE",
    "r": "REFERENCES",
    "t": "TRUNCATE",
    "g": "TRIGGER",
    "m": "MAINTAIN",
}
# Every domain has two roles and a login: `plinth_events`, `plinth_events_system` and `plinth_app_events`.
DOMAINS = ("identity", "tenancy", "projects", "events", "documents", "search")
# A line a table, first the domains' own, then what they share of the kernel, where `all` are the roles of the domains;
# one that is named besides has what its own cell says. A role that is not in the line may do nothing with the table,
# not even with one of its columns.
MATRIX = """
identity.api_keys           identity:siud  identity_system:su
identity.known_sources      identity:siud  identity_system:sd
identity.links              identity:siud  identity_system:sd
identity.operators          identity:r     identity_system:sid
identity.passwords          identity:siud  identity_system:s
identity.sessions           identity:siud  identity_system:sud
identity.signing_keys       identity:r     identity_system:siud
identity.throttles          identity:r     identity_system:siud
identity.users              identity:siud  identity_system:s

tenancy.invites             tenancy:siud   tenancy_system:sd
tenancy.members             tenancy:siud   tenancy_system:sd
tenancy.roles               tenancy:siud
tenancy.workspaces          tenancy:siud   tenancy_system:sud

projects.activity           projects:siud
projects.approvals          projects:siud
projects.projects           projects:siud  projects_system:sud
projects.tasks              projects:siud
projects.workflow_versions  projects:siud
projects.workflows          projects:siud

events.replays              events:siud    events_system:sd
events.webhook_attempts     events:siud    events_system:su
events.webhook_deliveries   events:siud    events_system:sud
events.webhook_endpoints    events:siud    events_system:s
events.webhook_secrets      events:siud    events_system:sud

documents.blobs             documents:siud  documents_system:sud
documents.documents         documents:siud
documents.ingestions        documents:siud  documents_system:s
documents.upload_parts      documents:siud  documents_system:s
documents.uploads           documents:siud  documents_system:sud
documents.usage             documents:siud  documents_system:sud
documents.versions          documents:siud  documents_system:s

search.audiences            search:siud
search.chunks               search:siud
search.documents            search:siud
search.early_changes        search:siud    search_system:sd
search.indexes              search:siud    search_system:s
search.model_parts          search:siud
search.models               search:siud    search_system:s
search.postings             search:siud
search.queries              search:siud    search_system:sd
search.recounts             search:siud    search_system:s
search.removed_chunks       search:siud
search.segments             search:siud    search_system:s
search.staged_chunks        search:siud    search_system:sd
search.staged_segments      search:siud    search_system:s
search.staged_vectors       search:siud    search_system:sd
search.tombstones           search:siud    search_system:s
search.vectors              search:siud    maintenance:siudrtgm
search.vocabulary           search:siud

jobs.jobs                   all:si  events:siu   jobs_system:siud
jobs.schedules                                   jobs_system:siud
jobs.sleepers               all:s                jobs_system:siud

kernel.audit                all:i   tenancy:si
kernel.cursors              all:siu              kernel:siud  maintenance:s
kernel.event_days           projects:s  events:s  documents:s  search:s  kernel:s  maintenance:sd  sequencer:si
kernel.event_log            projects:s  events:s  documents:s  search:s  kernel:s  maintenance:siudrtgm  sequencer:si
kernel.event_retention                           kernel:s     maintenance:su  sequencer:s
kernel.idempotency          all:siu              kernel:sd
kernel.mail                 all:i                kernel:sud
kernel.outbox               all:i                kernel:s     sequencer:sd
"""
# Nothing at all by themselves: they set one of their roles for each transaction.
LOGINS = {
    "plinth_app": {
        "plinth_kernel",
        "plinth_sequencer",
        "plinth_maintenance",
        "plinth_jobs_system",
        *(f"plinth_{domain}{kind}" for domain in DOMAINS for kind in ("", "_system")),
    },
    **{f"plinth_app_{domain}": {"plinth_kernel", f"plinth_{domain}", f"plinth_{domain}_system"} for domain in DOMAINS},
}

_ROLES = "select rolname::text from pg_roles where starts_with(rolname, 'plinth') order by 1"
_LOGINS = "select rolname::text from pg_roles where rolcanlogin and starts_with(rolname, 'plinth')"
_TABLES = """
    select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    and not relispartition
    order by 1
"""
_HELD = """
    select table_name, role_name, right_name
    from unnest(%s::text[]) table_name, unnest(%s::text[]) role_name, unnest(%s::text[]) right_name
    where has_table_privilege(role_name, table_name, right_name)
        or (right_name in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            and has_any_column_privilege(role_name, table_name, right_name))
"""


@pytest.fixture(scope="module")
def owner(owner_url: str) -> "Iterator[psycopg.Connection[Any]]":
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def column(connection: "psycopg.Connection[Any]", query: Any, *values: object) -> list[str]:
    return [value for (value,) in connection.execute(query, values)]


def expected() -> dict[tuple[str, str], str]:
    """Rights by table and role."""
    found = {}
    for line in filter(None, MATRIX.splitlines()):
        table, *cells = line.split()
        for cell in cells:
            role, _, rights = cell.partition(":")
            sharing = [f"{domain}{kind}" for domain in DOMAINS for kind in ("", "_system")]
            for one in sharing if role == "all" else [role]:
                found[table, f"plinth_{one}"] = rights
    return found


class TestTables:
    def test_each_role_may_do_what_the_picture_says_and_no_more(self, owner: "psycopg.Connection[Any]") -> None:
        roles = [*column(owner, _ROLES), "public"]
        letters = {right: letter for letter, right in RIGHTS.items()}
        held: dict[tuple[str, str], str] = {}
        for table, role, right in owner.execute(_HELD, [column(owner, _TABLES), roles, list(letters)]):
            held[table, role] = held.get((table, role), "") + letters[right]
        order = "".join(RIGHTS)
        assert {key: "".join(sorted(rights, key=order.index)) for key, rights in held.items()} == expected()

    def test_each_role_reaches_its_own_schema_and_the_kernels(self, owner: "psycopg.Connection[Any]") -> None:
        roles = column(owner, _ROLES)
        reached = owner.execute(
            "select rolname, array_agg(nspname::text order by nspname) from unnest(%s::text[]) rolname, pg_namespace"
            " where not starts_with(nspname, 'pg_') and nspname not in ('information_schema', 'public')"
            " and has_schema_privilege(rolname, oid, 'USAGE') group by rolname",
            [roles],
        ).fetchall()
        assert dict(reached) == {
            **{f"plinth_{role}": ["kernel"] for role in ("kernel", "sequencer")},
            "plinth_maintenance": ["kernel", "search"],
            "plinth_jobs_system": ["jobs"],
            # Of no use to a login: it is what keeps another database's downgrade from dropping the role.
            "plinth_app": ["kernel"],
            **{f"plinth_app_{domain}": [domain] for domain in DOMAINS},
            **{
                f"plinth_{domain}{kind}": sorted([domain, "jobs", "kernel"])
                for domain in DOMAINS
                for kind in ("", "_system")
            },
        }

    def test_none_but_the_maintenance_may_make_objects_anywhere(self, owner: "psycopg.Connection[Any]") -> None:
        may = owner.execute(
            "select rolname, nspname from unnest(%s::text[]) rolname, pg_namespace"
            " where has_schema_privilege(rolname, oid, 'CREATE') order by 1, 2",
            [column(owner, _ROLES)],
        ).fetchall()
        # Days of the log, and graphs of vectors.
        assert may == [("plinth_maintenance", "kernel"), ("plinth_maintenance", "search")]


class TestLogins:
    def test_each_has_no_rights_but_its_roles_and_those_only_when_it_asks(
        self, owner: "psycopg.Connection[Any]"
    ) -> None:
        logins = column(
            owner, "select rolname::text from pg_roles where rolcanlogin and starts_with(rolname, 'plinth')"
        )
        assert set(logins) == set(LOGINS)
        for login in logins:
            granted = owner.execute(
                "select roleid::regrole::text, inherit_option, set_option, admin_option from pg_auth_members"
                " where member = %s::regrole",
                [login],
            ).fetchall()
            assert {role for role, *_ in granted} == LOGINS[login]
            assert {tuple(options) for _, *options in granted} == {(False, True, False)}

    def test_nobody_goes_past_the_policies_or_is_more_than_an_ordinary_role(
        self, owner: "psycopg.Connection[Any]"
    ) -> None:
        powers = owner.execute(
            "select rolname from pg_roles where starts_with(rolname, 'plinth')"
            " and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)"
        ).fetchall()
        assert powers == []

    def test_transactions_of_each_end_after_a_minute(self, owner: "psycopg.Connection[Any]") -> None:
        bounded = column(
            owner, "select rolname::text from pg_roles where 'transaction_timeout=60s' = any(rolconfig) order by 1"
        )
        assert bounded == sorted(LOGINS)
