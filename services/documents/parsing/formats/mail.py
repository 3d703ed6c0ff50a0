"""EML: who wrote to whom, the body as text or HTML, attachments by the rules of their own types (RFC 5322, MIME)."""

from collections.abc import Iterator
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from typing import BinaryIO

from services.documents.model import media_types
from services.documents.parsing.formats import html, text
from services.documents.parsing.formats.transcript import Transcript

_SHOWN = ("From", "To", "Cc", "Date")
_UNNAMED = "attachment"


def read(source: BinaryIO, out: Transcript) -> None:
    """The head, the body, the attachments."""
    # From a file it would be read as text, and the line ends of attachments be changed.
    message = message_from_bytes(source.read())
    out.heading(_header(message, "Subject"))
    out.paragraph("\n".join(f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))))
    attachments = []
    for part in _parts(message):
        if _attached(part):
            attachments.append(part)
        elif part.get_content_type() == media_types.HTML:
            html.write(text.decode(_content(part), out, part.get_content_charset() or ""), out)
        elif part.get_content_maintype() == "text":
            for paragraph in text.paragraphs(text.decode(_content(part), out, part.get_content_charset() or "")):
                out.paragraph(paragraph)
    for part in attachments:
        out.attach(_name(part), _content(part))


def _parts(message: Message) -> Iterator[Message]:
    """The leaves of a message; of alternatives the plain text where it says anything, else the last, which is best."""
    if not isinstance(message.get_payload(), list) or message.get_content_type() == media_types.EML:
        yield message
        return
    parts = [part for part in message.get_payload() if isinstance(part, Message)]
    if message.get_content_subtype() == "alternative" and parts:
        plain = (part for part in parts if part.get_content_type() == media_types.TEXT and _content(part).strip())
        parts = [next(plain, parts[-1])]
    for part in parts:
        yield from _parts(part)


def _attached(part: Message) -> bool:
    """Whether a part is a file; a picture that is shown inside of the body is none."""
    if part.get_content_type() == media_types.EML or part.get_content_disposition() == "attachment":
        return True
    if part.get_content_maintype() == "image" and part.get("Content-ID"):
        return False
    return bool(part.get_filename()) or part.get_content_maintype() != "text"


def _content(part: Message) -> bytes:
    """The bytes of a part, whatever they were wrapped in."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return b"\n".join(inner.as_bytes() for inner in payload if isinstance(inner, Message))
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _name(part: Message) -> str:
    return _decoded(part.get_filename() or "") or _UNNAMED


def _header(message: Message, name: str) -> str:
    return " ".join(_decoded(str(message.get(name, ""))).split())


def _decoded(value: str) -> str:
    """A header with its encoded words read (RFC 2047); as it stands where they are broken."""
    try:
        words = decode_header(value)
        return "".join(
            word if isinstance(word, str) else word.decode(charset or "latin-1", "replace") for word, charset in words
        )
    except (LookupError, ValueError):
        return value
