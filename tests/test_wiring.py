"""How a process is put together, and when it refuses to be."""

import base64
import os

import pytest
from pydantic import SecretStr

from services.kernel.config import ConfigError, Settings
from services.runtime import open_runtime
from services.wiring import ALL_DOMAINS, Mesh
from tests.support.people import People


def test_refuses_to_serve_with_another_master_key_than_the_database_was_used_with(
    settings: Settings, people: People
) -> None:
    people.new()
    other = SecretStr("other:" + base64.b64encode(os.urandom(32)).decode())
    with (
        open_runtime(settings.model_copy(update={"master_keys": other}), "test") as runtime,
        Mesh(runtime, ALL_DOMAINS) as mesh,
        pytest.raises(ConfigError, match="PLINTH_MASTER_KEYS"),
    ):
        mesh.check()


def test_starts_where_the_database_cannot_be_reached_yet(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    with open_runtime(nowhere, "test") as runtime, Mesh(runtime, ALL_DOMAINS) as mesh:
        mesh.check()


def test_a_login_that_no_policy_binds_is_refused(settings: Settings, owner_url: str) -> None:
    past = settings.model_copy(update={"database_url": owner_url})
    with pytest.raises(ConfigError, match=r"PLINTH_DATABASE_URL: .*plinth_app"), open_runtime(past, "test"):
        pass


def test_says_where_a_neighbour_is_missing(settings: Settings) -> None:
    with open_runtime(settings, "test") as runtime, pytest.raises(ConfigError, match="PLINTH_PEERS"):
        Mesh(runtime, ["tenancy"])
