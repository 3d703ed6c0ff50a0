"""Files that were made to hurt: each ends soon, with the reason that is right, and the next one is parsed as ever."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from services.documents.model import media_types
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import MIB, Limits
from services.documents.parsing.pool import ParserPool
from tests.documents.parsing import files
from tests.documents.parsing.conftest import Parse

LIMITS = Limits(seconds=60, memory_bytes=256 * MIB)
LAUGHS = '<!DOCTYPE w [<!ENTITY a "ha"><!ENTITY b "{}"><!ENTITY c "{}">]>'.format("&a;" * 1000, "&b;" * 1000)
# The header of a picture of 60,000 by 60,000 points, which would take 14 GB.
PICTURE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60_000, 60_000, 8, 6, 0, 0, 0)


@pytest.fixture(autouse=True)
def alive_afterwards(parse: Parse) -> Iterator[None]:
    """Whatever a test does, the next document is parsed."""
    yield
    assert parse(b"still here").text == "still here"


def reason(parse: Parse, data: bytes, name: str = "", limits: Limits = LIMITS) -> Reason:
    """Why a file is not parsed."""
    with pytest.raises(ParseFailed) as failed:
        parse(data, name, limits)
    return failed.value.reason


def sheet(old: str, new: str, sheet: bytes | None = None) -> bytes:
    """A workbook with something else in its sheet."""
    with ZipFile(io.BytesIO(sheet or files.xlsx({"Sheet": [["cell"]]}))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = parts["xl/worksheets/sheet1.xml"].decode()
    assert old in content
    return files.zipped({**parts, "xl/worksheets/sheet1.xml": content.replace(old, new)})


class TestArchives:
    def test_what_unpacks_to_too_much(self, parse: Parse) -> None:
        bomb = files.docx("", parts={"word/media/zeros": bytes(80 * MIB)})
        assert reason(parse, bomb) is Reason.TOO_LARGE
        assert reason(parse, bomb, limits=Limits(inflated_bytes=MIB)) is Reason.TOO_LARGE

    def test_what_has_too_many_parts(self, parse: Parse) -> None:
        many = files.docx("", parts={f"word/{number}": b"" for number in range(500)})
        assert reason(parse, many, limits=Limits(members=400)) is Reason.TOO_LARGE

    def test_what_lies_about_its_size(self, parse: Parse) -> None:
        data = bytearray(files.docx(files.paragraph("text") * 10_000))
        place = data.rfind(b"word/document.xml") - 46
        assert data[place : place + 4] == b"PK\x01\x02"
        data[place + 24 : place + 28] = struct.pack("<I", 100)
        assert reason(parse, bytes(data)) is Reason.CORRUPT

    def test_what_is_cut_off(self, parse: Parse, pool: ParserPool, tmp_path: Path) -> None:
        path = tmp_path / "cut"
        path.write_bytes(files.docx(files.paragraph("text"))[:-30])
        with pytest.raises(ParseFailed) as failed:
            pool.parse(path, media_types.DOCX)
        assert failed.value.reason is Reason.CORRUPT

    def test_a_part_that_is_missing(self, parse: Parse) -> None:
        assert reason(parse, files.zipped({"[Content_Types].xml": "", "word/x": ""})) is Reason.CORRUPT

    def test_a_password(self, parse: Parse) -> None:
        data = bytearray(files.docx(files.paragraph("text")))
        place = data.find(b"PK\x01\x02")
        data[place + 8] |= 1
        assert reason(parse, bytes(data)) is Reason.ENCRYPTED


class TestXml:
    def test_entities_are_never_expanded(self, parse: Parse) -> None:
        assert reason(parse, files.docx(files.paragraph("&c;"), prolog=LAUGHS)) is Reason.CORRUPT
        assert reason(parse, sheet("<worksheet", f"{LAUGHS}<worksheet")) is Reason.CORRUPT

    def test_entities_that_name_files_are_not_read(self, parse: Parse) -> None:
        prolog = '<!DOCTYPE w [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        assert reason(parse, files.docx(files.paragraph("&f;"), prolog=prolog)) is Reason.CORRUPT

    def test_depth_is_bounded(self, parse: Parse) -> None:
        deep = "<w:sdt><w:sdtContent>" * 3000 + "</w:sdtContent></w:sdt>" * 3000
        assert reason(parse, files.docx(deep)) is Reason.CORRUPT

    def test_a_tree_that_does_not_fit_in_memory(self, parse: Parse) -> None:
        body = "".join(files.paragraph(f"{number * 7919:x}") for number in range(60_000))
        assert reason(parse, files.docx(body), limits=Limits(memory_bytes=48 * MIB)) is Reason.TOO_LARGE

    def test_xml_that_is_text_is_not_even_parsed(self, parse: Parse) -> None:
        assert "ENTITY" in parse(f'<?xml version="1.0"?>{LAUGHS}<w>&c;</w>'.encode()).text


class TestSheets:
    def test_a_row_that_is_said_to_be_far_down(self, parse: Parse) -> None:
        assert reason(parse, sheet('r="1"', 'r="2000000000"')) is Reason.CORRUPT

    def test_a_size_that_is_said_to_be_huge(self, parse: Parse) -> None:
        document = parse(sheet('ref="A1:A1"', 'ref="A1:XFD1048576"'), limits=LIMITS)
        assert document.blocks[-1].text == "cell"


class TestPdf:
    def test_more_pages_than_may_be(self, parse: Parse) -> None:
        pages = files.pdf([[(10, f"page {number}")] for number in range(21)])
        assert reason(parse, pages, limits=Limits(pages=20)) is Reason.TOO_LARGE
        assert parse(pages, limits=Limits(pages=21)).page_count == 21

    def test_more_pages_than_there_are(self, parse: Parse) -> None:
        document = parse(files.pdf([[(10, "the only one")]], count=3000), limits=LIMITS)
        assert document.text == "the only one"
        assert document.warnings

    def test_pages_that_go_in_a_circle(self, parse: Parse) -> None:
        circle = files.pdf([[(10, "text")]]).replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]")
        assert parse(circle, limits=LIMITS).text == ""

    def test_a_page_that_unpacks_to_too_much_text(self, parse: Parse) -> None:
        page = b"BT /F 10 Tf 50 800 Td " + b"(far too many words) Tj 0 -1 Td " * 1_000_000 + b"ET"
        assert reason(parse, files.pdf_of([page]), limits=Limits(memory_bytes=128 * MIB)) is Reason.TOO_LARGE

    def test_a_page_that_takes_too_long(self, parse: Parse) -> None:
        page = b"BT /F 10 Tf 50 800 Td " + b"(words) Tj 0 -1 Td " * 2_000_000 + b"ET"
        assert reason(parse, files.pdf_of([page]), limits=Limits(seconds=0.2)) is Reason.TIMEOUT

    def test_a_document_of_10_000_pages_tells_how_far_it_is(self, pool: ParserPool, tmp_path: Path) -> None:
        path = tmp_path / "long.pdf"
        path.write_bytes(files.pdf([[(10, f"This is page {number}.")] for number in range(1, 10_001)]))
        told: list[int] = []
        document = pool.parse(path, media_types.PDF, Limits(), progress=told.append)
        assert document.page_count == 10_000
        assert (document.blocks[-1].text, document.blocks[-1].page) == ("This is page 10000.", 10_000)
        assert told == sorted(told)
        assert told[-1] == 10_000

    def test_what_is_damaged(self, parse: Parse) -> None:
        with pytest.raises(ParseFailed) as failed:
            parse(files.pdf([[(10, "text")]])[:150])
        assert failed.value.reason is Reason.CORRUPT
        assert failed.value.message == "The file is damaged, or is not what it seems to be."

    @pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.XLSX"])
    def test_what_is_broken_off_and_was_office(self, parse: Parse, name: str) -> None:
        assert reason(parse, b"PK\x03\x04" + bytes(1000), name) is Reason.CORRUPT


class TestOthers:
    def test_pictures_are_never_decoded(self, parse: Parse) -> None:
        document = parse(files.docx(files.paragraph("text"), parts={"word/media/image1.png": PICTURE}), limits=LIMITS)
        assert document.text == "text"
        assert reason(parse, PICTURE) is Reason.UNSUPPORTED

    def test_more_text_than_may_be(self, parse: Parse) -> None:
        for name in ("a.txt", "a.csv", "a.md", "a.html"):
            assert reason(parse, b"<p>word, " * 20_000, name, Limits(characters=10_000)) is Reason.TOO_LARGE

    def test_html_without_a_bottom(self, parse: Parse) -> None:
        document = parse(b"<html><p>top</p>" + b"<div>" * 100_000 + b"bottom", limits=LIMITS)
        assert (document.text, document.warnings) == ("top", ("The page is too deep: what follows was left out.",))

    def test_a_mail_of_parts_within_parts(self, parse: Parse) -> None:
        mail = b"text"
        for line in range(1500):
            mail = b"Content-Type: multipart/mixed; boundary=q%d\r\n\r\n--q%d\r\n%s" % (line, line, mail)
        head = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: deep\r\nMIME-Version: 1.0\r\n"
        assert reason(parse, head + mail) is Reason.CORRUPT

    def test_a_bomb_in_a_mail_leaves_the_mail(self, parse: Parse) -> None:
        head = "From: a@example.org\nTo: b@example.org\nSubject: careful\nMIME-Version: 1.0\n"
        bomb = files.docx(files.paragraph("&c;"), prolog=LAUGHS).hex()
        attached = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-unknown\n"
        mail = f"{head}Content-Type: multipart/mixed; boundary=q\n\n--q\n\nText\n--q\n{attached}\n{bomb}\n--q--\n"
        assert "Text" in parse(mail.encode()).text

    def test_bytes_at_random(self, parse: Parse) -> None:
        assert reason(parse, zlib.compress(b"anything" * 100)) is Reason.UNSUPPORTED
