"""Between ingestions and their protobuf messages."""

from collections.abc import Iterable
from uuid import UUID

from plinth.documents.v1 import ingestion_pb2
from services.documents.messages import REASONS, STATES, ingestion_message
from services.documents.model.ingestions import Ingestion, IngestionAttempt, IngestionReason
from services.documents.model.names import INGESTION
from services.kernel.wire import timestamp

_REASONS = {value: reason for reason, value in REASONS.items()}


def ingestion_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an ingestion's name. Raises NameInvalid."""
    workspace_id, ingestion_id = INGESTION.ids(name)
    return workspace_id, ingestion_id


def ingestion_to_proto(ingestion: Ingestion) -> ingestion_pb2.Ingestion:
    """An ingestion, with its attempts that have ended."""
    message = ingestion_message(ingestion)
    message.attempts.extend(_attempt(attempt) for attempt in ingestion.attempts if attempt.end_time is not None)
    return message


def reasons_in(values: Iterable[int]) -> list[IngestionReason]:
    """Reasons of the contract."""
    return [_REASONS[ingestion_pb2.IngestionReason.ValueType(value)] for value in values]


def _attempt(attempt: IngestionAttempt) -> ingestion_pb2.IngestionAttempt:
    return ingestion_pb2.IngestionAttempt(
        number=attempt.number,
        stage=STATES[attempt.stage],
        reason=REASONS[attempt.reason],
        message=attempt.message,
        start_time=timestamp(attempt.start_time),
        end_time=timestamp(attempt.end_time),
    )
