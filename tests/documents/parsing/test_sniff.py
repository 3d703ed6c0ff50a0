"""What a file is taken for, whatever it is called."""

import io
import random

import pytest

from services.documents.model import media_types
from services.documents.parsing.sniff import sniff
from tests.documents.parsing import files

MAIL = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n"


def kind(data: bytes, name: str = "") -> str:
    """What bytes of this name are."""
    return sniff(io.BytesIO(data), name)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        (media_types.PDF, files.pdf([[(10, "text")]])),
        (media_types.PDF, b"\n\n garbage before it\n" + files.pdf([[(10, "text")]])),
        (media_types.DOCX, files.docx(files.paragraph("text"))),
        (media_types.PPTX, files.pptx([("title", "text", "note")])),
        (media_types.XLSX, files.xlsx({"Sheet": [["a"]]})),
        (media_types.HTML, b"<!DOCTYPE html><html><body>text</body></html>"),
        (media_types.HTML, b'<?xml version="1.0"?>\n<!-- a note -->\n<html xmlns="http://www.w3.org/1999/xhtml"/>'),
        (media_types.HTML, "<html><body>Grüße</body></html>".encode("utf-16")),
        (media_types.EML, MAIL),
        (media_types.MARKDOWN, b"# Title\n\nSome **words** and [a link](https://example.org).\n"),
        (media_types.CSV, b"name,age\nAnn,30\nBob,25\nCarl,41\n"),
        (media_types.TSV, b"name\tage\nAnn\t30\nBob\t25\n"),
        (media_types.JSON, b'{"name": "Ann", "age": 30}'),
        (media_types.XML, b'<?xml version="1.0"?><note><to>Ann</to></note>'),
        (media_types.TEXT, b"Just a few words, no more.\nAnd another line."),
        (media_types.TEXT, "Schöne Grüße aus Köln, bis später!".encode("latin-1")),
        (media_types.TEXT, "これは日本語の文章です。漢字とかなが混ざっています。".encode("shift-jis")),
        (media_types.TEXT, "Wide letters".encode("utf-16")),
        (media_types.TEXT, "Wide letters without a mark".encode("utf-16-be")),
        (media_types.TEXT, b""),
        (media_types.ZIP, files.zipped({"notes.txt": "text"})),
        (media_types.ZIP, b"PK\x03\x04 and then nothing"),
        (media_types.OLE, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),
        (media_types.HTML, b"<html><body>a longer page with a single\x00 byte " + b"that should not be there" * 9),
        (media_types.RTF, b"{\\rtf1 text}"),
        ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("application/x-executable", b"\x7fELF" + bytes(100)),
        (media_types.BINARY, random.Random(4).randbytes(1024)),
    ],
)
def test_the_content_tells(media_type: str, data: bytes) -> None:
    assert kind(data) == media_type
    # Names that would have it otherwise change nothing, where the content is no kind of text.
    if media_type not in (media_types.TEXT, media_types.MARKDOWN, media_types.CSV, media_types.TSV, media_types.JSON):
        assert kind(data, "report.pdf") == media_type


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.md", b"Only words.", media_types.MARKDOWN),
        ("a.csv", b"one;two", media_types.CSV),
        ("a.tsv", b"one", media_types.TSV),
        ("a.eml", b"Subject: alone\n\nText", media_types.EML),
        ("a.eml", b"no mail at all", media_types.TEXT),
        ("a.txt", b"# Title\n\nSome **words** and [a link](https://example.org).\n", media_types.TEXT),
        ("a.html", b"before <b>a tag</b>", media_types.HTML),
        ("a.md", b"\x7fELF" + bytes(20), "application/x-executable"),
        ("a.csv", random.Random(4).randbytes(1024), media_types.BINARY),
    ],
)
def test_the_name_decides_between_kinds_of_text(name: str, data: bytes, media_type: str) -> None:
    assert kind(data, name) == media_type


def test_a_character_that_is_cut_by_the_end_of_the_sample_is_still_text() -> None:
    assert kind(b"a" * (64 * 1024 - 1) + "é".encode() * 10) == media_types.TEXT


@pytest.mark.parametrize(
    "data", [b"\n" * 65536, b"[" * 65536, b"<!---->" * 9000, b"|---" * 16000, b"- a\n" * 16000, b"<?xml" + b" " * 65000]
)
def test_texts_that_were_made_to_be_slow_are_not(data: bytes) -> None:
    # Patterns that backtrack would run for minutes: the suite's own limit tells.
    assert kind(data)
