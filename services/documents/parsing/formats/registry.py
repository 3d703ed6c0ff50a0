"""What a format is, and how one is found for a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from services.documents.model.parsed import Parsed
from services.documents.parsing.failures import ParseFailed, Reason, unsupported
from services.documents.parsing.formats.transcript import Transcript
from services.documents.parsing.language import detect, in_languages
from services.documents.parsing.limits import Limits


@dataclass(frozen=True, slots=True)
class Format:
    """How files of a media type are read; `corrupt` are the errors that tell of a damaged file."""

    media_type: str
    read: Callable[[BinaryIO, Transcript], None]
    corrupt: tuple[type[Exception], ...] = ()


def read(
    formats: Sequence[Format],
    source: BinaryIO,
    media_type: str,
    limits: Limits,
    progress: Callable[[int], None],
) -> Parsed:
    """The document in `source`, which can be sought. Raises ParseFailed, and whatever a bug in a parser raises."""
    by_type = {one.media_type: one for one in formats}

    def read_into(source: BinaryIO, media_type: str, out: Transcript) -> None:
        one = by_type.get(media_type)
        if one is None:
            raise unsupported(media_type)
        try:
            one.read(source, out)
        except RecursionError as error:
            raise ParseFailed(Reason.CORRUPT, "The file is nested too deeply.") from error
        except one.corrupt as error:
            raise ParseFailed(Reason.CORRUPT, "The file is damaged, or is not what it seems to be.") from error

    out = Transcript(limits, progress, read_into)
    read_into(source, media_type, out)
    if not out.drafts:
        out.warn("The document holds no text.")
    progress(out.page_count)
    language = detect(out.drafts)
    return Parsed.of(
        in_languages(out.drafts, language),
        language=language,
        page_count=out.page_count,
        warnings=out.warnings,
    )
