"""The gRPC adapters of search, one module a service of the contract."""

from services.search.servicer.index import IndexServicer
from services.search.servicer.search import SearchServicer

__all__ = ["IndexServicer", "SearchServicer"]
