"""Between ingestions and their protobuf messages."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from plinth.documents.v1 import events_pb2, ingestion_pb2
from services.documents.messages import REASONS, STATES, ingestion_message
from services.documents.model.ingestions import ENDED, Ingestion, IngestionAttempt, IngestionReason
from services.documents.model.names import INGESTION
from services.kernel import sse_stream
from services.kernel.events import Event
from services.kernel.outbox import event_type
from services.kernel.wire import timestamp

_REASONS = {value: reason for reason, value in REASONS.items()}
_ENDED = {STATES[state] for state in ENDED}


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


def told(event: Event) -> ingestion_pb2.Ingestion:
    """The ingestion that an event tells of."""
    return events_pb2.IngestionAdvanced.FromString(event.data).ingestion


def told_as_json(event: Event) -> str:
    """The same, as a page gets it."""
    return sse_stream.as_json(told(event))


def present(ingestion: Ingestion, position: int) -> Event:
    """Where it stands, told as a move to there that was just made."""
    news = events_pb2.IngestionAdvanced(document=ingestion.document_name, ingestion=ingestion_message(ingestion))
    return Event(
        position=position,
        id=ingestion.ingestion_id,
        workspace_id=ingestion.workspace_id,
        type=event_type(news.DESCRIPTOR),
        source="",
        subject=ingestion.name,
        time=ingestion.update_time,
        data_schema=news.DESCRIPTOR.full_name,
        data=news.SerializeToString(),
        actor="",
        traceparent="",
    )


def is_newer(event: Event, shown: datetime) -> bool:
    """Whether an event tells of a move after what was shown at that moment of the ingestion."""
    return told(event).update_time.ToDatetime(UTC) > shown


def tells_the_end(event: Event) -> bool:
    """Whether nothing happens any more by itself after this move."""
    return told(event).state in _ENDED


def _attempt(attempt: IngestionAttempt) -> ingestion_pb2.IngestionAttempt:
    return ingestion_pb2.IngestionAttempt(
        number=attempt.number,
        stage=STATES[attempt.stage],
        reason=REASONS[attempt.reason],
        message=attempt.message,
        start_time=timestamp(attempt.start_time),
        end_time=timestamp(attempt.end_time),
    )
