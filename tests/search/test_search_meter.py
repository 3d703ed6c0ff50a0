"""What searches are charged as, by whoever keeps the quota."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from plinth.search.v1 import search_service_pb2 as pb
from services.kernel.caller import Caller
from services.kernel.errors import ResourceExhausted
from services.runtime import Runtime
from services.serve import Server
from services.wiring import ALL_DOMAINS, Mesh
from tests.search.archive import Archive
from tests.support.errors import refused
from tests.support.stubs import Stubs, with_token

CODE = grpc.StatusCode


class QuotaSpent(ResourceExhausted):
    reason = "RATE_LIMITED"


class Meter:
    """A quota of `left` queries, and what came of those that were begun."""

    def __init__(self) -> None:
        self.left = 100
        self.settled: list[tuple[str, str, int, bool]] = []

    def reserve(self, caller: Caller, meter: str, cost: int) -> Callable[[bool], None]:
        if cost > self.left:
            raise QuotaSpent("No queries are left.")
        self.left -= cost

        def settle(succeeded: bool) -> None:
            self.settled.append((str(caller.workspace_id), meter, cost, succeeded))
            self.left += 0 if succeeded else cost

        return settle


@pytest.fixture(scope="module")
def meter() -> Meter:
    return Meter()


@pytest.fixture(scope="module")
def channel(runtime: Runtime, meter: Meter) -> Iterator[grpc.Channel]:
    """To a server whose chain asks the meter."""
    with Mesh(runtime, ALL_DOMAINS, meter) as mesh:
        server = Server(runtime, mesh, "127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
        server.stop()


@pytest.fixture
def stubs(archive: Archive, channel: grpc.Channel, meter: Meter) -> Stubs:
    """The owner of a workspace with two foxes, on that server; so far nothing was counted."""
    archive.put("a", ["red fox", "grey fox"])
    meter.left = 100
    meter.settled.clear()
    return Stubs(with_token(channel, archive.team.owner.access_token))


class TestQueries:
    def test_each_page_is_one(self, archive: Archive, stubs: Stubs, meter: Meter) -> None:
        request = pb.SearchRequest(parent=archive.workspace, query="fox", page_size=1)
        first = stubs.search.Search(request)
        request.page_token = first.next_page_token
        assert len(stubs.search.Search(request).hits) == 1
        of_workspace = str(archive.library.workspace_id)
        assert meter.settled == [(of_workspace, "search.queries", 1, True)] * 2
        assert meter.left == 98

    def test_what_is_refused_is_given_back(self, archive: Archive, stubs: Stubs, meter: Meter) -> None:
        with refused(CODE.INVALID_ARGUMENT, "FILTER_INVALID"):
            stubs.search.Search(pb.SearchRequest(parent=archive.workspace, query="fox", filter="colour = 1"))
        assert [succeeded for *_, succeeded in meter.settled] == [False]
        assert meter.left == 100

    def test_without_any_left_nothing_is_looked_for(self, archive: Archive, stubs: Stubs, meter: Meter) -> None:
        meter.left = 0
        with refused(CODE.RESOURCE_EXHAUSTED, "RATE_LIMITED"):
            stubs.search.Search(pb.SearchRequest(parent=archive.workspace, query="fox"))
        assert (meter.settled, archive.logged()) == ([], [])

    def test_suggestions_and_explanations_are_none(self, archive: Archive, stubs: Stubs, meter: Meter) -> None:
        meter.left = 0
        [chunk, _] = archive.texts
        assert stubs.search.Suggest(pb.SuggestRequest(parent=archive.workspace, query="fo")).suggestions
        explained = stubs.search.ExplainHit(pb.ExplainHitRequest(parent=archive.workspace, query="fox", chunk=chunk))
        assert explained.hit.parts.lexical_rank
        assert meter.settled == []
