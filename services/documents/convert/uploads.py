"""Between uploads, in one go or in parts, and their protobuf messages."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.documents.v1 import document_service_pb2 as pb
from plinth.documents.v1 import upload_pb2
from services.documents.messages import visibility_message
from services.documents.model.names import UPLOAD
from services.documents.model.uploads import Upload
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.names import USER
from services.kernel.wire import timestamp


def upload_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an upload's name. Raises NameInvalid."""
    workspace_id, upload_id = UPLOAD.ids(name)
    return workspace_id, upload_id


def upload_to_proto(upload: Upload) -> upload_pb2.Upload:
    """An upload."""
    return upload_pb2.Upload(
        name=upload.name,
        display_name=upload.display_name,
        tags=upload.tags,
        metadata=upload.metadata,
        visibility=(
            visibility_message(upload.workspace_id, upload.visibility) if upload.visibility is not None else None
        ),
        size_bytes=upload.size_bytes,
        received_bytes=upload.received_bytes,
        author=USER.format(user=upload.author_id),
        create_time=timestamp(upload.create_time),
        expire_time=timestamp(upload.expire_time),
    )


def bytes_in(content: HttpBody) -> bytes:
    """What was sent of a file as it is. Raises FieldsInvalid for a form, whose envelope would be kept as the file."""
    if content.content_type.lower().startswith("multipart/form-data"):
        problem = "must be the file itself, not a form (curl: --data-binary @file, not -F)"
        raise FieldsInvalid(FieldViolation("content", problem))
    data: bytes = content.data
    return data


def check_encoding(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """Let pass a body that is the file as it is. Raises FieldsInvalid for one that was compressed on its way."""
    if any(key == "content-encoding" and value not in ("", "identity") for key, value in metadata):
        problem = "must be the file itself, without a content-encoding"
        raise FieldsInvalid(FieldViolation("content", problem))


def opened(requests: Iterator[pb.UploadDocumentRequest]) -> tuple[pb.UploadDocumentRequest, Iterator[bytes]]:
    """The first message of a stream, which says what is coming, and the bytes of all of them.

    Raises FieldsInvalid where the first brings no file as it is; whoever reads the bytes meets it where a later one
    does not, or says something else than the first.
    """
    first = next(requests)
    return first, _bytes_of(first, bytes_in(first.content), requests)


def _bytes_of(
    first: pb.UploadDocumentRequest, head: bytes, others: Iterable[pb.UploadDocumentRequest]
) -> Iterator[bytes]:
    yield head
    for request in others:
        said = [field.name for field, _ in request.ListFields() if field.name != "content"]
        if changed := [name for name in said if getattr(request, name) != getattr(first, name)]:
            raise FieldsInvalid(*(FieldViolation(name, "must be what the first message says") for name in changed))
        yield bytes_in(request.content)
