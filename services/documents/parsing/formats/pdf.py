"""PDF: the text of its pages, and headings as far as the size of their letters shows them. No image is ever decoded."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import pypdfium2
from pypdfium2 import raw

from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.formats.transcript import Transcript

# A word that is broken at the end of a line, as pdfium marks it.
_BROKEN_WORD = re.compile("[\ufffe\x02](?:\r\n)?")
# Letters of a heading are larger by this, and in points they are told apart in halves.
_HEADING_RATIO = 1.15
_HEADING_CHARACTERS = 160
_HEADING_SHARE = 0.25
# A gap between lines that is more than this, in sizes of their letters, ends a paragraph.
_GAP = 0.7


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of text, the size of its letters, the top of its first and the bottom of its last, in points from below.

    Where a word is broken pdfium joins two lines to one.
    """

    text: str
    size: float
    top: float
    bottom: float


def read(source: BinaryIO, out: Transcript) -> None:
    """Page by page, then told apart: sizes mean something only in the whole document."""
    pdf = _open(source)
    try:
        pages = len(pdf)
        if pages > out.limits.pages:
            raise ParseFailed(Reason.TOO_LARGE, f"The document has more than {out.limits.pages:,} pages.")
        lines: list[list[_Line]] = []
        characters = 0
        for number in range(pages):
            lines.append(list(_lines(pdf, number, out)))
            characters += sum(len(line.text) for line in lines[-1])
            # What is too long for a transcript is too long to be kept until then.
            if characters > out.limits.characters:
                raise ParseFailed(Reason.TOO_LARGE, "The document has more text than it may.")
            out.done(number + 1)
    finally:
        pdf.close()
    levels = _levels([line for page in lines for line in page])
    for page in lines:
        out.start_page()
        _write(page, levels, out)


def _open(source: BinaryIO) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(source.read())
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise ParseFailed(Reason.ENCRYPTED, "The document is protected by a password.") from error
        raise


def _lines(pdf: pypdfium2.PdfDocument, number: int, out: Transcript) -> Iterator[_Line]:
    """The lines of a page, in the order of the file."""
    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        out.warn(f"Page {number + 1} could not be read.")
        return
    text_page = page.get_textpage()
    try:
        start = 0
        for text in text_page.get_text_range(errors="replace").split("\r\n"):
            if text.strip():
                first = start + len(text) - len(text.lstrip())
                last = start + len(text.rstrip()) - 1
                yield _Line(text, _size(text_page, first), _box(text_page, first).top, _box(text_page, last).bottom)
            start += len(text) + len("\r\n")
    finally:
        text_page.close()
        page.close()


def _size(text_page: pypdfium2.PdfTextPage, at: int) -> float:
    """The size of the letter at this place in the text of a page, in half points; 0 if pdfium does not know."""
    index = raw.FPDFText_GetCharIndexFromTextIndex(text_page, at)
    matrix = raw.FS_MATRIX()
    if index < 0 or not raw.FPDFText_GetMatrix(text_page, index, matrix):
        return 0.0
    size = float(raw.FPDFText_GetFontSize(text_page, index)) * math.hypot(matrix.c, matrix.d)
    return round(size * 2) / 2


def _box(text_page: pypdfium2.PdfTextPage, at: int) -> raw.FS_RECTF:
    """The box of the letter at this place in the text of a page, as high as its font."""
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text_page, raw.FPDFText_GetCharIndexFromTextIndex(text_page, at), box)
    return box


def _levels(lines: Sequence[_Line]) -> dict[float, int]:
    """The levels of headings by the size of their letters: those of most letters are the body's."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    if not sizes:
        return {}
    body = max(sizes, key=lambda size: sizes[size])
    letters = sizes.total()
    large = sorted((size for size in sizes if size >= body * _HEADING_RATIO > 0), reverse=True)
    # A form, or a poster, is written in many sizes: then size tells nothing.
    if sum(sizes[size] for size in large) > letters * _HEADING_SHARE:
        return {}
    return {size: rank for rank, size in enumerate(large, start=1)}


def _write(lines: Sequence[_Line], levels: dict[float, int], out: Transcript) -> None:
    """Headings, and what stands between them, in paragraphs."""
    for size, run in groupby(lines, key=lambda line: line.size if line.size in levels else 0.0):
        for paragraph in _paragraphs(run):
            text = _BROKEN_WORD.sub("", "\r\n".join(line.text for line in paragraph))
            if size and len(text) <= _HEADING_CHARACTERS and any(letter.isalpha() for letter in text):
                out.heading(text, levels[size])
            else:
                out.paragraph(text)


def _paragraphs(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    """Lines that stand close below each other."""
    paragraph: list[_Line] = []
    for line in lines:
        if paragraph:
            gap = paragraph[-1].bottom - line.top
            if not -line.size * 2 < gap < line.size * _GAP:
                yield paragraph
                paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph
