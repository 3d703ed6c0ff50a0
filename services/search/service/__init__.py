"""The use cases of search, and how they are put together."""

from dataclasses import dataclass

from plinth.documents.v1 import document_service_pb2_grpc
from services.kernel.config import Settings
from services.kernel.paging import Pager
from services.kernel.unit_of_work import Resources, Units
from services.search.embedders.build import Embedders
from services.search.repository import SearchRepositories
from services.search.repository.graphs import Graphs
from services.search.service.building import Building
from services.search.service.housekeeping import Housekeeping
from services.search.service.index import IndexService
from services.search.service.matching import Matching
from services.search.service.meaning import Meaning
from services.search.service.merging import Tending
from services.search.service.projections import Projections
from services.search.service.publishing import Publishing
from services.search.service.reading import Snapshots
from services.search.service.search import SearchService
from services.search.service.seeing import Shelf
from services.search.service.semantics import Semantics
from services.search.service.succession import Succession
from services.search.service.suggest import SuggestService
from services.search.service.units import SERVICE, SearchUnits
from services.search.service.vectors import Vectors

__all__ = [
    "Housekeeping",
    "IndexService",
    "Publishing",
    "SearchServices",
    "Searching",
    "Snapshots",
    "Tending",
    "build_search",
    "build_searching",
]


@dataclass(frozen=True, slots=True)
class SearchServices:
    """Every use case of the index."""

    index: IndexService
    publishing: Publishing
    tending: Tending
    vectors: Vectors
    building: Building
    meaning: Meaning
    snapshots: Snapshots
    housekeeping: Housekeeping
    units: SearchUnits


def build_search(resources: Resources, settings: Settings) -> SearchServices:
    """Put the use cases together. Raises ConfigError where the settings cannot be an embedder's."""
    clock, units = resources.clock, Units(resources, SERVICE, SearchRepositories)
    embedders, projections = Embedders(settings), Projections(settings.search_model_bytes)
    succession, graph_from = Succession(clock, embedders), settings.search_graph_from
    graphs = Graphs(lambda: resources.database.connect("graphs"))
    vectors = Semantics(units, clock, embedders, projections, succession, graph_from=graph_from)
    return SearchServices(
        index=IndexService(units, clock, vectors),
        publishing=Publishing(units, clock, vectors),
        tending=Tending(units, clock),
        vectors=vectors,
        building=Building(units, clock, embedders, succession, graphs, graph_from=graph_from),
        meaning=Meaning(embedders, projections),
        snapshots=Snapshots(settings.search_cache_bytes),
        housekeeping=Housekeeping(units, clock, vectors),
        units=units,
    )


@dataclass(frozen=True, slots=True)
class Searching:
    """Every use case of search over it."""

    search: SearchService
    suggest: SuggestService


def build_searching(
    built: SearchServices, resources: Resources, pager: Pager, documents: document_service_pb2_grpc.DocumentServiceStub
) -> Searching:
    """Put those together that ask documents what may be shown."""
    matching, shelf = Matching(built.units, built.snapshots, built.meaning), Shelf(documents)
    return Searching(
        SearchService(built.units, resources.clock, pager, matching, shelf), SuggestService(built.units, shelf)
    )
