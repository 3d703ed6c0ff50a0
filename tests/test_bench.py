"""The bench measures what it says it does: peer, bare servicer and clocks do the work. Nothing here asserts on time."""

import asyncio
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import grpc
import httpx
import numpy as np
import psycopg
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format

from interceptors.admission import StampingPool
from plinth.identity.v1 import auth_service_pb2
from plinth.tenancy.v1 import workspace_pb2, workspace_service_pb2
from services.kernel.config import Settings
from services.kernel.ids import new_id
from services.runtime import Runtime
from services.search.service import build_search
from services.wiring import Mesh
from tests.bench import corpus, event_log, h2load, ingestion, search_index, streams
from tests.bench.bare import bare_server
from tests.bench.peer import asyncpg_url, create_app
from tests.bench.stages import Clock, TimedChain, broken_down, timed_stages
from tests.bench.tokens import Tokens
from tests.support.people import People, Person
from tests.support.streams import running_streams
from tests.support.stubs import Stubs, with_token

_OUTPUT = """
finished in 250.00ms, 40.00 req/s, 4.52KB/s
requests: 10 total, 10 started, 10 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.13KB (1161) total, 290B (290) headers (space savings 91.67%), 730B ({data}) data
"""


@pytest.fixture(scope="module")
def jwks(people: People) -> str:
    keys: HttpBody = people.stubs.auth.GetJwks(auth_service_pb2.GetJwksRequest())
    return str(keys.data.decode())


@pytest.fixture(scope="module")
def owner(people: People) -> Person:
    return people.new("owner")


@pytest.fixture(scope="module")
def workspace(people: People, owner: Person) -> workspace_pb2.Workspace:
    return people.workspace_of(owner)


class TestH2load:
    target = h2load.Target("http://127.0.0.1:1/", {}, answer_bytes=73)
    load = h2load.Load(10, 1)

    def judged(self, *, succeeded: int, data: int) -> h2load.Sample:
        output = _OUTPUT.format(succeeded=succeeded, data=data)
        return h2load._judged(output, self.target, self.load, np.array([0.001, 0.003]))

    def test_a_good_run_gives_its_rate_and_percentiles(self) -> None:
        sample = self.judged(succeeded=10, data=730)
        assert sample.rate == pytest.approx(40)
        assert sample.percentile(50) == pytest.approx(0.002)

    def test_a_call_that_failed_in_its_trailers_has_no_body_and_is_noticed(self) -> None:
        with pytest.raises(h2load.BenchError, match="657 bytes in place of 730"):
            self.judged(succeeded=10, data=657)

    def test_a_call_that_was_not_answered_is_noticed(self) -> None:
        with pytest.raises(h2load.BenchError, match="9 were answered"):
            self.judged(succeeded=9, data=730)

    def test_a_message_goes_out_as_grpc_frames_it(self) -> None:
        request = workspace_service_pb2.GetWorkspaceRequest(name="w")
        assert h2load.framed(request) == b"\0\0\0\0\x03" + request.SerializeToString()


class TestPeer:
    def get(self, app_url: str, jwks: str, workspace: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            app = create_app(asyncpg_url(app_url), jwks)
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://peer", headers=headers) as client,
            ):
                await client.get(f"/v1/{workspace}")
                return await client.get(f"/v1/{workspace}")

        return asyncio.run(ask())

    def test_it_answers_what_plinth_answers(
        self, app_url: str, jwks: str, owner: Person, workspace: workspace_pb2.Workspace
    ) -> None:
        answer = self.get(app_url, jwks, workspace.name, Authorization=f"Bearer {owner.access_token}")
        assert answer.status_code == 200
        shown = workspace_service_pb2.GetWorkspaceResponse()
        json_format.ParseDict(answer.json(), shown)
        assert shown.workspace == workspace

    def test_it_asks_who_calls(self, app_url: str, jwks: str, workspace: workspace_pb2.Workspace) -> None:
        assert self.get(app_url, jwks, workspace.name).status_code == 401

    def test_it_hides_a_workspace_from_who_is_no_member(
        self, app_url: str, jwks: str, people: People, workspace: workspace_pb2.Workspace
    ) -> None:
        stranger = people.new("stranger")
        answer = self.get(app_url, jwks, workspace.name, Authorization=f"Bearer {stranger.access_token}")
        assert answer.status_code == 404


class TestBare:
    @pytest.fixture
    def channel(self, runtime: Runtime, settings: Settings, jwks: str) -> Iterator[grpc.Channel]:
        server, port = bare_server(runtime.database, Tokens(jwks), "127.0.0.1:0", settings)
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        server.stop(0).wait()

    def test_it_answers_what_plinth_answers(
        self, channel: grpc.Channel, owner: Person, workspace: workspace_pb2.Workspace
    ) -> None:
        request = workspace_service_pb2.GetWorkspaceRequest(name=workspace.name)
        stubs = Stubs(with_token(channel, owner.access_token))
        assert stubs.workspaces.GetWorkspace(request).workspace == workspace

    def test_it_asks_who_calls(self, channel: grpc.Channel, workspace: workspace_pb2.Workspace) -> None:
        request = workspace_service_pb2.GetWorkspaceRequest(name=workspace.name)
        with pytest.raises(grpc.RpcError) as raised:
            Stubs(with_token(channel, "nonsense")).workspaces.GetWorkspace(request)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


