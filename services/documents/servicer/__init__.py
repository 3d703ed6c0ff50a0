"""The gRPC adapters of documents, one module a service of the contract."""

from services.documents.servicer.documents import DocumentServicer
from services.documents.servicer.ingestions import IngestionServicer

__all__ = ["DocumentServicer", "IngestionServicer"]
