"""The gRPC adapter of documents: convert, call, convert."""

from collections.abc import Iterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from plinth.documents.v1 import document_service_pb2 as pb
from plinth.documents.v1 import document_service_pb2_grpc
from services.documents.convert import documents as convert
from services.documents.convert.downloads import bodies_of, headers_of
from services.documents.convert.ingestions import ingestion_to_proto
from services.documents.convert.uploads import bytes_in, check_encoding, opened, upload_in, upload_to_proto
from services.documents.convert.usage import usage_in, usage_to_proto
from services.documents.service.documents import DocumentService
from services.documents.service.uploads import UploadService

# The context is grpc.ServicerContext.
Context = Any


class DocumentServicer(document_service_pb2_grpc.DocumentServiceServicer):
    """DocumentService."""

    def __init__(self, documents: DocumentService, uploads: UploadService) -> None:
        self._documents = documents
        self._uploads = uploads

    def CreateDocument(self, request: pb.CreateDocumentRequest, context: Context) -> pb.CreateDocumentResponse:
        workspace_id = convert.workspace_in(request.parent)
        facts = convert.facts_from_proto(workspace_id, request.document, field="document.visibility")
        document = self._documents.create(workspace_id, facts, [request.document.content])
        return pb.CreateDocumentResponse(document=convert.document_to_proto(document))

    def UploadDocument(
        self, request_iterator: Iterator[pb.UploadDocumentRequest], context: Context
    ) -> pb.UploadDocumentResponse:
        check_encoding(context.invocation_metadata())
        request, chunks = opened(request_iterator)
        workspace_id = convert.workspace_in(request.parent)
        document = self._documents.create(workspace_id, convert.facts_from_proto(workspace_id, request), chunks)
        return pb.UploadDocumentResponse(document=convert.document_to_proto(document))

    def StartUpload(self, request: pb.StartUploadRequest, context: Context) -> pb.StartUploadResponse:
        workspace_id = convert.workspace_in(request.parent)
        facts = convert.facts_from_proto(workspace_id, request.upload, field="upload.visibility")
        upload = self._uploads.start(workspace_id, facts, request.upload.size_bytes)
        return pb.StartUploadResponse(upload=upload_to_proto(upload))

    def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:
        return pb.GetUploadResponse(upload=upload_to_proto(self._uploads.get(*upload_in(request.name))))

    def AppendUpload(self, request: pb.AppendUploadRequest, context: Context) -> pb.AppendUploadResponse:
        check_encoding(context.invocation_metadata())
        upload = self._uploads.append(*upload_in(request.name), request.offset, bytes_in(request.content))
        return pb.AppendUploadResponse(upload=upload_to_proto(upload))

    def FinishUpload(self, request: pb.FinishUploadRequest, context: Context) -> pb.FinishUploadResponse:
        document = self._uploads.finish(*upload_in(request.name), request.sha256)
        return pb.FinishUploadResponse(document=convert.document_to_proto(document))

    def CancelUpload(self, request: pb.CancelUploadRequest, context: Context) -> pb.CancelUploadResponse:
        self._uploads.cancel(*upload_in(request.name))
        return pb.CancelUploadResponse()

    def GetDocument(self, request: pb.GetDocumentRequest, context: Context) -> pb.GetDocumentResponse:
        document = self._documents.get(*convert.document_in(request.name))
        return pb.GetDocumentResponse(document=convert.document_to_proto(document))

    def ListDocuments(self, request: pb.ListDocumentsRequest, context: Context) -> pb.ListDocumentsResponse:
        found, next_token = self._documents.list_documents(
            convert.workspace_in(request.parent),
            request.page_size,
            request.page_token,
            request.filter,
            request.order_by,
        )
        return pb.ListDocumentsResponse(documents=map(convert.document_to_proto, found), next_page_token=next_token)

    def ListDocumentVersions(
        self, request: pb.ListDocumentVersionsRequest, context: Context
    ) -> pb.ListDocumentVersionsResponse:
        found, next_token = self._documents.list_versions(
            *convert.document_in(request.parent, field="parent"), request.page_size, request.page_token
        )
        return pb.ListDocumentVersionsResponse(
            versions=map(convert.version_to_proto, found), next_page_token=next_token
        )

    def UpdateDocument(self, request: pb.UpdateDocumentRequest, context: Context) -> pb.UpdateDocumentResponse:
        wanted = request.document
        workspace_id, document_id = convert.document_in(wanted.name)
        patch = convert.patch_from_proto(workspace_id, wanted, request.update_mask)
        document = self._documents.update(workspace_id, document_id, wanted.etag, patch)
        return pb.UpdateDocumentResponse(document=convert.document_to_proto(document))

    def DeleteDocument(self, request: pb.DeleteDocumentRequest, context: Context) -> pb.DeleteDocumentResponse:
        self._documents.delete(*convert.document_in(request.name), request.etag)
        return pb.DeleteDocumentResponse()

    def DownloadDocument(self, request: pb.DownloadDocumentRequest, context: Context) -> Iterator[HttpBody]:
        download = self._documents.download(*convert.document_in(request.name), request.version)
        context.send_initial_metadata(headers_of(download.display_name, download.version))
        return bodies_of(download.version, download.chunks)

    def ReprocessDocument(self, request: pb.ReprocessDocumentRequest, context: Context) -> pb.ReprocessDocumentResponse:
        ingestion = self._documents.reprocess(*convert.document_in(request.name))
        return pb.ReprocessDocumentResponse(ingestion=ingestion_to_proto(ingestion))

    def GetDocumentUsage(self, request: pb.GetDocumentUsageRequest, context: Context) -> pb.GetDocumentUsageResponse:
        workspace_id = usage_in(request.name)
        usage, allowance = self._documents.usage(workspace_id)
        return pb.GetDocumentUsageResponse(document_usage=usage_to_proto(workspace_id, usage, allowance))

    def ResolveDocuments(self, request: pb.ResolveDocumentsRequest, context: Context) -> pb.ResolveDocumentsResponse:
        workspace_id = convert.workspace_in(request.parent)
        wanted = convert.documents_in(workspace_id, request.documents)
        found = self._documents.resolve(workspace_id, wanted, convert.viewer_from_proto(request))
        return pb.ResolveDocumentsResponse(documents=map(convert.document_to_proto, found))