class TestClocks:
    def test_the_parts_of_a_call_add_up_to_the_whole(
        self, mesh: Mesh, owner: Person, workspace: workspace_pb2.Workspace
    ) -> None:
        clock = Clock([])
        chain = TimedChain(mesh.policies, timed_stages(mesh.stages, clock), clock)
        server = grpc.server(StampingPool(2), interceptors=[chain])
        mesh.register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        request = workspace_service_pb2.GetWorkspaceRequest(name=workspace.name)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in range(4):
                Stubs(with_token(channel, owner.access_token)).workspaces.GetWorkspace(request)
        server.stop(0).wait()
        breakdown = broken_down(mesh.stages, clock)
        assert len(clock.rows) == 4
        assert list(breakdown.stages) == [
            *("tracing", "metrics", "logging", "errors", "admission", "auth", "opening"),
            *("csrf", "tenant", "access", "quota", "validation", "idempotency"),
        ]
        met = breakdown.stages.keys() - {"csrf", "idempotency"}  # they do not concern what only reads
        for row in clock.rows:
            assert row.keys() == met | {"handler", "whole"}
            assert all(seconds > 0 for seconds in row.values())
            assert sum(row[name] for name in met) + row["handler"] < row["whole"]


@pytest.mark.usefixtures("sequencer")
class TestStreams:
    def test_it_knows_when_the_last_of_the_watchers_has_heard(
        self, settings: Settings, owner: Person, workspace: workspace_pb2.Workspace, tmp_path: Path
    ) -> None:
        project = streams._project(owner.stubs, workspace.name)
        with (
            running_streams(settings, tmp_path) as address,
            streams.Watchers(address, owner.access_token, project.name, 3) as watchers,
        ):
            streams._transition(owner.stubs, project)
            last = watchers.all_heard()
            assert len(watchers._heard) == 3
            assert last == max(watchers._heard)

    def test_every_event_that_it_commits_arrives(
        self, app_url: str, workspace: workspace_pb2.Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_log, "_EVENTS", 40)
        p50, p99 = event_log.delay(app_url, workspace.name)
        assert 0 < p50.measured <= p99.measured


class TestCorpus:
    def test_it_has_as_much_text_as_is_wanted_and_no_passage_twice(self) -> None:
        passages = list(chain.from_iterable(corpus.documents(500)))
        assert (len(passages), len(set(passages))) == (500, 500)

    def test_queries_are_words_of_the_text_and_the_same_each_time(self) -> None:
        library = [["alpha beta", "beta beta"], ["beta"]]
        queries = corpus.queries(library, 50, 3, seed=1)
        words = [word for query in queries for word in query.split()]
        assert set(words) == {"alpha", "beta"}
        assert words.count("beta") > 100
        assert corpus.queries(library, 50, 3, seed=1) == queries


class TestFilledIndex:
    def test_it_is_what_publishing_makes_and_the_others_have_the_same(
        self, runtime: Runtime, settings: Settings, owner_url: str
    ) -> None:
        services, library = build_search(runtime.resources, settings), corpus.documents(400)
        with psycopg.connect(owner_url, autocommit=True) as database:
            filled = search_index.fill(services, database, new_id(), library)
            [other] = search_index.copy(database, filled.workspace_id, 100, 1)
        for workspace_id, count in ((filled.workspace_id, 400), (other, 100)):
            with services.units(workspace_id) as uow:
                assert len(uow.repo.chunks.after(workspace_id, -1, 1000, 1000)) == count
                model = uow.repo.models.live(workspace_id)
                assert model
                assert model.vector_count == 400
                assert not len(uow.repo.vectors.lacking(replace(model, next_chunk_no=0, end_chunk_no=1000), 1000))
                snapshot = services.snapshots.current(uow, workspace_id)
                assert snapshot.corpus.chunk_count == 400
                assert list(snapshot.doc_nos) == [number for number, texts in enumerate(library) for _ in texts]


class TestAltered:
    def test_an_archive_has_other_bytes_and_the_same_files(self, tmp_path: Path) -> None:
        path = tmp_path / "a.docx"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word", "text")
        altered = ingestion.altered(path, 3)
        assert (altered.name, altered.content != path.read_bytes()) == ("a-3.docx", True)
        with zipfile.ZipFile(io.BytesIO(altered.content)) as archive:
            assert (archive.testzip(), archive.read("word")) == (None, b"text")

    def test_a_text_has_another_line(self, tmp_path: Path) -> None:
        path = tmp_path / "a.md"
        path.write_text("# Heading")
        assert ingestion.altered(path, 1).content == b"# Heading\nCopy 1\n"
