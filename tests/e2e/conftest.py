"""Whole meshes of real processes behind a real Envoy. The tests share one worker by their group, and so the meshes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import psycopg
import pytest

from services.administration import read_mail
from services.kernel import migrations
from services.kernel.config import Settings
from services.mesh.supervisor import Supervisor
from services.wiring import ALL_DOMAINS
from tests.support.people import People, Person
from tests.support.settings import ENVIRONMENT, settings_for_tests
from tests.support.spans import SpanBook

ORIGIN = "https://app.example"
# A single thread: no call may wait for itself. Few bulk calls, so that somebody can use them up.
_ENVIRONMENT = ENVIRONMENT | {"PLINTH_THREADS": "1", "PLINTH_RATE_BULK": "0.5", "PLINTH_RATE_BURST_SECONDS": "6"}
# What a call may wait for the one thread there is; a test waits for it to pass.
_MAX_QUEUE_SECONDS = 3.0
_ENVIRONMENT |= {"PLINTH_MAX_QUEUE_SECONDS": str(_MAX_QUEUE_SECONDS)}
Json = dict[str, Any]


@dataclass
class Edge:
    """A running mesh as its clients and operators see it."""

    mesh: Supervisor
    rest: httpx.Client
    channel: grpc.Channel
    people: People
    settings: Settings
    spans: SpanBook

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        person: Person | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A REST call, as this person."""
        token = {"authorization": f"Bearer {person.access_token}"} if person is not None else {}
        return self.rest.request(method, path, json=body, headers={**token, **(headers or {})})

    def get(self, path: str, person: Person | None = None) -> Json:
        """The JSON that a GET is answered with."""
        answer = self.call("GET", path, person=person)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def new_workspace(self) -> tuple[Person, str]:
        """A new owner, and the name of their workspace."""
        owner = self.people.new("owner")
        return owner, self.people.workspace_of(owner).name

    def metrics(self) -> list[str]:
        """What the mesh's processes tell Prometheus now, a line each."""
        lines: list[str] = []
        for child in [*self.mesh._servers, self.mesh._worker]:
            assert child is not None
            port = child.program.argv[child.program.argv.index("--metrics-port") + 1]
            lines += httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
        return lines

    def database(self) -> "psycopg.Connection[Any]":
        """A connection of the database's owner."""
        return psycopg.connect(self.mesh.migrate_database_url)


def _run(spans: SpanBook, **options: Any) -> Iterator[Edge]:
    def migrate(url: str) -> None:
        migrations.migrate(url)

    mesh = Supervisor.ephemeral(
        migrate,
        env=_ENVIRONMENT | {"PLINTH_OTLP_ENDPOINT": spans.address, "OTEL_BSP_SCHEDULE_DELAY": "100"},
        cors_origins=(ORIGIN,),
        drain_seconds=3.0,
        start_seconds=60.0,
        **options,
    )
    with (
        mesh,
        httpx.Client(base_url=mesh.edge_url, timeout=20.0) as rest,
        grpc.insecure_channel(mesh.edge_address) as channel,
    ):
        settings = settings_for_tests(database_url=mesh.database_url, max_queue_seconds=_MAX_QUEUE_SECONDS)

        def read(email: str) -> list[str]:
            return [mail.text for mail in read_mail(settings, recipient=email)]

        yield Edge(mesh, rest, channel, People(channel, read), settings, spans)


@pytest.fixture(scope="session")
def spans() -> Iterator[SpanBook]:
    """Where all meshes export their spans to."""
    book = SpanBook()
    yield book
    book.close()


@pytest.fixture(scope="session")
def whole(spans: SpanBook) -> Iterator[Edge]:
    """All domains in one server process."""
    yield from _run(spans)


@pytest.fixture(scope="session")
def divided(spans: SpanBook) -> Iterator[Edge]:
    """A process for each domain, each with a login that can touch its own domain alone."""
    yield from _run(spans, domains=[(domain,) for domain in ALL_DOMAINS])


@pytest.fixture
def edge(whole: Edge) -> Edge:
    """A mesh."""
    return whole


@pytest.fixture(params=["whole", "divided"])
def any_edge(request: pytest.FixtureRequest) -> Edge:
    """A mesh, whatever its layout: nobody can tell."""
    found: Edge = request.getfixturevalue(request.param)
    return found
