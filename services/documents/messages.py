"""Protobuf messages of values that answers and events have in common."""

from uuid import UUID

from plinth.documents.v1 import document_pb2, ingestion_pb2
from services.documents.model.ingestions import Ingestion, IngestionReason, IngestionState
from services.documents.model.names import ROLE
from services.documents.model.visibility import Visibility, VisibilityKind
from services.kernel.names import USER
from services.kernel.wire import timestamp

STATES = {state: ingestion_pb2.IngestionState.Value(state.wire_name) for state in IngestionState}
REASONS = {reason: ingestion_pb2.IngestionReason.Value(reason.wire_name) for reason in IngestionReason}
_KINDS = {kind: document_pb2.Visibility.Kind.Value(f"KIND_{kind.name}") for kind in VisibilityKind}


def visibility_message(workspace_id: UUID, visibility: Visibility) -> document_pb2.Visibility:
    """Who may see a document of the workspace."""
    return document_pb2.Visibility(
        kind=_KINDS[visibility.kind],
        roles=[ROLE.format(workspace=workspace_id, role=role) for role in visibility.roles],
        members=[USER.format(user=member) for member in visibility.members],
    )


def ingestion_message(ingestion: Ingestion) -> ingestion_pb2.Ingestion:
    """An ingestion, but for its attempts."""
    return ingestion_pb2.Ingestion(
        name=ingestion.name,
        document=ingestion.document_name,
        version=ingestion.document_version,
        state=STATES[ingestion.state],
        stage=STATES[ingestion.stage],
        reason=REASONS[ingestion.reason],
        message=ingestion.message,
        warnings=ingestion.warnings,
        progress_done=ingestion.progress_done,
        progress_total=ingestion.progress_total,
        retry_time=timestamp(ingestion.retry_time),
        create_time=timestamp(ingestion.create_time),
        update_time=timestamp(ingestion.update_time),
        end_time=timestamp(ingestion.end_time),
    )
