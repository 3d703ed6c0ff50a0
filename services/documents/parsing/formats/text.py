"""Plain text in any encoding."""

import codecs
import encodings
import importlib
import pkgutil
import re
from typing import BinaryIO

from charset_normalizer import from_bytes

from services.documents.parsing.formats.transcript import Transcript
from services.documents.parsing.sniff import damaged_utf_8

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 64 * 1024
_PARAGRAPH_GAP = re.compile(r"\n[^\S\n]*\n\s*")

# A child cannot load a codec any more when it meets one.
for _module in pkgutil.iter_modules(encodings.__path__):
    if _module.name not in ("mbcs", "oem"):  # of Windows alone
        importlib.import_module(f"encodings.{_module.name}")


def read(source: BinaryIO, out: Transcript) -> None:
    """Paragraphs between blank lines; a form feed begins a page."""
    pages = decode(source.read(), out).split("\f")
    for page in pages:
        if len(pages) > 1:
            out.start_page()
        for paragraph in paragraphs(page):
            out.paragraph(paragraph)


def paragraphs(text: str) -> list[str]:
    """What stands between blank lines."""
    return _PARAGRAPH_GAP.split(text.replace("\r\n", "\n"))


def read_code(source: BinaryIO, out: Transcript) -> None:
    """Text that is one piece."""
    out.code(decode(source.read(), out))


def decode(data: bytes, out: Transcript, declared: str = "") -> str:
    """The text that bytes stand for: by its mark, as UTF-8, as declared, or as is most likely."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in ("utf-8", declared):
        text = _decoded(data, encoding)
        if text is not None:
            return text
    text = damaged_utf_8(data)
    if text is not None:
        out.warn("Some characters are damaged.")
        return text
    guess = from_bytes(data[:_SAMPLE_BYTES]).best()
    encoding = guess.encoding if guess else "latin-1"
    text = _decoded(data, encoding)
    if text is None:
        out.warn(f"Some characters could not be read as {encoding}.")
        return data.decode(encoding, "replace")
    return text


def _decoded(data: bytes, encoding: str) -> str | None:
    """The text, unless it is not in this encoding, or there is no such encoding of text."""
    try:
        text = codecs.decode(data, encoding) if encoding else None
    except (LookupError, ValueError):
        return None
    return text if isinstance(text, str) else None
