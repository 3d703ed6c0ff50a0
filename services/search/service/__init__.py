"""The use cases of search, and how they are put together."""

from dataclasses import dataclass

from plinth.documents.v1 import document_service_pb2_grpc
from services.kernel.config import Settings
from services.kernel.paging import Pager
from services.kernel.unit_of_work import Resources, Units
from services.search.embedders.build import Embedders
from services.search.embedders.report import EmbedderReport
from services.search.repository import SearchRepositories
from services.search.repository.graphs import Graphs
from services.search.service.housekeeping import Housekeeping
from services.search.service.index import IndexService
from services.search.service.maintenance import IndexMaintenance
from services.search.service.matching import Matching
from services.search.service.model_lifecycle import ModelLifecycle
from services.search.service.projections import Projections
from services.search.service.publishing import Publishing
from services.search.service.purging import Purging
from services.search.service.search import SearchService
from services.search.service.search_report import SearchReport
from services.search.service.semantic import SemanticSearch
from services.search.service.snapshots import Snapshots
from services.search.service.suggest import SuggestService
from services.search.service.units import SERVICE, SearchUnits
from services.search.service.vector_builds import VectorBuilds
from services.search.service.vectors import Vectors
from services.search.service.visibility import DocumentsClient
from services.search.service.vocabulary import VocabularyCounts

__all__ = [
    "Housekeeping",
    "IndexMaintenance",
    "IndexService",
    "Publishing",
    "SearchServices",
    "Searching",
    "Snapshots",
    "build_search",
    "build_searching",
]


@dataclass(frozen=True, slots=True)
class SearchServices:
    """Every use case of the index."""

    index: IndexService
    publishing: Publishing
    maintenance: IndexMaintenance
    vocabulary: VocabularyCounts
    purging: Purging
    vectors: Vectors
    lifecycle: ModelLifecycle
    vector_builds: VectorBuilds
    semantic: SemanticSearch
    snapshots: Snapshots
    housekeeping: Housekeeping
    units: SearchUnits
    embedded: EmbedderReport


def build_search(resources: Resources, settings: Settings) -> SearchServices:
    """Put the use cases together. Raises ConfigError where the settings cannot be an embedder's."""
    clock, units = resources.clock, Units(resources, SERVICE, SearchRepositories)
    embedded = EmbedderReport()
    embedders, projections = Embedders(settings, embedded), Projections(settings.search_model_bytes)
    lifecycle, graph_from = ModelLifecycle(units, clock, embedders), settings.search_graph_from
    graphs = Graphs(lambda: resources.database.connect("graphs"), settings.search_most_graphs)
    vectors = Vectors(units, clock, embedders, projections, lifecycle, graph_from=graph_from)
    builds = VectorBuilds(units, clock, embedders, lifecycle, graphs, graph_from=graph_from)
    maintenance, vocabulary = IndexMaintenance(units, clock), VocabularyCounts(units, clock)
    purging = Purging(units, clock, builds)
    return SearchServices(
        index=IndexService(units, clock, embedders, lifecycle, vectors),
        publishing=Publishing(units, clock, vectors),
        maintenance=maintenance,
        vocabulary=vocabulary,
        purging=purging,
        vectors=vectors,
        lifecycle=lifecycle,
        vector_builds=builds,
        semantic=SemanticSearch(embedders, projections),
        snapshots=Snapshots(settings.search_cache_bytes),
        housekeeping=Housekeeping(units, clock, maintenance, vocabulary, lifecycle, purging),
        units=units,
        embedded=embedded,
    )


@dataclass(frozen=True, slots=True)
class Searching:
    """Every use case of search over it."""

    search: SearchService
    suggest: SuggestService
    report: SearchReport


def build_searching(
    built: SearchServices, resources: Resources, pager: Pager, documents: document_service_pb2_grpc.DocumentServiceStub
) -> Searching:
    """Put those together that ask documents what may be shown."""
    matching, client = Matching(built.units, built.snapshots, built.semantic), DocumentsClient(documents)
    report = SearchReport()
    return Searching(
        search=SearchService(built.units, resources.clock, pager, matching, client, report),
        suggest=SuggestService(built.units, client),
        report=report,
    )
