"""Why a file cannot be parsed."""

from enum import StrEnum


class Reason(StrEnum):
    """Why parsing failed."""

    ENCRYPTED = "ENCRYPTED"
    CORRUPT = "CORRUPT"
    TOO_LARGE = "TOO_LARGE"
    TIMEOUT = "TIMEOUT"
    UNSUPPORTED = "UNSUPPORTED"
    PARSER_CRASHED = "PARSER_CRASHED"


_RETRYABLE = {Reason.TIMEOUT, Reason.PARSER_CRASHED}


class ParseFailed(Exception):
    """A file was not parsed, for `reason`; `message` is a sentence for people, without any of the file's content."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def retryable(self) -> bool:
        """Whether another attempt may end otherwise."""
        return self.reason in _RETRYABLE


def unsupported(media_type: str) -> ParseFailed:
    """There is no format for files of this type."""
    return ParseFailed(Reason.UNSUPPORTED, f"Files of the type {media_type} cannot be read.")
