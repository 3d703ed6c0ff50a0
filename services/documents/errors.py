"""The errors of documents. Resources are given by name, as the client knows them."""

from services.kernel.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
)


class VersionNotFound(NotFound):
    """The document has no version of this number."""

    reason = "NOT_FOUND"

    def __init__(self, document: str, version: int) -> None:
        super().__init__(f"The document has no version {version}.", resource=document, version=str(version))


class DocumentTooLarge(InvalidArgument):
    """The file is larger than it may be: `limit_bytes`."""

    reason = "DOCUMENT_TOO_LARGE"

    def __init__(self, limit_bytes: int, field: str = "content") -> None:
        violation = FieldViolation(field, f"must not be larger than {limit_bytes} bytes")
        super().__init__("The file is too large.", violations=[violation], limit_bytes=str(limit_bytes))


class DocumentEmpty(InvalidArgument):
    """There is not a single byte."""

    reason = "DOCUMENT_EMPTY"

    def __init__(self, field: str = "content") -> None:
        super().__init__("The file is empty.", violations=[FieldViolation(field, "must be one byte at least")])


class DocumentNameTaken(AlreadyExists):
    """Another document is called that, and the caller cannot see it or wants to name this one so."""

    reason = "DOCUMENT_NAME_TAKEN"

    def __init__(self, display_name: str) -> None:
        super().__init__("Another document has this name.", display_name=display_name)


class DocumentLimitReached(FailedPrecondition):
    """The workspace has as many documents as it may."""

    reason = "DOCUMENT_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("The workspace has as many documents as it may.", limit=str(limit))


class VersionLimitReached(FailedPrecondition):
    """The document has as many versions as it may."""

    reason = "VERSION_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("The document has as many versions as it may.", limit=str(limit))


class StorageLimitReached(FailedPrecondition):
    """The workspace stores as many bytes as it may, or would: `limit_bytes`."""

    reason = "STORAGE_LIMIT_REACHED"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("The workspace has no room for the file.", limit_bytes=str(limit_bytes))


class VisibilityInvalid(InvalidArgument):
    """Nobody could be meant by the visibility, or it is not the one that the document has."""

    reason = "VISIBILITY_INVALID"

    def __init__(self, field: str, problem: str) -> None:
        path = f"visibility.{field}" if field else "visibility"
        super().__init__("The visibility is not valid.", violations=[FieldViolation(path, problem)], problem=problem)


class UploadLimitReached(FailedPrecondition):
    """The caller has as many uploads under way in the workspace as they may."""

    reason = "UPLOAD_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("You have too many uploads under way: finish or cancel some.", limit=str(limit))


class UploadOffsetMismatch(Aborted):
    """The part does not begin where the upload stands: `received_bytes`."""

    reason = "UPLOAD_OFFSET_MISMATCH"

    def __init__(self, received_bytes: int) -> None:
        super().__init__(
            f"The next part begins at byte {received_bytes}.",
            violations=[FieldViolation("offset", f"must be {received_bytes}")],
            received_bytes=str(received_bytes),
        )


class UploadIncomplete(FailedPrecondition):
    """Not all of the file has arrived."""

    reason = "UPLOAD_INCOMPLETE"

    def __init__(self, received_bytes: int, size_bytes: int) -> None:
        super().__init__(
            "Not all of the file has arrived.", received_bytes=str(received_bytes), size_bytes=str(size_bytes)
        )


class ContentHashMismatch(InvalidArgument):
    """What arrived has another SHA-256, `sha256`, than the caller says."""

    reason = "CONTENT_HASH_MISMATCH"

    def __init__(self, sha256: str) -> None:
        violation = FieldViolation("sha256", "is not that of what arrived")
        super().__init__("What arrived is not what was sent.", violations=[violation], sha256=sha256)


class IngestionStateConflict(FailedPrecondition):
    """What is asked does not fit where the ingestion stands; `state` says where."""

    reason = "INGESTION_STATE_CONFLICT"

    def __init__(self, ingestion: str, state: str) -> None:
        super().__init__(
            "The ingestion stands where this cannot be done.",
            ingestion=ingestion,
            state=state,
        )
