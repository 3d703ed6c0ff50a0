"""What a file is, judged by what it holds. Safe on any bytes: little is read, nothing is inflated or parsed."""

import os
import re
import struct
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO

from charset_normalizer import from_bytes

from services.documents.model import media_types

# So much of a file tells its kind, unless it is an archive: then its end tells more.
HEAD_BYTES = 64 * 1024
# Kinds of text show at once; and no pattern takes long on so little.
_SAMPLE_CHARACTERS = 8 * 1024
_DIRECTORY_BYTES = 4 * 1024 * 1024
# The end of a zip's directory: its signature, six numbers of which the size and offset matter, and a comment (APPNOTE).
_ZIP_END = struct.Struct("<4s8xIIH")
_ZIP_TAIL = _ZIP_END.size + 0xFFFF

_MAGIC = (
    (b"%PDF-", media_types.PDF),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", media_types.OLE),
    (b"{\\rtf", media_types.RTF),
    (b"%!PS", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x1f\x8b", media_types.GZIP),
    (b"BZh", media_types.BZIP2),
    (b"\xfd7zXZ\x00", media_types.XZ),
    (b"7z\xbc\xaf\x27\x1c", media_types.SEVEN_ZIP),
    (b"Rar!\x1a\x07", media_types.RAR),
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
)
_OFFICE = ((b"word/", media_types.DOCX), (b"ppt/", media_types.PPTX), (b"xl/", media_types.XLSX))
_OFFICE_SUFFIXES = {".docx": media_types.DOCX, ".pptx": media_types.PPTX, ".xlsx": media_types.XLSX}

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# Of the controls below a space a text has tabs, line ends, form feeds, and the escapes of ISO 2022; of the others no
# more than one byte in so many, by accident.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\v\x08\x0e\x0f\x1b"))
_BYTES_PER_CONTROL = 100
# In another encoding nearly every character beyond ASCII is bad UTF-8.
_GOOD_PER_BAD = 10

_HTML = re.compile(
    r"\s*+(?:<\?xml[^>]*+>\s*+)?+(?><!--.*?-->\s*+)*+<(?:!doctype\s+html|html|head|body|title|meta|div|table|h1|p)\b",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(r"\s*<(?:\?xml\s|!DOCTYPE\s|svg\b|rss\b|feed\b)")
_JSON = re.compile(r'\s*(?:\{\s*(?:"|\})|\[\s*(?:["\[{\]\d-]|true|false|null))')
_HEADER = re.compile(r"([!-9;-~]+):(?:[ \t]|$)")
_MAIL_HEADERS = {
    *("from", "to", "cc", "subject", "date", "message-id", "mime-version", "received", "return-path", "delivered-to"),
    *("content-type", "reply-to", "sender", "dkim-signature", "x-mailer"),
}
_MAIL_SIGNS = 3
_MARKDOWN_SIGNS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^#{1,6} \S",
        r"^(?:```|~~~)",
        r"\[[^\[\]\n]+\]\([^()\s]+\)",
        r"^\|?[ :]*-{3,}[-: ]*\|[-:| ]*$",
        r"^ {0,9}[-*+] \S.*\n {0,9}[-*+] \S",
        r"\*\*[^*\n]+\*\*",
    )
)
_DELIMITERS = ",;\t|"
_TABLE_LINES = 20


