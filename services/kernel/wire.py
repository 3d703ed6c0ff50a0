"""Between Python's values and the well-known types of protobuf, as every domain's messages hold them."""

from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.errors import FieldsInvalid, FieldViolation


def timestamp(time: datetime | None) -> Timestamp | None:
    """A moment as a Timestamp; None, which leaves a field unset, where there is none."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def optional_time(message: Message, field: str, *, inside: str = "") -> datetime | None:
    """The moment in a field, aware, in UTC; None where it is not set. Raises FieldsInvalid for one that is none.

    `inside` is the path of `message` in the request, e.g. `invite.`, for the field to be blamed by its own.
    """
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise FieldsInvalid(FieldViolation(inside + field, "is not a valid moment")) from None


def masked_text(message: Message, mask: FieldMask, field: str) -> str | None:
    """The text of a field that the mask says to change, else None. Without a mask: of a field that is set (AIP-134)."""
    value: str = getattr(message, field)
    return value if in_mask(mask, field, populated=bool(value)) else None


def in_mask(mask: FieldMask, field: str, *, populated: bool) -> bool:
    """Whether an update changes a field: where the mask names it or says `*`; without a mask where it is set."""
    if not mask.paths:
        return populated
    return field in mask.paths or "*" in mask.paths