def sniff(source: BinaryIO, name: str = "") -> str:
    """The media type of a file that can be sought; `application/octet-stream` if it is nothing that is known.

    Its `name` decides between kinds of text, and of broken zips, alone. The position in `source` changes.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _office(source, PurePath(name).suffix.lower())
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], "video/x-msvideo")
    if head[4:8] == b"ftyp":
        return "video/mp4"
    # Readers of PDF put up with a preamble, and so do those who write them.
    if b"%PDF-" in head[:1024] and b"obj" in head:
        return media_types.PDF
    text = _text(head)
    if text is not None:
        return _kind_of_text(text, PurePath(name).suffix.lower())
    # A mail may carry its attachments as they are.
    return media_types.EML if _mail_headers(head.decode("latin-1")) >= _MAIL_SIGNS else media_types.BINARY


def delimiter_of(text: str) -> str:
    """What parts the cells of a table in text; empty if it is none.

    It stands in every one of the first lines, and as often in most of them.
    """
    lines = [line for line in text[:HEAD_BYTES].splitlines() if line.strip()][:_TABLE_LINES]
    best, most = "", 0
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        usual = max(counts, key=counts.count, default=0)
        if usual > most and min(counts) > 0 and counts.count(usual) * 4 >= len(counts) * 3:
            best, most = delimiter, usual
    return best


def damaged_utf_8(data: bytes) -> str | None:
    """The text of bytes that are UTF-8 but for a few; None if they are another encoding."""
    text = data.decode("utf-8", "replace")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return text if text.count("\ufffd") * _GOOD_PER_BAD <= beyond_ascii else None


def _office(source: BinaryIO, suffix: str) -> str:
    """Which kind of Office document a zip is, by the names in its directory; a zip if it is none.

    Where the directory is missing the name decides, so that whoever sent a damaged document is told of the damage.
    """
    size = source.seek(0, os.SEEK_END)
    source.seek(max(size - _ZIP_TAIL, 0))
    tail = source.read(_ZIP_TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _ZIP_END.size:
        return _OFFICE_SUFFIXES.get(suffix, media_types.ZIP)
    _, length, offset, _ = _ZIP_END.unpack_from(tail, at)
    source.seek(min(offset, size))
    directory = source.read(min(length, _DIRECTORY_BYTES))
    if b"[Content_Types].xml" in directory:
        for folder, media_type in _OFFICE:
            if folder in directory:
                return media_type
    return media_types.ZIP


def _text(head: bytes) -> str | None:
    """The text that a file begins with; None if it is no text."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return head[: len(head) // 4 * 4].decode(encoding, "ignore")
    wide = _utf_16_without_mark(head)
    if wide is not None:
        return wide
    if (len(head) - len(head.translate(None, _CONTROLS))) * _BYTES_PER_CONTROL > len(head):
        return None
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        if len(head) == HEAD_BYTES and error.start > len(head) - 4:  # cut inside of a character
            return head[: error.start].decode()
    damaged = damaged_utf_8(head)
    if damaged is not None:
        return damaged
    guess = from_bytes(head[:_SAMPLE_CHARACTERS]).best()
    return str(guess) if guess else None


def _utf_16_without_mark(head: bytes) -> str | None:
    """Text in UTF-16: the upper halves of most characters of an alphabet are zero, the lower ones are not."""
    even, odd = head[::2], head[1::2]
    for upper, lower, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if upper.count(0) > len(upper) * 0.6 and lower.count(0) == 0:
            text = head[: len(head) // 2 * 2].decode(encoding, "ignore")
            return text if not any(ord(control) in _CONTROLS for control in text) else None
    return None


def _kind_of_text(text: str, suffix: str) -> str:
    text = text.lstrip("\ufeff")[:_SAMPLE_CHARACTERS]
    if _HTML.match(text):
        return media_types.HTML
    if _XML.match(text):
        return media_types.XML
    if suffix not in _BY_SUFFIX and _JSON.match(text) and text.count('"') + text.count(",") > 0:
        return media_types.JSON
    named = _BY_SUFFIX.get(suffix)
    if named is not None and named[1](text):
        return named[0]
    if _mail_headers(text) >= _MAIL_SIGNS:
        return media_types.EML
    if suffix not in _PLAIN:
        if sum(bool(sign.search(text)) for sign in _MARKDOWN_SIGNS) >= 2:
            return media_types.MARKDOWN
        if text.count("\n") >= 2 and delimiter_of(text) in tuple(",;\t"):
            return media_types.TSV if delimiter_of(text) == "\t" else media_types.CSV
    return media_types.TEXT


def _mail_headers(text: str) -> int:
    """How many of the first lines are headers that mails have; 0 if there is another line among them."""
    found = 0
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            found += header[1].lower() in _MAIL_HEADERS
        elif not line.strip():
            break
        elif not line[0].isspace():
            return 0
    return found


def _any(text: str) -> bool:
    del text
    return True


_PLAIN = {".txt", ".text", ".log"}
# What a name says about a text, and what the text has to show for it.
_BY_SUFFIX: dict[str, tuple[str, Callable[[str], object]]] = {
    ".md": (media_types.MARKDOWN, _any),
    ".markdown": (media_types.MARKDOWN, _any),
    ".csv": (media_types.CSV, _any),
    ".tsv": (media_types.TSV, _any),
    ".eml": (media_types.EML, _mail_headers),
    ".html": (media_types.HTML, re.compile(r"<[a-z!/]", re.IGNORECASE).search),
    ".htm": (media_types.HTML, re.compile(r"<[a-z!/]", re.IGNORECASE).search),
}
